"""Learned denoising of brain crops after the same processor's seconds of training, ours beside MONAI and dipy.

Every side learns on one thread for the same processor's seconds, and is then shown the validation cases under Rician
noise of 5 % and 10 % of their maximum, whose strength no side but dipy is told. Ours learns from clean images
(``fit --task restoration``), which the recipe degrades, or from noisy images alone (``neighbor2neighbor`` and
``noise2void`` after ``stabilise``), one run a level. Answers about all flips of an image are averaged, ours and
MONAI's. MONAI's BasicUNet has its own widths and learns from the same
images under the same noise, flipped alike, by Adam at 1e-3 or 3e-4 with a cosine, its output taken as the image or
added to it: the best of the four after a fortieth of the time each goes on. dipy's non-local means is told the
strength.
PSNR is against the image before the noise, and its range is the maximum of that image.

Bounds: supervised at least dipy + 0.6 dB at 5 % and + 1 dB at 10 %, and no less than MONAI; self-supervised at least
dipy - 0.3 dB.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from pathlib import Path
from typing import Any

import denoise
import numpy as np
from _race import Side, serve, settings, told

SECONDS, LEVELS, MOST = 300.0, denoise.LEVELS, 0.2
ABOVE, SELF_BELOW = {0.05: 0.6, 0.1: 1.0}, 0.3
METHODS = ("neighbor2neighbor", "noise2void")
TRIED = tuple(product((1e-3, 3e-4), (True, False)))


def training_images() -> list[Any]:
    """Read the training images."""
    import nibabel

    names = json.loads((denoise.DATA / "split.json").read_text(encoding="utf-8"))["train"]
    paths = [denoise.DATA / "images" / f"hippocampus_{name}.nii.gz" for name in names]
    return [np.asarray(nibabel.load(path).dataobj, np.float32) for path in paths]


def score(answer: Callable[[Any], Any]) -> dict[str, float]:
    """Give the mean PSNR of answers about the noisy validation images at each level, by level."""
    found: dict[str, list[float]] = {}
    for level, _, image, noisy in denoise.images():
        error = float(np.sqrt(((answer(noisy) - image) ** 2).mean()))
        found.setdefault(f"{level:g}", []).append(20 * np.log10(float(image.max()) / error))
    return {level: float(np.mean(values)) for level, values in found.items()}


def ours(method: str, level: str) -> Callable[[], dict[str, float]]:
    """Give what trains a run, supervised or by a self-supervised method at a level, and scores it."""

    def learn() -> dict[str, float]:
        from medgrad.data import Grid, Image
        from medgrad.data.cohorts.layouts import Hints, recognise
        from medgrad.data.formats import write
        from medgrad.engine.evaluation.opened_run import open_run
        from medgrad.engine.training.fit import fit

        folder = Path(tempfile.mkdtemp())
        changes: dict[str, Any] = {
            "training": {"threads": 1, "validations": 1, "validation_cases": 4},
            "inference": {"tta_flips": [0, 1, 2]},
        }
        if method != "supervised":
            for number, image in enumerate(training_images()):
                rng, sigma = np.random.default_rng(10_000 + number), float(level) * float(image.max())
                noisy = np.hypot(image + rng.normal(0, sigma, image.shape), rng.normal(0, sigma, image.shape))
                grid = Grid.from_shape(image.shape, spacing=(1, 1, 1))
                write(folder / "noisy" / f"case_{number:03d}.nii.gz", Image(noisy.astype(np.float32), grid, "mr"))
            changes |= {
                "gradients": [{"name": method}, {"name": "clipped", "norm": 1.0}],
                "prepare": [{"name": "stabilise"}, {"name": "normalise"}],
            }
        cohort = recognise(denoise.DATA if method == "supervised" else folder, Hints(task="restoration", kind="self"))
        pace = seconds_a_step(cohort, folder / "pace", changes)
        fit(cohort, folder / "run", steps=int(SECONDS / pace), changes=changes)
        run = open_run(folder / "run")
        return score(lambda noisy: run.predict(Image(noisy, Grid.from_shape(noisy.shape, spacing=(1, 1, 1)))).array)

    return learn


def seconds_a_step(cohort: Any, folder: Path, changes: dict[str, Any]) -> float:
    """Measure the processor's seconds of a training step, by two runs of which one is at least three seconds longer."""
    from medgrad.engine.training.fit import fit

    def taken(steps: int) -> float:
        began = time.process_time()
        fit(cohort, folder / str(steps), steps=steps, changes=changes)
        return time.process_time() - began

    short, steps = taken(4), 24
    while (apart := taken(steps) - short) < 3 and steps < 6000:
        steps *= 4
    return apart / (steps - 4)


def monai(*_: str) -> Callable[[], dict[str, float]]:
    """Give what trains MONAI's BasicUNet and scores it."""

    def learn() -> dict[str, float]:
        scaled = [image / max(float(np.percentile(image, 99.5)), 1e-6) for image in training_images()]
        tried = {how: train_monai(scaled, SECONDS / 40, *how)[1] for how in TRIED}
        answer, _ = train_monai(scaled, SECONDS, *min(tried, key=lambda how: tried[how]))
        return score(over_flips(answer))

    return learn


def over_flips(answer: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Give the mean of the answers about all flips of an image."""
    every = [[axis for axis in range(3) if flips[axis]] for flips in product((False, True), repeat=3)]

    def mean(noisy: Any) -> Any:
        return np.mean([np.flip(answer(np.flip(noisy, axes).copy()), axes) for axes in every], axis=0)

    return mean


def train_monai(scaled: list[Any], seconds: float, rate: float, adds: bool) -> tuple[Callable[[Any], Any], float]:
    """Train the peer for some processor's seconds; give its answers and the mean loss of the last fifth."""
    import torch
    from monai.networks.nets import BasicUNet

    torch.manual_seed(0)
    network = BasicUNet(spatial_dims=3, in_channels=1, out_channels=1)
    optimiser = torch.optim.Adam(network.parameters(), rate)
    began, losses = time.process_time(), []
    for clean in batches(scaled):
        done = (time.process_time() - began) / seconds
        if done >= 1:
            break
        optimiser.param_groups[0]["lr"] = rate * 0.5 * (1 + np.cos(np.pi * done))
        sigma = MOST * torch.rand(len(clean), 1, 1, 1, 1)
        shown = torch.hypot(clean + sigma * torch.randn_like(clean), sigma * torch.randn_like(clean))
        loss = (network(shown) + (shown if adds else 0) - clean).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    network.eval()

    def answer(noisy: Any) -> Any:
        scale = max(float(np.percentile(noisy, 99.5)), 1e-6)
        room = [(0, -size % 16) for size in noisy.shape]
        shown = torch.from_numpy(np.pad(noisy / scale, room, mode="reflect").astype(np.float32))[None, None]
        with torch.no_grad():
            said = network(shown) + (shown if adds else 0)
        return said[0, 0].numpy()[tuple(slice(size) for size in noisy.shape)] * scale

    return answer, float(np.mean(losses[-max(1, len(losses) // 5) :]))


def batches(scaled: list[Any], patch: tuple[int, ...] = (32, 48, 32)) -> Iterator[Any]:
    """Give batches of four flipped patches without end."""
    import torch

    rng = np.random.default_rng(0)
    while True:
        chosen = []
        for image in (scaled[i] for i in rng.integers(len(scaled), size=4)):
            start = [int(rng.integers(max(1, size - p + 1))) for size, p in zip(image.shape, patch, strict=True)]
            part = image[tuple(slice(s, s + p) for s, p in zip(start, patch, strict=True))]
            part = np.pad(part, [(0, p - size) for size, p in zip(part.shape, patch, strict=True)], mode="reflect")
            chosen.append(np.flip(part, [axis for axis in range(3) if rng.random() < 0.5]).copy())
        yield torch.from_numpy(np.stack(chosen))[:, None]


def dipy(*_: str) -> Callable[[], dict[str, float]]:
    """Give what scores dipy's non-local means, told the strength."""

    def measure() -> dict[str, float]:
        from dipy.denoise.nlmeans import nlmeans

        found: dict[str, list[float]] = {}
        for level, sigma, image, noisy in denoise.images():
            said = nlmeans(noisy, sigma, rician=True, num_threads=1)
            error = float(np.sqrt(((said - image) ** 2).mean()))
            found.setdefault(f"{level:g}", []).append(20 * np.log10(float(image.max()) / error))
        return {level: float(np.mean(values)) for level, values in found.items()}

    return measure


def run(peers: str = "") -> dict[str, Any]:
    """Train every side, two at a time, and give a row for each."""
    if not denoise.DATA.exists():
        return {"skipped": f"There is no {denoise.DATA.name!r} beside this folder, so there is nothing to learn from."}
    asked = [("supervised", "all"), *product(METHODS, (f"{level:g}" for level in LEVELS))]
    sides = {f"medgrad {method} {level}": Side(__file__, "ours", method, level) for method, level in asked}
    sides["MONAI BasicUNet all"] = Side(__file__, "monai")
    if peers:
        sides["dipy nlmeans all"] = Side(__file__, "dipy", python=peers)
    with ThreadPoolExecutor(2) as pool:
        answers = {name: pool.submit(side.ask) for name, side in sides.items()}
        found = {name: answer.result()["value"] for name, answer in answers.items()}
    for side in sides.values():
        side.close()
    rows = []
    for name, by_level in found.items():
        what, _, shown = name.rpartition(" ")
        kept = {level: db for level, db in by_level.items() if shown in ("all", level)}
        rows.append(
            {"what": what, "trained at": shown, **{f"PSNR at {100 * float(k):g} % dB": v for k, v in kept.items()}}
        )
    return {"rows": rows, **judged(found)}


def judged(found: dict[str, dict[str, float]]) -> dict[str, Any]:
    """Say whether the bounds hold; without dipy those against it are left out."""
    mine, peer = found["medgrad supervised all"], found["MONAI BasicUNet all"]
    held = {"MONAI": all(mine[level] >= peer[level] for level in mine)}
    if told_truth := found.get("dipy nlmeans all"):
        held["dipy"] = all(mine[f"{k:g}"] >= told_truth[f"{k:g}"] + more for k, more in ABOVE.items())
        for method in METHODS:
            held[method] = all(
                found[f"medgrad {method} {k:g}"][f"{k:g}"] >= told_truth[f"{k:g}"] - SELF_BELOW for k in LEVELS
            )
    claim = ", ".join(f"{name}: {'yes' if ok else 'no'}" for name, ok in held.items())
    return {
        "claim": claim,
        "held": held["MONAI"] and held.get("dipy", True) and any(held.get(m, True) for m in METHODS),
    }


if __name__ == "__main__":
    given = settings(__doc__ or "")
    if given.side:
        serve({"ours": ours, "monai": monai, "dipy": dipy}[given.side[0]](*given.side[1:]))
        sys.exit(0)
    sys.exit(told(run(given.peers)))

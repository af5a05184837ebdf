"""Denoising of brain crops under Rician noise of 5 % and 10 % of their maximum, ours beside dipy and scikit-image.

Ours is told that the noise is Rician, and estimates its strength. The peers' non-local means are told the strength;
dipy takes the bias away too. PSNR is against the image before the noise, and its range is the maximum of that image.

Bounds: mean PSNR at least that of dipy's non-local means less 0.1 dB, with its own settings and with patches of 5 in
windows of 15 voxels a side; at most a fifth of the processor's seconds of scikit-image's ``denoise_nl_means`` with its
own settings (patches of 7 in windows of 23); the noise of phantoms estimated within 10 %, Gaussian and Rician.

dipy with its own settings and scikit-image with smaller windows are measured too, and no bound is set on their time:
dipy is quicker than ours, and scikit-image takes about as long in windows as small as ours. What takes long runs on
fewer of the images, and its PSNR is of those.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from itertools import cycle
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from _race import Side, race, serve, settings, told

DATA = Path(__file__).parents[2] / "shared" / "data" / "seg3d_hippocampus"
LEVELS, TURNS = (0.05, 0.1), 5
DECIBELS, TIMES, WITHIN = 0.1, 5.0, 0.1
DEVIATIONS_HU = (3, 6, 12, 25, 50)


class Peer(NamedTuple):
    """A peer's settings, and how many of the images of a turn it denoises."""

    what: str
    settings: dict[str, int]
    images: int = 16


SIDES = {
    "ours": Peer("medgrad denoise", {}),
    "dipy": Peer("dipy nlmeans", {}),
    "dipy_wide": Peer("dipy nlmeans, patch 5, window 15", {"patch_radius": 2, "block_radius": 5}),
    "skimage": Peer("scikit-image nl_means (patch 7, window 23)", {}, 2),
    "skimage_13": Peer("scikit-image nl_means, patch 5, window 13", {"patch_size": 5, "patch_distance": 6}, 4),
    "skimage_7": Peer("scikit-image nl_means, patch 3, window 7", {"patch_size": 3, "patch_distance": 3}),
    "skimage_5": Peer("scikit-image nl_means, patch 3, window 5", {"patch_size": 3, "patch_distance": 2}),
}


def images() -> Iterator[tuple[float, float, Any, Any]]:
    """Give level, sigma, image and noisy image, of every validation case at each level."""
    import nibabel

    for name in json.loads((DATA / "split.json").read_text(encoding="utf-8"))["val"]:
        image = np.asarray(nibabel.load(DATA / "images" / f"hippocampus_{name}.nii.gz").dataobj, np.float32)
        for level in LEVELS:
            rng, sigma = np.random.default_rng(int(name)), level * float(image.max())
            noisy = np.hypot(image + rng.normal(0, sigma, image.shape), rng.normal(0, sigma, image.shape))
            yield level, sigma, image, noisy.astype(np.float32)


def denoiser(side: str) -> Callable[[Any, float], Any]:
    """Give one side's function of a noisy image and its sigma; ours does not look at the sigma."""
    if side == "ours":
        from medgrad.prepare.denoise import Denoise

        step = Denoise(noise="rician")
        return lambda noisy, _: step.change(noisy, (1.0, 1.0, 1.0))[0]
    if side.startswith("dipy"):
        from dipy.denoise.nlmeans import nlmeans

        return lambda noisy, sigma: nlmeans(noisy, sigma, rician=True, num_threads=1, **SIDES[side].settings)
    from skimage.restoration import denoise_nl_means

    return lambda noisy, sigma: denoise_nl_means(noisy, h=0.6 * sigma, sigma=sigma, **SIDES[side].settings)


def task_of(side: str) -> Callable[[], list[tuple[float, float]]]:
    """Give a task that denoises the next images, and tells level and PSNR of each."""
    denoise, made = denoiser(side), list(images())
    denoise(made[0][3][:12, :12, :12].copy(), made[0][1])
    share = len(made) // TURNS
    turns = cycle([made[i * share : (i + 1) * share][: SIDES[side].images] for i in range(TURNS)])

    def task() -> list[tuple[float, float]]:
        return [(level, psnr(denoise(noisy, sigma), image)) for level, sigma, image, noisy in next(turns)]

    return task


def psnr(found: Any, image: Any) -> float:
    """Give the peak signal-to-noise ratio in dB."""
    return float(10 * np.log10(float(image.max()) ** 2 / np.mean((found - image) ** 2, dtype=np.float64)))


def estimates() -> dict[str, list[float]]:
    """Give estimated over true sigma on phantoms, by the noise."""
    from scipy import ndimage

    from medgrad.data.cohorts.phantom import Phantom, make_patient
    from medgrad.prepare import ImageStep
    from medgrad.prepare.denoise import Denoise

    found: dict[str, list[float]] = {"gaussian": [], "rician": []}
    for number in range(2):
        labels = make_patient(Phantom(), number).studies[0].labels.array
        signal = ndimage.gaussian_filter(np.linspace(0, 900, int(labels.max()) + 1)[labels], 0.6)
        for sigma in DEVIATIONS_HU:
            rng = np.random.default_rng(sigma)
            real, imaginary = signal + rng.normal(0, sigma, signal.shape), rng.normal(0, sigma, signal.shape)
            for noise, values in (("gaussian", real), ("rician", np.hypot(real, imaginary))):
                step: ImageStep = Denoise(method="median", noise=noise)
                _, chosen = step.change(values.astype(np.float32), (1.0, 1.0, 1.0))
                found[noise].append(float(chosen["sigma"]) / sigma)
    return found


def run(peers: str = "", threads: int = 1, rounds: int = 0) -> dict[str, Any]:
    """Race all; ``held`` tells whether the bounds do, ``skipped`` why nothing was measured."""
    if not DATA.exists():
        return {"skipped": f"{DATA.name!r} is not beside this folder, so there is nothing to denoise."}
    if not peers:
        return {"skipped": "Skipped: this needs a Python with dipy, scikit-image and nibabel; name it with --peers."}
    sides = {s: Side(__file__, s, python=sys.executable if s == "ours" else peers, threads=threads) for s in SIDES}
    found = race(sides, TURNS * max(1, rounds), warm=0)
    seconds = {s: sum(r["cpu"] for r in rows) / sum(len(r["value"]) for r in rows) for s, rows in found.items()}
    mean = {
        s: {level: float(np.mean([v for r in rows for at, v in r["value"] if at == level])) for level in LEVELS}
        for s, rows in found.items()
    }
    rows: list[dict[str, Any]] = [
        {
            "what": peer.what,
            "images": sum(len(r["value"]) for r in found[s]),
            "PSNR at 5 % dB": mean[s][0.05],
            "PSNR at 10 % dB": mean[s][0.1],
            "CPU s an image": seconds[s],
            "times ours": seconds[s] / seconds["ours"],
        }
        for s, peer in SIDES.items()
    ]
    ratios = estimates()
    rows += [
        {"what": f"sigma of phantoms, {noise}", "images": len(v), "least of true": min(v), "most of true": max(v)}
        for noise, v in ratios.items()
    ]
    good = all(mean["ours"][at] >= mean[s][at] - DECIBELS for s in ("dipy", "dipy_wide") for at in LEVELS)
    quick = seconds["skimage"] >= TIMES * seconds["ours"]
    near = all(abs(v - 1) <= WITHIN for values in ratios.values() for v in values)
    claim = f"PSNR of dipy less {DECIBELS:g} dB, a fifth of the time of scikit-image's own settings, sigma within 10 %"
    return {"rows": rows, "bound": TIMES, "claim": claim, "held": good and quick and near}


if __name__ == "__main__":
    given = settings(__doc__ or "")
    if given.side:
        serve(task_of(given.side[0]))
    else:
        sys.exit(told(run(given.peers, given.threads, given.rounds)))

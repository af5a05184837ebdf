"""A whole study from file to file: read, labelled in 25 classes and written, ours beside MONAI's sliding window.

A synthetic CT: a body in air with 24 balls, most of it background, as of real studies; the balls are of six
brightnesses, each with a label of its own among 24. A U-Net of MONAI (BasicUNet, batch norm, 25 classes) is trained for
a short while on such balls, so that its labels mean something and there is background to spare: a network that finds
labels everywhere gains nothing from the first pass. On four more such studies it is measured, as ``medgrad fit`` does,
by how much windows should overlap and how coarse the first pass may be. Both sides load the same weights. MONAI: its
own reader, sliding window (Gaussian, float32) and writer, at its default overlap of 0.25; at 0.5 it has three times as
many windows to look at. Ours: ``medgrad predict``. Each side in a process of its own; memory is the peak of the
process.

Bound: the mean Dice is no more than 0.005 below MONAI's; with 300 slices of 512 x 512, ours is also at least 10 times
as fast. With 1,000 slices only ours runs, with ``--ram 4G``, and holds no more than that. ``--slices 300,1000`` asks
for both; without it there is a small study, of which the speed is shown and not judged. ``MEDGRAD_STUDY`` names a
folder in which the trained network is kept.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from _race import Side, peak_mb, race, serve, settings, told

LABELS, FASTER, LOSS, RAM = 24, 10.0, 0.005, "4G"
OVERLAP, LONG = 0.25, 1000
FEATURES = (32, 32, 64, 128, 256, 32)
SMALL = {"features": (8, 8, 16, 32, 64, 8), "patch": 32, "steps": 150, "size": (96, 96, 48), "judges": 72}
LARGE = {"features": FEATURES, "patch": 96, "steps": 1000, "judges": 216}
JUDGES = 4
LOW, HIGH, DEVIATION = -200.0, 1800.0, 500.0
KINDS, BRIGHTER, RATE = 6, 280, 0.01


def study(size: tuple[int, ...], seed: int) -> tuple[Any, Any, Any]:
    """Make a CT (int16), its labels, and where the balls are: as bright as their labels say, in noise."""
    import numpy as np

    chance = np.random.default_rng(seed)
    at = np.stack([chance.uniform(0.25, 0.75, LABELS) * n for n in size])
    radius = chance.uniform(0.5, 1.0, LABELS) * min(size) / 10
    values, labels = np.empty(size, np.int16), np.zeros(size, np.uint8)
    y, z = np.ogrid[: size[1], : size[2]]
    flat = ((y / size[1] - 0.5) / 0.45) ** 2 + 0 * z
    for x in range(size[0]):
        plane = np.where(flat + ((x / size[0] - 0.5) / 0.45) ** 2 < 1, 0.0, -1000.0)
        for kind in range(LABELS):
            inside = (x - at[0, kind]) ** 2 + (y - at[1, kind]) ** 2 + (z - at[2, kind]) ** 2 < radius[kind] ** 2
            plane[inside], labels[x][inside] = BRIGHTER * (kind % KINDS + 1), LABELS // KINDS * (kind % KINDS) + 1
        values[x] = plane + chance.normal(0, 5, plane.shape)
    return values, labels, at


def make(folder: str, *size: str) -> Callable[[], None]:
    """Write the study and its truth."""
    import numpy as np

    from medgrad.data import Grid, Image, LabelMap
    from medgrad.data.formats import write

    def task() -> None:
        Path(folder).mkdir(parents=True, exist_ok=True)
        values, labels, _ = study(tuple(map(int, size)), 7)
        grid = Grid.from_shape(values.shape)
        write(Path(folder) / "study.nii.gz", Image(values, grid))
        write(Path(folder) / "truth.nii.gz", LabelMap(labels.astype(np.uint8), grid))

    return task


def train(folder: str, features: str, patch: str, steps: str) -> Callable[[], float]:
    """Train the network for a short while, on patches around balls, and leave a run."""
    import numpy as np
    import torch
    import torch.nn.functional as F

    from medgrad import registry
    from medgrad.engine.compute.device import AutocastModule, choose_device, keep_freed_memory, to_channels_last
    from medgrad.engine.runs.checkpoint import write_checkpoint
    from medgrad.engine.runs.recipe import recipe_from_tables
    from medgrad.engine.runs.run import Run, build_model

    recipe = recipe_from_tables(
        {
            "task": {"kind": "segmentation", "labels": [f"ball {n}" for n in range(1, LABELS + 1)]},
            "model": {"name": "monai", "network": "BasicUNet", "features": numbers_in(features), "norm": "batch"},
            "prepare": [
                {"name": "reorient", "to": "RAS"},
                {"name": "normalise", "method": "window", "low": LOW, "high": HIGH, "deviation": DEVIATION},
            ],
            "training": {"patch": [int(patch)] * 3},
        }
    )
    torch.manual_seed(0)
    keep_freed_memory()
    model, place = build_model(recipe, recipe.build_task(), 1), choose_device()
    asked = AutocastModule(place.move_model(model), place)

    def task() -> float:
        chance, size, whole = np.random.default_rng(0), 32, 96
        made = [study((whole,) * 3, seed) for seed in range(6)]
        optimiser = registry.find("descent.optimisers", "muon")(model.named_parameters(), rate=RATE)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, RATE, total_steps=int(steps), cycle_momentum=False)

        def patch() -> tuple[Any, Any]:
            values, labels, at = made[chance.integers(len(made))]
            corner = at[:, chance.integers(LABELS)] + chance.uniform(-size / 2, size / 2, 3) - size / 2
            box = tuple(slice(c, c + size) for c in corner.clip(0, whole - size).astype(int))
            return values[box].clip(LOW, HIGH) / np.float32(DEVIATION), labels[box]

        def loss(inputs: Any, labels: Any) -> torch.Tensor:
            optimiser.zero_grad()
            with torch.enable_grad():
                said = asked(to_channels_last(torch.from_numpy(inputs)[:, None].float()))
                cost = F.cross_entropy(said, torch.from_numpy(labels).long())
                cost.backward()
            return cost.detach()

        for _ in range(int(steps)):
            cost = optimiser.step(partial(loss, *map(np.stack, zip(patch(), patch(), strict=True))))
            schedule.step()
        Run(Path(folder)).write_recipe(recipe)
        write_checkpoint(Run(Path(folder)).best_checkpoint, {"channels": 1, "model": model.state_dict(), "ema": None})
        return float(cost)

    return task


def measure(folder: str, size: str) -> Callable[[], tuple[float, int]]:
    """Find out which overlap and which first pass lose nothing, and write them into the run."""
    from dataclasses import replace

    from medgrad.data import Case, Grid, Image, LabelMap
    from medgrad.engine.evaluation.tune_windows import choose_windows
    from medgrad.engine.loading.cache import PreparedCase
    from medgrad.engine.runs.run import Run, open_run
    from medgrad.prepare import prepare

    trained, names = open_run(Path(folder)), {n: f"ball {n}" for n in range(1, LABELS + 1)}

    def case(seed: int) -> PreparedCase:
        values, labels, _ = study((int(size),) * 3, seed)
        grid = Grid.from_shape(values.shape)
        whole = Case(str(seed), {"image": Image(values, grid)}, LabelMap(labels, grid, names))
        ready, memos = prepare(whole, trained.prepare_steps)
        return PreparedCase(ready, tuple(memos), whole)

    def task() -> tuple[float, int]:
        found = choose_windows(trained, [case(100 + n) for n in range(JUDGES)], float("inf"))
        assert found is not None  # there are cases enough
        answering = replace(
            trained.recipe.inference, overlap=found.overlap, first_pass_stride=found.first_pass_stride, tune=False
        )
        Run(Path(folder)).write_recipe(replace(trained.recipe, inference=answering))
        print(found.as_dict(), file=sys.stderr)
        return found.overlap, found.first_pass_stride

    return task


def numbers_in(words: str) -> list[int]:
    """Read numbers with commas between them."""
    return [int(word) for word in words.split(",")]


def ours(run: str, image: str, out: str, ram: str = "") -> Callable[[], float]:
    """Make ready to answer with ``medgrad predict``."""
    from medgrad.apps.verbs.predict import predict

    def task() -> float:
        predict(Path(run), Path(image), out=Path(out), ram=ram)
        return peak_mb()

    return task


def theirs(run: str, image: str, out: str, overlap: str) -> Callable[[], float]:
    """Make ready to answer as MONAI's bundles do, with the network that the run holds."""
    import torch
    from monai.data import NibabelReader
    from monai.inferers import sliding_window_inference
    from monai.transforms import Compose, EnsureChannelFirst, LoadImage, Orientation, SaveImage, ScaleIntensityRange

    from medgrad.engine.runs.checkpoint import read_checkpoint
    from medgrad.engine.runs.run import Run, build_model

    recipe, state = Run(Path(run)).load_recipe(), read_checkpoint(Run(Path(run)).best_checkpoint)
    network = build_model(recipe, recipe.build_task(), 1).eval()
    network.load_state_dict(state["model"])
    scale = ScaleIntensityRange(LOW, HIGH, LOW / DEVIATION, HIGH / DEVIATION, clip=True)
    ready = Compose([LoadImage(reader=NibabelReader()), EnsureChannelFirst(), Orientation("RAS"), scale])
    save = SaveImage(out, output_postfix="", separate_folder=False, output_dtype="uint8", print_log=False)

    def task() -> float:
        inputs, patch = ready(image), recipe.training.patch
        with torch.inference_mode():
            output = sliding_window_inference(inputs[None], patch, 4, network, overlap=float(overlap), mode="gaussian")
            save(output[0].argmax(0, keepdim=True).to(torch.uint8))
        return peak_mb()

    return task


def mean_dice(truth: Any, said: Any) -> float:
    """Give the mean Dice of all labels that the truth has."""
    import numpy as np

    many = LABELS + 1
    both = np.bincount(truth[truth == said], minlength=many)[1:]
    sizes = np.bincount(truth.ravel(), minlength=many)[1:], np.bincount(said.ravel(), minlength=many)[1:]
    there = sizes[0] > 0
    return float(np.mean(2 * both[there] / (sizes[0] + sizes[1])[there]))


def trained_in(folder: Path, way: dict[str, Any], threads: int) -> str:
    """Give the run that answers; train it and measure how it is to answer, unless that was done."""
    from medgrad.engine.runs.run import Run

    run = Run(folder / f"run of {way['patch']}")
    if not (run.folder / "recipe.toml").exists():
        words = [str(run.folder), ",".join(map(str, way["features"])), str(way["patch"]), str(way["steps"])]
        race({"train": Side(__file__, "train", *words, threads=threads)}, 1, warm=0)
    if run.load_recipe().inference.tune:
        words = [str(run.folder), str(way["judges"])]
        race({"measure": Side(__file__, "measure", *words, threads=threads)}, 1, warm=0)
    return str(run.folder)


def raced(folder: Path, trained: str, size: tuple[int, ...], threads: int, rounds: int) -> list[dict[str, Any]]:
    """Let both sides answer about one study, or ours alone if it is so large that memory is what counts."""
    from medgrad.data.formats import read_labels

    image, alone = str(folder / "study.nii.gz"), size[2] >= LONG
    race({"make": Side(__file__, "make", str(folder), *map(str, size))}, 1, warm=0)
    asked = {"ours": ("ours", trained, image, str(folder / "ours"), *([RAM] if alone else []))}
    if not alone:
        asked["MONAI"] = ("theirs", trained, image, str(folder / "MONAI"), str(OVERLAP))
    found = {}
    for name, words in asked.items():  # one after another, since each takes all memory that there is
        rows = race({name: Side(__file__, *words, threads=threads)}, rounds, warm=0)[name]
        found[name] = min(rows, key=lambda row: row["wall"])
    truth = read_labels(folder / "truth.nii.gz").array
    said = {name: read_labels(folder / name / "study.nii.gz").array for name in asked}
    return [
        {
            "side": name,
            "slices": size[2],
            "seconds": found[name]["wall"],
            "processor's seconds": found[name]["cpu"],
            "times ours": found[name]["wall"] / found["ours"]["wall"],
            "peak MB": found[name]["value"],
            "Dice": mean_dice(truth, said[name]),
            "agrees with ours": mean_dice(said["ours"], said[name]),
        }
        for name in asked
    ]


def run(threads: int = 1, rounds: int = 0, slices: str = "") -> dict[str, Any]:
    """Race both sides on each study; ``held`` tells whether the bounds do."""
    way: dict[str, Any] = LARGE if slices else SMALL
    sizes = [(512, 512, int(n)) for n in slices.split(",")] if slices else [way["size"]]
    rows = []
    with tempfile.TemporaryDirectory() as made:
        trained = trained_in(Path(os.environ.get("MEDGRAD_STUDY", "") or made), way, threads)
        for size in sizes:
            rows += raced(Path(made) / str(size[2]), trained, size, threads, rounds or 1)
    return {"rows": rows, **judged(rows, bool(slices))}


def judged(rows: list[dict[str, Any]], large: bool) -> dict[str, Any]:
    """Say what was claimed, and whether it held."""
    held, claims = True, []
    for ours in [row for row in rows if row["side"] == "ours"]:
        if ours["slices"] >= LONG:
            claims.append(f"{ours['slices']} slices within {RAM}")
            held &= ours["peak MB"] <= 4 * 1024**3 / 1e6
            continue
        theirs = next(row for row in rows if row["slices"] == ours["slices"] and row["side"] == "MONAI")
        claims.append(f"a mean Dice of no more than {LOSS} less than MONAI's" + f", {FASTER:g} times as fast" * large)
        held &= ours["Dice"] >= theirs["Dice"] - LOSS and (not large or theirs["times ours"] >= FASTER)
    return {"claim": "; ".join(claims), "held": bool(held)}


if __name__ == "__main__":
    early = argparse.ArgumentParser(add_help=False)
    early.add_argument("--slices", default="")
    chosen, sys.argv[1:] = early.parse_known_args()
    given = settings(__doc__ or "")
    if given.side:
        serve(
            {"make": make, "train": train, "measure": measure, "ours": ours, "theirs": theirs}[given.side[0]](
                *given.side[1:]
            )
        )
    else:
        sys.exit(told(run(given.threads, given.rounds, chosen.slices)))

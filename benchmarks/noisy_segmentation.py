"""What a segmenter of clean brain crops loses to noise, and how much of it comes back when a step goes first.

A U-Net learns the hippocampus set for so many processor's seconds on one thread. It is then shown the validation images
clean, under Rician noise of 10 % of their maximum, and both again after ``denoise`` (told that the noise is Rician, its
strength estimated) and after a run of the task restoration that learned from clean images for as many seconds. Dice is
the mean over labels and patients; intervals are of the paired differences, resampled by patient.

Bounds, for the better step: at least half of the Dice lost comes back; on clean images at most .002 are lost, at the
lower end of the interval.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import denoise
import numpy as np
from _race import Side, serve, settings, told
from restoration import seconds_a_step

SECONDS, LEVEL, BACK, LOSS = 240.0, 0.1, 0.5, 0.002
STEPS = ("denoise", "run")


def measured() -> Callable[[], dict[str, list[float]]]:
    """Give what trains both runs, and gives the Dice of every validation image shown in each way."""

    def measure() -> dict[str, list[float]]:
        from medgrad import metrics
        from medgrad.data import Case, Image
        from medgrad.data.cohorts.layouts import Hints, recognise
        from medgrad.data.cohorts.split import split
        from medgrad.engine.evaluation.opened_run import open_run
        from medgrad.engine.evaluation.run_step import load_run_step
        from medgrad.engine.training.fit import fit
        from medgrad.prepare import build_steps

        folder = Path(tempfile.mkdtemp())
        changes: dict[str, Any] = {"training": {"threads": 1, "validations": 1, "validation_cases": 4}}
        for name, hints in (("segmenter", None), ("restorer", Hints(task="restoration", kind="self"))):
            cohort = recognise(denoise.DATA, hints)
            changes["inference"] = {"tta_flips": [0, 1, 2]} if name == "restorer" else {}
            pace = seconds_a_step(cohort, folder / f"pace {name}", changes)
            fit(cohort, folder / name, steps=int(SECONDS / pace), changes=changes)
        segmenter = open_run(folder / "segmenter")
        steps = {
            "denoise": build_steps([{"name": "denoise", "noise": "rician"}])[0],
            "run": load_run_step(folder / "restorer"),
        }
        cohort = split(recognise(denoise.DATA)).in_splits("val")
        found: dict[str, list[float]] = {}
        for entry in cohort.entries:
            case = cohort.load_case(entry)
            (clean,) = case.images.values()
            for shown, image in (("clean", clean), ("noisy", noisy(clean, int(entry.id.rpartition("_")[2])))):
                ways = {"alone": image} | {
                    name: step.apply(Case("a", {"image": image}))[0].images["image"] for name, step in steps.items()
                }
                for name, given in ways.items():
                    row = metrics.judge(["dice"], case.truth, segmenter.predict(given))
                    found.setdefault(f"{shown} {name}", []).append(float(row["dice/mean"]))
        assert isinstance(clean, Image)
        return found

    return measure


def noisy(image: Any, seed: int) -> Any:
    """Give an image under Rician noise, as float32."""
    from dataclasses import replace

    rng, sigma = np.random.default_rng(seed), LEVEL * float(image.array.max())
    shown = np.hypot(image.array + rng.normal(0, sigma, image.grid.shape), rng.normal(0, sigma, image.grid.shape))
    return replace(image, array=shown.astype(np.float32))


def interval(differences: Any) -> tuple[float, float]:
    """Give the 95 % interval of a mean, resampled."""
    rng = np.random.default_rng(0)
    means = rng.choice(differences, (4000, len(differences))).mean(1)
    return float(np.quantile(means, 0.025)), float(np.quantile(means, 0.975))


def run() -> dict[str, Any]:
    """Measure, and give a row for each way of showing the images."""
    if not denoise.DATA.exists():
        return {"skipped": f"There is no {denoise.DATA.name!r} beside this folder, so there is nothing to learn from."}
    side = Side(__file__, "all")
    found = {name: np.array(values) for name, values in side.ask()["value"].items()}
    side.close()
    lost = float((found["clean alone"] - found["noisy alone"]).mean())
    rows, back, kept = [], {}, {}
    for name, values in found.items():
        shown, _, step = name.partition(" ")
        apart = values - found[f"{shown} alone"]
        low, high = interval(apart)
        rows.append({"shown": shown, "first": step, "Dice": float(values.mean()), "gain": float(apart.mean()),
                     "low": low, "high": high})  # fmt: skip
        if step in STEPS:
            (back if shown == "noisy" else kept)[step] = float(apart.mean()) / lost if shown == "noisy" else low
    best = max(STEPS, key=lambda step: (kept[step] >= -LOSS, back[step]))
    claim = f"{best} brings back {100 * back[best]:.0f} % of {lost:.4f}, clean lose {max(0.0, -kept[best]):.4f}"
    return {"rows": rows, "claim": claim, "held": back[best] >= BACK and kept[best] >= -LOSS}


if __name__ == "__main__":
    given = settings(__doc__ or "")
    if given.side:
        serve(measured())
        sys.exit(0)
    sys.exit(told(run()))

"""Few labels: networks that began with an autoencoder of the other images, and networks that began at random.

Of each set a few training cases are labelled, and the images of all are known: ten volumes of ``seg3d_hippocampus``,
ten images of ``seg2d_dsb2018`` (nuclei), forty of BreastMNIST. Both arms take the same processor's seconds on one
thread, by steps of a measured pace, and the recipe that is planned for the labelled cases. One learns from these alone.
The other spends a share of the seconds on an autoencoder (``--task restoration --model autoencoder``) of all training
images, and begins with it (``--init``) in what is left. Five seeds, each with labelled cases of its own, the same for
both arms. No arm chooses its weights by the judged cases. The shares were chosen on two other seeds.

Judged on the validation side, BreastMNIST on the test side, of which no training image may show the same picture. The
interval is that of the mean paired difference over the seeds (Student's t).

No bound: the table says where it helps.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np
from _race import Side, serve, settings, told

SHARED = Path(__file__).parents[2] / "shared" / "data"
SEEDS = range(10, 15)
AT_ONCE = 2
TRAINING = {"threads": 1, "validations": 1, "validation_cases": 4}


@dataclass(frozen=True)
class Few:
    """A set of which few cases are labelled: where it lies, the side that judges, the figure, and the network.

    An arm has so many ``seconds`` of the processor. The autoencoder takes the ``share`` of them: more where the labels
    are learned by heart in time.
    """

    path: str
    labelled: int
    side: str
    figure: str
    body: str
    seconds: float
    share: float


SETS = {
    "hippocampus": Few("seg3d_hippocampus", 10, "val", "Dice", "unet", 40.0, 0.25),
    "nuclei": Few("seg2d_dsb2018", 10, "val", "Dice", "unet", 60.0, 0.25),
    "breast": Few("cls_medmnist/breastmnist.npz", 40, "test", "AUROC", "resnet", 30.0, 0.5),
}


def cohorts(few: Few, seed: int) -> tuple[Any, Any]:
    """Give the cohort of few labelled cases and that of images alone; the side that judges is ``val`` in both."""
    from medgrad.data.cohorts.layouts import Hints, recognise
    from medgrad.data.cohorts.split import split
    from medgrad.survey.dataset import look

    whole = split(recognise(SHARED / few.path))
    alone = split(recognise(SHARED / few.path, Hints(task="restoration", kind="self")))
    sides = {e.id: e.split for e in whole.entries}
    pairs = look(whole).inseparable_pairs if few.side == "test" else ()
    seen = {name for pair in pairs if few.side in {sides[other] for other in pair} for name in pair}
    pool = [e.id for e in whole.entries if e.split == "train" and e.id not in seen]
    labelled, rng = set[str](), np.random.default_rng(seed)
    images = {e.id: next(iter(e.images.values())) for e in whole.entries}
    while not labelled or is_grey_alone(images, labelled, pool):
        labelled = set(rng.choice(pool, few.labelled, replace=False))

    def kept(cohort: Any, train: set[str]) -> Any:
        judged = [replace(e, split="val") for e in cohort.entries if e.split == few.side]
        return replace(cohort, entries=(*(e for e in cohort.entries if e.id in train), *judged))

    return kept(whole, labelled), kept(alone, set(pool))


def is_grey_alone(images: dict[str, Any], labelled: set[str], pool: list[str]) -> bool:
    """Tell whether the labelled images are grey where the others are coloured too, which such a network cannot read."""
    from PIL import Image

    if images[pool[0]].path.suffix != ".png":
        return False
    channels = {name: len(Image.open(images[name].path).getbands()) for name in pool}
    return max(channels[name] for name in labelled) < max(channels.values())


def with_first(cohort: Any, cases: int) -> Any:
    """Give a cohort that is judged by so many cases alone."""
    judged = [e for e in cohort.entries if e.split == "val"][:cases]
    return replace(cohort, entries=(*(e for e in cohort.entries if e.split == "train"), *judged))


def seconds_a_step(cohort: Any, folder: Path, changes: dict[str, Any]) -> float:
    """Measure the processor's seconds of a training step, by runs of which one is longer; quick steps by more."""
    from medgrad.engine.training.fit import fit

    taken, counts = [], [4, 24]
    for steps in counts:
        began = time.process_time()
        fit(cohort, folder / str(steps), steps=steps, changes=changes)
        taken.append(time.process_time() - began)
        pace = max(0.005, (taken[-1] - taken[0]) / max(1, steps - 4))
        if steps == 24 and pace < 0.1:
            counts.append(24 + ceil(5 / pace))
    return pace


def paces(name: str) -> Callable[[], dict[str, float]]:
    """Give what measures the processor's seconds of a step of the labelled task and of the autoencoder."""

    def measure() -> dict[str, float]:
        few, folder = SETS[name], Path(tempfile.mkdtemp())
        labelled, alone = (with_first(cohort, 4) for cohort in cohorts(few, 0))
        return {
            "labelled": seconds_a_step(labelled, folder / "labelled", {"training": TRAINING}),
            "alone": seconds_a_step(alone, folder / "alone", autoencoder(few)),
        }

    return measure


def autoencoder(few: Few) -> dict[str, Any]:
    """Give the tables of the run that learns from images alone."""
    return {"model": {"name": "autoencoder", "body": few.body}, "training": TRAINING}


def arms(name: str, seed: str, labelled_pace: str, alone_pace: str) -> Callable[[], dict[str, Any]]:
    """Give what trains both arms of a seed, and gives their figures and steps."""

    def learn() -> dict[str, Any]:
        from medgrad import registry
        from medgrad.engine.runs.pretrained import recipe_from_run
        from medgrad.engine.training.fit import fit

        few, folder = SETS[name], Path(tempfile.mkdtemp())
        labelled, alone = cohorts(few, int(seed))
        quick = with_first(labelled, 4)
        steps = {
            "nothing": int(few.seconds / float(labelled_pace)),
            "alone": int(few.seconds * few.share / float(alone_pace)),
            "begun": int(few.seconds * (1 - few.share) / float(labelled_pace)),
        }
        fit(with_first(alone, 2), folder / "alone", steps=steps["alone"], changes=autoencoder(few), seed=int(seed))
        task = registry.find("tasks", labelled.task)(dims=labelled.dims)
        begun = recipe_from_run(folder / "alone", {"training": TRAINING}, task=task, n_images=1)
        found = {}
        for arm, changes in (("nothing", {"training": TRAINING}), ("begun", begun)):
            fit(quick, folder / arm, steps=steps[arm], changes=changes, seed=int(seed))
            found[arm] = score(labelled, folder / arm)
        return {**found, "steps": steps}

    return learn


def score(cohort: Any, folder: Path) -> float:
    """Give the figure by which the task selects, over all cases that judge."""
    from medgrad.engine.evaluation.opened_run import open_run

    run, judged = open_run(folder), cohort.in_splits("val")
    cases = [judged.load_case(entry) for entry in judged.entries]
    rows = [run.task.judge(case.truth, run.predict_case(case), quick=True) for case in cases]
    return float(run.task.summarise(rows)[run.task.primary_metric])


def run() -> dict[str, Any]:
    """Train every arm of every seed, two processes at a time, and give a row for each set."""
    known = {name: few for name, few in SETS.items() if (SHARED / few.path).exists()}
    if not known:
        return {"skipped": f"There is no {SHARED.name!r} beside this folder, so there is nothing to learn from."}
    with ThreadPoolExecutor(AT_ONCE) as pool:
        measured = {name: pool.submit(asked, "paces", name) for name in known}
        pace = {name: answer.result() for name, answer in measured.items()}
        pairs = {
            (name, seed): pool.submit(
                asked, "arms", name, str(seed), *(str(pace[name][k]) for k in ("labelled", "alone"))
            )
            for seed in SEEDS
            for name in known
        }
        found = {name: [pairs[name, seed].result() for seed in SEEDS] for name in known}
    rows = [{"set": name, **summed(SETS[name], of_seeds)} for name, of_seeds in found.items()]
    helped = [row["set"] for row in rows if row["low"] > 0]
    harmed = [row["set"] for row in rows if row["high"] < 0]
    claim = f"it helps on {', '.join(helped) or 'none'}, harms on {', '.join(harmed) or 'none'}"
    return {"rows": rows, "claim": claim, "held": True, "seeds": found}


def asked(*words: str) -> Any:
    """Ask a process of its own once."""
    side = Side(__file__, *words)
    value = side.ask()["value"]
    side.close()
    return value


def summed(few: Few, of_seeds: list[dict[str, Any]]) -> dict[str, Any]:
    """Give the means of both arms, and the paired difference with its interval over the seeds."""
    from scipy import stats

    nothing, begun = (np.array([found[arm] for found in of_seeds]) for arm in ("nothing", "begun"))
    apart = begun - nothing
    reach = float(stats.t.ppf(0.975, len(apart) - 1) * apart.std(ddof=1) / np.sqrt(len(apart)))
    steps = of_seeds[0]["steps"]
    return {
        "labelled": few.labelled, "seconds": few.seconds, "figure": few.figure, "from nothing": float(nothing.mean()),
        "begun": float(begun.mean()), "gain": float(apart.mean()), "low": float(apart.mean()) - reach,
        "high": float(apart.mean()) + reach,
        "seeds that gain": f"{int((apart > 0).sum())} of {len(apart)}",
        "steps": f"{steps['nothing']} / {steps['alone']} + {steps['begun']}",
    }  # fmt: skip


if __name__ == "__main__":
    given = settings(__doc__ or "")
    if given.side:
        serve({"paces": paces, "arms": arms}[given.side[0]](*given.side[1:]))
        sys.exit(0)
    sys.exit(told(run()))

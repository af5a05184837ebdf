"""How many weights a gradient threshold sets to zero, and what is left of the score: a U-Net, a ResNet, a detector.

A weight whose |gradient|, averaged over the samples of the training set, is below epsilon goes to 0. Single weights go,
all layers by one epsilon, once, and nothing is learned again. The epsilons are those that take the shares below; what
is judged are validation cases, and the first row of each network is the network as it was trained. Beside it stand, at
the same share, gradient times weight, magnitude, and chance.

Each network is trained for MEDGRAD_MINUTES minutes (default 5), or taken from the folder that MEDGRAD_RUNS names, in
which ``unet``, ``resnet`` and ``detector`` are runs of ``medgrad fit`` on the same sets, split by seed 0.

Bound: where a half of the weights is zero, the threshold leaves every network at least the score that chance leaves it.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from _race import settings, told

DATA = Path(__file__).parents[2] / "shared" / "data"
SETS: dict[str, tuple[str, dict[str, Any]]] = {
    "unet": ("seg3d_hippocampus", {}),
    "resnet": ("cls_medmnist/breastmnist.npz", {"model": {"name": "resnet", "channels": (16, 32, 64)}}),
    "detector": ("det2d_bccd", {}),
}
SHARES = (0.1, 0.3, 0.5, 0.7, 0.8, 0.9, 0.95)
OTHERS = ("taylor", "magnitude", "random")
SAMPLES, JUDGED, MINUTES = 200, 60, 5.0


def trained(name: str) -> Any:
    """Give what trained a network, with its best weights in the place where it judges; train it if no run is there."""
    from medgrad.data.cohorts.layouts import recognise
    from medgrad.data.cohorts.split import split
    from medgrad.engine.compute.device import choose_device, keep_freed_memory
    from medgrad.engine.loading.cache import load_split
    from medgrad.engine.progress import SilentProgress
    from medgrad.engine.runs.run import Run, open_run
    from medgrad.engine.training.fit import fit
    from medgrad.engine.training.trainer import Trainer

    keep_freed_memory()
    place, changes = SETS[name]
    cohort = recognise(DATA / place)
    kept = os.environ.get("MEDGRAD_RUNS", "")
    folder = Path(kept) / name if kept else Path(tempfile.mkdtemp()) / name
    if not (folder / "recipe.toml").exists():
        fit(cohort, folder, minutes=float(os.environ.get("MEDGRAD_MINUTES", MINUTES)), changes=changes, seed=0)
    opened, sides = open_run(folder), split(cohort, seed=0)
    cases, _ = load_split(sides, "train", opened.prepare_steps, Path(tempfile.mkdtemp()), SilentProgress())
    valid, _ = load_split(sides, "val", opened.prepare_steps, Path(tempfile.mkdtemp()), SilentProgress())
    place_of = choose_device(opened.recipe.training.precision)
    learner = Trainer(Run(folder), opened.recipe, opened.task, cases, valid, place_of)
    learner.ema.weights = {k: v.clone() for k, v in opened.networks[0].network.state_dict().items()}
    return learner


def some(learner: Any) -> Any:
    """Give what yields the first samples of the training set, always the same."""
    count = max(1, SAMPLES // learner.recipe.training.batch)

    def batches() -> Iterator[Any]:
        return islice(learner.full_set(), count)

    return batches


def score(learner: Any, masks: Any) -> tuple[float, float]:
    """Give the share of zeros and the validation score of the trained weights under masks."""
    from medgrad.compress.weights.masks import apply_masks, zero_share

    learner.network.load_state_dict(whole := dict(learner.average.weights))
    apply_masks(learner.network, masks)
    learner.average.weights = learner.network.state_dict()
    found = float(learner.validate(JUDGED) or 0.0)
    learner.average.weights = whole
    return zero_share(learner.network), found


def rows_of(name: str, shares: tuple[float, ...]) -> list[dict[str, Any]]:
    """Sweep the threshold over one network."""
    import torch

    from medgrad import registry
    from medgrad.compress.weights.masks import make_masks

    learner = trained(name)
    learner.network.load_state_dict(learner.average.weights)
    scores = {
        c: registry.find("compress.criteria", c)()(learner.network, learner.task, some(learner))
        for c in ("gradient", *OTHERS)
    }
    none, dense = score(learner, {})
    about = {"network": name, "judged by": learner.task.primary_metric}
    rows: list[dict[str, Any]] = [
        about | {"epsilon": 0.0, "zeros": none, "score": dense} | dict.fromkeys(OTHERS, dense)
    ]
    ranked = torch.cat([s.flatten() for s in scores["gradient"].values()]).sort().values
    for share in shares:
        epsilon = float(ranked[round(share * len(ranked))])
        zeros, found = score(learner, make_masks(scores["gradient"], epsilon=epsilon))
        row = about | {"epsilon": epsilon, "zeros": zeros, "score": found}
        rows.append(row | {c: score(learner, make_masks(scores[c], share=zeros))[1] for c in OTHERS})
    return rows


def run(threads: int = 1, rounds: int = 0) -> dict[str, Any]:
    """Sweep the threshold over all networks whose data is there; ``rounds`` takes only the first so many shares."""
    import torch

    torch.set_num_threads(threads)
    there = [name for name, (place, _) in SETS.items() if (DATA / place).exists()]
    if not there:
        return {"skipped": f"None of the sets of {DATA.name!r} is beside this folder, so there is nothing to prune."}
    rows = [row for name in there for row in rows_of(name, SHARES[: rounds or len(SHARES)])]
    half = [row for row in rows if abs(row["zeros"] - 0.5) < 0.02]
    claim = f"at a half of zeros at least the score of chance, for {', '.join(there)}"
    return {"rows": rows, "claim": claim, "held": bool(half) and all(r["score"] >= r["random"] for r in half)}


if __name__ == "__main__":
    given = settings(__doc__ or "")
    sys.exit(told(run(given.threads, given.rounds)))

"""Judge a run on a cohort, and write what was found into a folder of its own."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from ..data import Cohort
from ..data.cohort import narrowed
from ..data.layouts import SERVED_BY_MASKS
from ..data.pairs import paired
from ..errors import LayoutError, SettingError
from .cache import clear, load_all
from .checkpoint import write_text
from .evaluate import Evaluation, conclude, write_evaluation
from .judge import judge_all
from .recipe import to_toml
from .record import write_cohort
from .run import Run, open_run
from .teller import Silent, Teller


def assess(
    run: Path | str,
    cohort: Cohort,
    out: Path | str,
    *,
    on: str = "all",
    device: str | None = None,
    teller: Teller | None = None,
) -> Evaluation:
    """Judge the cases of a cohort (those ``on`` one side of its split, or all) with a run."""
    teller, folder = teller or Silent(), Path(out)
    trained = open_run(run, device=device)
    if cohort.task == "segmentation" and trained.task.kind in SERVED_BY_MASKS:
        cohort = replace(cohort, task=trained.task.kind)
    known = tuple(getattr(trained.task, "labels", cohort.labels))
    if set(known) < set(cohort.labels):
        cohort = narrowed(cohort, known)
    if cohort.labels and set(cohort.labels) != set(known):
        raise SettingError(
            f"The run answers {', '.join(known)}, but {str(cohort.root)!r} has {', '.join(cohort.labels)}. "
            "Give cases with the same labels."
        )
    chosen = [e for e in cohort.entries if e.truth is not None and on in ("all", e.split)]
    if not chosen:
        raise LayoutError(f"{str(cohort.root)!r} has no case with a truth on {on!r}.")
    cohort = replace(cohort, entries=tuple(replace(e, split="test") for e in chosen))
    if cohort.task == "registration":
        cohort = paired(cohort)
    with teller.bar("Reading") as bar:
        ready, failures = load_all(cohort, trained.steps, folder=folder / "cache", progress=bar)
    for failure in failures:
        teller.say(f"Case {failure.id!r} failed: {failure.why}")
    judged = judge_all(trained, ready, failures, teller=teller, pictures=folder)
    clear(folder / "cache")
    evaluation = conclude(trained.task, judged, split=on)
    write_evaluation(folder, evaluation)
    write_cohort(Run(folder), (cohort,), {}, allow_leak=False)
    write_text(folder / "recipe.toml", to_toml(trained.recipe))
    return evaluation

"""``medgrad fit``: train a run on a folder of images."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ...engine.progress import Progress
from ._arguments import AllowLeak, Device, Labels, Recipe, Roi, Seed, Split, Task, Truth, UntilPlateau, Val
from ._checks import (
    check_budget,
    check_folds,
    check_init,
    check_new_folder,
    check_part,
    check_resumable,
    check_tracker,
    check_training_options,
    name_in_recipe,
)

if TYPE_CHECKING:
    from ...data.cohorts import Cohort


def fit(
    folder: Annotated[Path, typer.Argument(help="The folder (or the file that holds a set) to learn from.")],
    *,
    out: Annotated[Path, typer.Option("--out", "-o", help="The folder of the run; one that exists is gone on with.")],
    minutes: Annotated[float, typer.Option(help="How long it may take, all in all.")] = 20.0,
    steps: Annotated[int, typer.Option(min=0, help="How many steps to take, instead of minutes.")] = 0,
    folds: Annotated[
        int, typer.Option(min=0, help="Train so many models, each judged on patients that it has not seen.")
    ] = 0,
    task: Task = None,
    model: Annotated[str | None, typer.Option(help="The network, by its name.")] = None,
    recipe: Recipe = None,
    init: Annotated[
        Path | None, typer.Option("--init", help="Begin with the weights of this run, or .safetensors file.")
    ] = None,
    truth: Truth = None,
    roi: Roi = None,
    labels: Labels = None,
    split: Split = None,
    val: Val = None,
    until_plateau: UntilPlateau = False,
    auto_fix: Annotated[
        bool, typer.Option("--auto-fix", help="Remedy a network that cannot learn: explosions, vanishing gradients.")
    ] = False,
    track: Annotated[str | None, typer.Option(help="Also tell tensorboard or mlflow.")] = None,
    seed: Seed = 0,
    device: Device = None,
    allow_leak: AllowLeak = False,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Train on a folder of images, and write a run: weights, metrics with intervals, and a report.

    The same command on the same run resumes where it was.
    """
    check_budget(minutes, steps, seed)
    check_folds(folds)
    check_part("--model", model, "models")
    check_tracker(track)
    changes = check_training_options(folder, task=task, split=split, recipe=recipe, device=device)
    check_init(init, out)
    check_new_folder(out, folder)
    named = name_in_recipe(changes, "task", "kind") or task, model or name_in_recipe(changes, "model", "name")
    check_resumable(out, *named)

    from ... import registry
    from ...engine.compute.device import ensure_usable_device
    from ...engine.progress import SilentProgress
    from ...engine.runs.pretrained import recipe_from_run
    from ...engine.runs.recipe import check_part_settings
    from ...engine.training.fit import fit as learn
    from ._cohort import check_fold_count, check_model, find_cohort

    def check(cohort: Cohort) -> None:
        nonlocal changes
        cohort = replace(cohort, task=named[0] or cohort.task)
        check_fold_count(cohort, folds)
        check_model(cohort, named[1])
        check_resumable(out, cohort.task, None)
        if init:
            begun = registry.find("tasks", cohort.task)(dims=cohort.dims)
            changes = recipe_from_run(Path(init), changes, task=begun, n_images=len(cohort.entries[0].images))

    progress = progress or SilentProgress()
    if model:
        changes["model"] = {"name": model} | {k: v for k, v in changes.get("model", {}).items() if k != "name"}
    check_part_settings(changes)
    ensure_usable_device(device or "cpu")
    cohort, look = find_cohort(
        folder,
        truth=truth,
        roi=roi,
        labels=labels,
        task=task,
        split=split,
        val=val,
        allow_leak=allow_leak,
        seed=seed,
        check=check,
        run=out,
        progress=progress,
    )
    fitted = learn(
        cohort,
        out,
        minutes=minutes,
        steps=steps,
        n_folds=folds,
        changes=changes,
        seed=seed,
        device=device,
        look=look,
        allow_leak=allow_leak,
        tracker=track,
        until_plateau=until_plateau,
        auto_fix=auto_fix,
        progress=progress,
    )
    if fitted is None:  # one of a team that does not lead
        return {}
    from ...report import write

    report = write(out)
    return {
        "run": str(fitted.folder),
        "ended_by": fitted.ended_by,
        "steps": fitted.steps,
        "seconds": round(fitted.seconds, 1),
        "split": fitted.evaluation.split,
        "metrics": fitted.evaluation.metrics,
        "report": str(report),
    }


THIS = fit

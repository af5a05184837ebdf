"""``medgrad race``: compare optimisers at equal training time."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from ...engine.progress import Progress
from ._arguments import AllowLeak, Device, Labels, Recipe, Roi, Seed, Split, Task, Truth, Val
from ._checks import (
    check_budget,
    check_installed,
    check_new_folder,
    check_number,
    check_optimisers,
    check_training_options,
)


def race(
    folder: Annotated[Path, typer.Argument(help="The folder (or the file that holds a set) to race on.")],
    *,
    optimisers: Annotated[
        str,
        typer.Option(help="Who races, with commas; 'sgd+full_batch' is sgd fed with the gradient of the whole set."),
    ] = "sgd,momentum,adam,adamw,muon",
    minutes: Annotated[float, typer.Option(help="How long each run may learn.")] = 5.0,
    seeds: Annotated[int, typer.Option(min=1, help="How many runs each makes at its best rate.")] = 3,
    out: Annotated[
        Path, typer.Option("--out", "-o", help="The folder of the race; one that exists is gone on with.")
    ] = Path("race"),
    trials: Annotated[
        int, typer.Option(min=0, help="Search rate and decay by so many trials of optuna, not by a grid.")
    ] = 0,
    task: Task = None,
    recipe: Recipe = None,
    truth: Truth = None,
    roi: Roi = None,
    labels: Labels = None,
    split: Split = None,
    val: Val = None,
    seed: Seed = 0,
    device: Device = None,
    on_ray: Annotated[bool, typer.Option("--on-ray", help="Run the trials side by side on a Ray cluster.")] = False,
    allow_leak: AllowLeak = False,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Compare optimisers: the same data in the same order, the same search for a rate, the same training time.

    The same command on the same folder resumes where it was.
    """
    entrants = check_optimisers(optimisers)
    check_budget(minutes, seed=seed)
    check_number("--seeds", seeds, minimum=1)
    check_number("--trials", trials, minimum=0)
    if trials:
        check_installed("optuna", "tune")
    if on_ray:
        check_installed("ray", "cluster")
    changes = check_training_options(folder, task=task, split=split, recipe=recipe, device=device)
    check_new_folder(out, folder)

    from ...engine.compute.device import ensure_usable_device
    from ...engine.progress import SilentProgress
    from ...engine.race.race import race as run
    from ...engine.runs.recipe import check_part_settings
    from ...report import write_race
    from ._cohort import find_cohort

    progress = progress or SilentProgress()
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
        progress=progress,
    )
    found = run(
        cohort,
        out,
        optimisers=entrants,
        minutes_per_run=minutes,
        n_seeds=seeds,
        changes=changes,
        n_trials=trials,
        seed=seed,
        device=device,
        executor="ray" if on_ray else "here",
        look=look,
        progress=progress,
    )
    return {"text": format_race(found), **found, "report": str(write_race(out))}


def format_race(race_result: dict[str, Any]) -> str:
    """Format the table of a race as text."""
    lines = [f"{'':20} {'rate':>9} {'steps':>7} {'s/step':>7} {race_result['aim']:>12}   95 %              p (Holm)"]
    for row in race_result["table"]:
        start = f"{row['entrant']:20} {row['rate']:9.2g} {row['steps']:7d} {row['seconds_a_step']:7.3f}"
        if row["value"] is None:
            lines.append(f"{start} {'failed':>12}")
            continue
        between = f"{row['low']:.4f} to {row['high']:.4f}" if row["low"] is not None else ""
        p = f"{row['behind']['p_holm']:.3f}" if "behind" in row else ""
        lines.append(f"{start} {row['value']:12.4f}   {between:17} {p:>8}")
    return "\n".join(lines)


THIS = race

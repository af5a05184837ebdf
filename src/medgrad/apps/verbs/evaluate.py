"""``medgrad evaluate``: judge a run on a folder of cases with their truth."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from ...engine.progress import Progress
from ._arguments import Device, Roi, Threads, Truth
from ._checks import check_choice, check_cohort_folder, check_device, check_new_folder, check_number, check_run


def evaluate(
    run: Annotated[Path, typer.Argument(help="The run.")],
    folder: Annotated[Path, typer.Argument(help="The cases to judge on, with their truth.")],
    *,
    out: Annotated[Path, typer.Option("--out", "-o", help="Where to write the figures and the report.")],
    split: Annotated[str, typer.Option(help="Which side of the set's split: train, val, test or all.")] = "all",
    truth: Truth = None,
    roi: Roi = None,
    downstream: Annotated[
        Path | None, typer.Option(help="A run that segments, by which answered images are judged too.")
    ] = None,
    device: Device = None,
    threads: Threads = 0,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Judge a run on cases that it need not have seen: figures with 95 % intervals, a row a case, and a report."""
    check_choice("--split", split, ("train", "val", "test", "all"))
    check_device(device)
    check_number("--threads", threads, minimum=0)
    check_run(run, folder)
    if downstream is not None:
        check_run(downstream, folder)
    check_cohort_folder(folder)
    check_new_folder(out, folder, run)

    from ...data.cohorts.layouts import recognise
    from ...engine.compute.device import set_threads
    from ...engine.evaluation.evaluate_run import evaluate_run, hints_of
    from ...engine.runs.run import open_run
    from ...machine.cores import choose_threads
    from ...report import write

    threads = set_threads(choose_threads(threads))
    trained = open_run(run, device=device)
    cohort = recognise(folder, hints_of(trained.task, truth=truth, roi=roi))
    evaluation = evaluate_run(trained, cohort, out, split=split, downstream=downstream, progress=progress)
    return {"out": str(out), "metrics": evaluation.metrics, "threads": threads, "report": str(write(out))}


THIS = evaluate

"""``medgrad evaluate``: judge a run on a folder of cases with their truth."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from ...engine.teller import Teller


def evaluate(
    run: Annotated[Path, typer.Argument(help="The run.")],
    folder: Annotated[Path, typer.Argument(help="The cases to judge on, with their truth.")],
    *,
    out: Annotated[Path, typer.Option("--out", "-o", help="Where to write the figures and the report.")],
    on: Annotated[str, typer.Option(help="Which side of the set's split: train, val, test or all.")] = "all",
    truth: Annotated[str | None, typer.Option(help="The folder or file that is the truth.")] = None,
    within: Annotated[str | None, typer.Option(help="The folder or file of the region that counts.")] = None,
    device: Annotated[str | None, typer.Option(help="Where to compute: cpu, cuda, cuda:1.")] = None,
    teller: Teller | None = None,
) -> dict[str, Any]:
    """Judge a run on cases that it need not have seen: figures with 95 % intervals, a row a case, and a report."""
    from ...data.layouts import Hints, recognise
    from ...engine.assess import assess
    from ...report import write

    cohort = recognise(folder, Hints(truth, within, None))
    evaluation = assess(run, cohort, out, on=on, device=device, teller=teller)
    return {"out": str(out), "metrics": evaluation.metrics, "report": str(write(out))}


THIS = evaluate

"""``medgrad evaluate``: judge a run on a folder of cases with their truth."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from ...engine.teller import Teller
from ._words import Device, Truth, Within


def evaluate(
    run: Annotated[Path, typer.Argument(help="The run.")],
    folder: Annotated[Path, typer.Argument(help="The cases to judge on, with their truth.")],
    *,
    out: Annotated[Path, typer.Option("--out", "-o", help="Where to write the figures and the report.")],
    on: Annotated[str, typer.Option(help="Which side of the set's split: train, val, test or all.")] = "all",
    truth: Truth = None,
    within: Within = None,
    device: Device = None,
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

"""``medgrad look``: what is in a folder, and what is wrong with it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from ...engine.teller import Teller


def look(
    folder: Annotated[Path, typer.Argument(help="The folder (or the file that holds a set) to look at.")],
    *,
    truth: Annotated[str | None, typer.Option(help="The folder or file that is the truth.")] = None,
    within: Annotated[str | None, typer.Option(help="The folder or file of the region that counts.")] = None,
    split: Annotated[Path | None, typer.Option(help="A file that says who trains and who judges.")] = None,
    allow_leak: Annotated[bool, typer.Option("--allow-leak", help="Go on in spite of a leak over the split.")] = False,
    teller: Teller | None = None,
) -> dict[str, Any]:
    """Tell what a folder holds, how it looks in numbers, what is faulty, and whether its split leaks."""
    from ...engine.teller import Silent
    from ._cohort import find_cohort

    cohort, seen = find_cohort(
        folder, truth=truth, within=within, task=None, split=split, allow_leak=allow_leak, teller=teller or Silent()
    )
    head = f"{cohort.layout}: {cohort.task}, {len(cohort.entries)} cases of {len(cohort.patients)} patients"
    faults = [f"  {fault.case}: {fault.sentence}" for fault in seen.faults]
    found = f"{len(faults)} faults" if faults else "no faults"
    text = "\n".join([head, *(f"  {t}" for t in cohort.told), found, *faults[:20]])
    return {
        "text": text,
        "layout": cohort.layout,
        "task": cohort.task,
        "told": list(cohort.told),
        "look": seen.as_dict(),
    }


THIS = look

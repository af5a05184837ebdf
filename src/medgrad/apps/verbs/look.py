"""``medgrad look``: what is in a folder, and what is wrong with it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from ...engine.teller import Teller
from ._options import check_set, check_split
from ._words import AllowLeak, Split, Truth, Within


def look(
    folder: Annotated[Path, typer.Argument(help="The folder (or the file that holds a set) to look at.")],
    *,
    truth: Truth = None,
    within: Within = None,
    split: Split = None,
    allow_leak: AllowLeak = False,
    teller: Teller | None = None,
) -> dict[str, Any]:
    """Tell what a folder holds, how it looks in numbers, what is faulty, and whether its split leaks."""
    check_set(folder)
    check_split(split)

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

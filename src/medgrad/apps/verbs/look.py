"""``medgrad look``: what is in a folder or a file, and what is wrong with it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from ...engine.progress import Progress
from ._arguments import AllowLeak, Roi, Split, Truth
from ._checks import check_cohort_folder, check_split


def look(
    folder: Annotated[Path, typer.Argument(help="The set to look at; or one file, or one DICOM series.")],
    *,
    truth: Truth = None,
    roi: Roi = None,
    split: Split = None,
    allow_leak: AllowLeak = False,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Tell what a folder holds, how it looks in numbers, what is faulty, and whether its split leaks.

    Of one image or one file of labels it tells what that is.
    """
    check_cohort_folder(folder)
    check_split(split)

    from ...machine.cores import use_one_blas_thread
    from ...survey.workers import start_worker_early

    use_one_blas_thread()
    start_worker_early(folder)  # it loads what it needs while this process does
    from ...data.cohorts.layouts import NotRecognisedError
    from ...engine.progress import SilentProgress
    from ._cohort import find_cohort

    try:
        cohort, seen = find_cohort(
            folder,
            truth=truth,
            roi=roi,
            task=None,
            split=split,
            allow_leak=allow_leak,
            needs_split=False,
            progress=progress or SilentProgress(),
        )
    except NotRecognisedError:
        alone = look_at_single(Path(folder)) if not (truth or roi or split) else None
        if alone is None:
            raise
        return alone
    head = f"{cohort.layout}: {cohort.task}, {len(cohort.entries)} cases of {len(cohort.patients)} patients"
    faults = [f"  {fault.case}: {fault.sentence}" for fault in seen.issues]
    found = f"{len(faults)} faults" if faults else "no faults"
    text = "\n".join([head, *(f"  {t}" for t in cohort.messages), found, *faults[:20]])
    return {
        "text": text,
        "layout": cohort.layout,
        "task": cohort.task,
        "told": list(cohort.messages),
        "look": seen.as_dict(),
    }


def look_at_single(path: Path) -> dict[str, Any] | None:
    """Describe a single file or DICOM series, or list the series of a folder; None where it is none of these."""
    from ...data.cohorts.layouts import list_images
    from ...data.formats import csv as rows
    from ...data.formats import find_format
    from ...survey.one_file import format_lines, look_at_file, look_at_series

    files = list_images(path)
    series = look_at_series(path) if path.is_dir() else []
    if len(series) > 1:
        lines = [
            f"  {s['modality'] or '?'}, {s['description'] or 'no description'}: {s['pictures']} pictures, patient "
            f"{s['patient'] or '?'}, {s['study_date'] or 'no date'}, in {s['folder']}"
            for s in series
        ]
        return {"text": "\n".join([f"{path.name}: {len(series)} DICOM series, and no truth", *lines]), "series": series}
    if path.is_dir() and not series and len(files) != 1:
        return None
    one = path if path.is_file() or series else files[0]
    if rows.can_read(one):
        return None
    find_format(one)
    found = look_at_file(one)
    return {"text": "\n".join(format_lines(found)), "file": found}


THIS = look

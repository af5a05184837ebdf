"""Judge masks that something else has made, with the same figures and intervals as a run of ours.

Run: python examples/judge_another_model.py TRUTHS ANSWERS   (two folders of NIfTI files with the same names)
"""

from __future__ import annotations

import sys
from pathlib import Path

from medgrad import metrics
from medgrad.data.formats import read_labels
from medgrad.trust.intervals import bootstrap_intervals


def judged(truths: Path, answers: Path) -> tuple[list[str], list[dict[str, float | None]]]:
    """Give the names of the cases and a row of figures for each; an answer that is missing counts as the worst."""
    names, rows = [], []
    for path in sorted(truths.glob("*.nii.gz")):
        truth, said = read_labels(path), answers / path.name
        chosen = ["dice", "hd95"]
        row = metrics.judge(chosen, truth, read_labels(said)) if said.exists() else metrics.judge_failed(chosen, truth)
        names.append(path.name)
        rows.append(row)
    return names, rows


def main(truths: str, answers: str) -> None:
    """Print each figure with its 95 % interval."""
    names, rows = judged(Path(truths), Path(answers))
    for figure, found in bootstrap_intervals(rows, patients=names).items():
        if found.value is None:
            continue
        between = f" (95 % {found.low:.3f} to {found.high:.3f})" if found.low is not None else ""
        print(f"{figure:24} {found.value:8.3f}{between}  n = {found.n}")


if __name__ == "__main__":
    main(*sys.argv[1:3])

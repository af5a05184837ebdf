"""Calibration of detection scores: a score becomes the probability that the box is correct."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ...metrics import none_for_nan, written
from ...metrics.ap import LEVELS, hits_of
from ...metrics.counting import LEAST, SURE, shares
from ...tasks.detection import Detection
from ...trust import likelihood
from .evaluate import Judged

FEWEST = 10
"""Of fewer answers of a label nothing is learned about how sure to be."""


def calibrated_boxes(
    task: Detection, judged: Sequence[Judged]
) -> tuple[Detection, list[Judged], dict[str, Any] | None]:
    """Fit Platt scaling of the box scores of each label on judged validation cases; return task, cases and a report."""
    usable = [j for j in judged if not j.failed]
    level = LEVELS.index(LEAST[task.dims])
    lines, told = [], {}
    for label in task.labels:
        said = [pair for j in usable for pair in answers_of(j.row.get(f"said/{label}"))]
        scores = np.array([score for score, _ in said])
        right = np.array([hits_of(word)[level] for _, word in said], float)
        slope, shift = likelihood.fit(scores, right) if len(said) >= FEWEST else (1.0, 0.0)
        lines.append((round(slope, 6), round(shift, 6)))
        told[label] = {"answers": len(said), "slope": lines[-1][0], "shift": lines[-1][1]}
    slopes, shifts = (tuple(values) for values in zip(*lines, strict=True))
    known = dict(zip(task.labels, lines, strict=True))
    rows = [j if j.failed else replace(j, row=recalibrate_row(j.row, known, level)) for j in judged]
    return replace(task, slopes=slopes, shifts=shifts), rows, {"boxes": told}


def answers_of(text: Any) -> list[tuple[float, str]]:
    """Parse the scored boxes in a cell of a row: each score with its overlap.

    >>> answers_of("0.98:0.85 0.5:0")
    [(0.98, '0.85'), (0.5, '0')]
    """
    return [(float(score), word) for score, _, word in (part.partition(":") for part in str(text or "").split())]


def recalibrate_row(row: Any, lines: dict[str, tuple[float, float]], level: int) -> dict[str, Any]:
    """Return a row with recalibrated scores, and with the counts that depend on them recomputed."""
    new = dict(row)
    for label, (slope, shift) in lines.items():
        for column in (f"said/{label}", f"met/{label}"):
            pairs = answers_of(row.get(column))
            if pairs:
                scores = likelihood.applied(np.array([s for s, _ in pairs]), slope, shift)
                new[column] = written(scores, [word for _, word in pairs])
        sure = [word for score, word in answers_of(new.get(f"said/{label}")) if score >= SURE]
        counts = [row.get(f"objects/{label}"), float(len(sure)), float(sum(hits_of(w)[level] for w in sure))]
        if counts[0] is None or f"boxes_said/{label}" not in row:
            continue
        new[f"boxes_said/{label}"], new[f"boxes_right/{label}"] = counts[1:]
        new[f"box_false_positives/{label}"] = counts[1] - counts[2]
        new[f"count_error/{label}"] = abs(counts[1] - counts[0])
        figures = shares(label, *(np.array([v]) for v in counts))
        new |= none_for_nan({name: float(v[0]) for name, v in figures.items()})
    return new

"""Calibration of detection scores: a score becomes the probability that the box is correct."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..metrics import format_scores, none_for_nan
from ..metrics.ap import IOU_THRESHOLDS, parse_hits
from ..metrics.box_counts import MIN_IOU, MIN_SCORE, sensitivity_and_precision
from ..trust import platt

Row = Mapping[str, Any]

MIN_ANSWERS = 10
"""Of fewer answers of a label nothing is learned about how sure to be."""


def fit_box_calibration(
    rows: Sequence[Row], labels: Sequence[str], dims: int
) -> tuple[list[tuple[float, float]], dict[str, Any]]:
    """Fit Platt scaling of the box scores on judged rows; return slope and shift of each label, and a report."""
    level = IOU_THRESHOLDS.index(MIN_IOU[dims])
    coefficients, report = [], {}
    for label in labels:
        scored_answers = [pair for row in rows for pair in parse_scores(row.get(f"prob/{label}"))]
        scores = np.array([score for score, _ in scored_answers])
        right = np.array([parse_hits(word)[level] for _, word in scored_answers], float)
        slope, shift = platt.fit_platt(scores, right) if len(scored_answers) >= MIN_ANSWERS else (1.0, 0.0)
        coefficients.append((round(slope, 6), round(shift, 6)))
        report[label] = {"answers": len(scored_answers), "slope": coefficients[-1][0], "shift": coefficients[-1][1]}
    return coefficients, {"boxes": report}


def parse_scores(text: Any) -> list[tuple[float, str]]:
    """Parse the scored boxes in a cell of a row: each score with its overlap.

    >>> parse_scores("0.98:0.85 0.5:0")
    [(0.98, '0.85'), (0.5, '0')]
    """
    return [(float(score), word) for score, _, word in (part.partition(":") for part in str(text or "").split())]


def recalibrate_row(row: Row, coefficients: Mapping[str, tuple[float, float]], dims: int) -> dict[str, Any]:
    """Return a row with recalibrated scores, and with the counts that depend on them recomputed."""
    new, iou_level = dict(row), IOU_THRESHOLDS.index(MIN_IOU[dims])
    for label, (slope, shift) in coefficients.items():
        for column in (f"prob/{label}", f"froc/{label}"):
            pairs = parse_scores(row.get(column))
            if pairs:
                scores = platt.apply_platt(np.array([s for s, _ in pairs]), slope, shift)
                new[column] = format_scores(scores, [word for _, word in pairs])
        confident = [word for score, word in parse_scores(new.get(f"prob/{label}")) if score >= MIN_SCORE]
        counts: list[Any] = [
            row.get(f"objects/{label}"),
            float(len(confident)),
            float(sum(parse_hits(w)[iou_level] for w in confident)),
        ]
        if counts[0] is None or f"boxes_answered/{label}" not in row:
            continue
        new[f"boxes_answered/{label}"], new[f"boxes_right/{label}"] = counts[1:]
        new[f"box_false_positives/{label}"] = counts[1] - counts[2]
        new[f"count_error/{label}"] = abs(counts[1] - counts[0])
        figures = sensitivity_and_precision(label, *(np.array([v]) for v in counts))
        new |= none_for_nan({name: float(v[0]) for name, v in figures.items()})
    return new

"""Shared by the box metrics: boxes by label, matching by IoU, and lists of scores as text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..data.types import Boxes, LabelMap
from ._metric import Figure, Row

Numbers = NDArray[np.float64]

OBJECT_COUNT = Figure("zero", "Objects of the truth.", worst=None, bounds=None)


@dataclass(frozen=True)
class LabelBoxes:
    """The boxes of one label in truth and answer, those of the answer from the best score on; all (n, 2 * dims)."""

    label: str
    truth: Numbers
    answer: Numbers
    scores: Numbers


def boxes_by_label(truth: Boxes, answer: Boxes, region: LabelMap | None = None) -> Iterator[LabelBoxes]:
    """Yield the boxes of each label that either names, matched by name; those whose centre lies outside a region go."""
    dims = check_boxes(truth, answer, region)
    scores = np.ones(len(answer.corners)) if answer.scores is None else np.asarray(answer.scores, float)
    order = np.argsort(-scores, kind="stable")
    first, second = truth.corners.reshape(-1, 2 * dims), answer.corners.reshape(-1, 2 * dims)[order]
    drawn, said, scores = box_label_names(truth), box_label_names(answer)[order], scores[order]
    if region is not None:
        kept, left = centre_inside(first, region), centre_inside(second, region)
        first, drawn, second, said, scores = first[kept], drawn[kept], second[left], said[left], scores[left]
    for label in dict.fromkeys([*truth.names.values(), *answer.names.values(), *drawn.tolist(), *said.tolist()]):
        mine = said == label
        yield LabelBoxes(label, first[drawn == label], second[mine], scores[mine])


def check_boxes(truth: Boxes, answer: Boxes, region: LabelMap | None) -> int:
    """Give the number of axes, or raise unless both have the same and scores are numbers."""
    widths = {b.corners.shape[-1] for b in (truth, answer) if b.corners.ndim == 2 and len(b.corners)}
    if region is not None:
        widths.add(2 * region.grid.dims)
    if len(widths) > 1 or widths - {4, 6}:
        raise ValueError(
            f"Truth {truth.corners.shape} and answer {answer.corners.shape} must be boxes of one number of axes, 2 or "
            "3, as the region has."
        )
    if answer.scores is not None and not np.isfinite(answer.scores).all():
        raise ValueError("The scores of an answer are numbers, but NaN or infinity came.")
    return next(iter(widths), 4) // 2


def box_label_names(boxes: Boxes) -> NDArray[np.str_]:
    """Give the name of each box's label."""
    return np.array([boxes.names.get(int(v), str(int(v))) for v in boxes.labels], np.str_)


def centre_inside(corners: Numbers, region: LabelMap) -> NDArray[np.bool_]:
    """Tell of each box whether its centre lies in a region."""
    dims = region.grid.dims
    index = np.round(region.grid.to_index((corners[:, :dims] + corners[:, dims:]) / 2)).astype(int)
    inside = ((index >= 0) & (index < region.grid.shape)).all(axis=1)
    index[~inside] = 0
    return np.asarray(inside & (region.array[tuple(index.T)] != 0))


def match_at_thresholds(shared: Numbers, thresholds: Sequence[float]) -> NDArray[np.bool_]:
    """Match answers, best first, to objects at each IoU threshold, as COCO does: (answers, thresholds).

    Each answer takes the free object that it overlaps most, if by at least the threshold.
    """
    least = np.asarray(thresholds)[:, None]
    free = np.ones((len(least), shared.shape[1]), bool)
    found = np.zeros((len(shared), len(least)), bool)
    if not shared.size:
        return found
    every = np.arange(len(least))
    for i, row in enumerate(shared):
        fits = np.where(free & (row >= least), row, -1.0)
        best = shared.shape[1] - 1 - fits[:, ::-1].argmax(axis=1)  # of equal ones the last
        found[i] = fits[every, best] >= 0
        free[every[found[i]], best[found[i]]] = False
    return found


def format_scores(scores: Numbers, words: Sequence[str]) -> str | None:
    """Format scores, each with a word, as text; None where there is none.

    >>> format_scores(np.array([0.98, 0.5]), ["0.85", "0"])
    '0.98:0.85 0.5:0'
    """
    return " ".join(f"{s:.9g}:{w}" for s, w in zip(scores.tolist(), words, strict=True)) or None


@dataclass(frozen=True)
class ScoredAnswers:
    """All answers of one column of the rows, best score first: scores, rows and words.

    ``last`` is the index of the last answer of the same score, so that equal scores count at once.
    """

    scores: Numbers
    row: NDArray[np.int64]
    words: NDArray[np.str_]
    last: NDArray[np.int64]


def parse_scores(rows: Sequence[Row], name: str) -> ScoredAnswers:
    """Parse the scores of one column of the rows."""
    parts = [(i, part.partition(":")) for i, row in enumerate(rows) for part in str(row.get(name) or "").split()]
    scores = np.array([float(part[0]) for _, part in parts])
    order = np.argsort(-scores, kind="stable")
    scores = scores[order]
    return ScoredAnswers(
        scores,
        np.array([i for i, _ in parts], np.int64)[order],
        np.array([part[2] for _, part in parts], np.str_)[order],
        np.searchsorted(-scores, -scores, side="right") - 1,
    )

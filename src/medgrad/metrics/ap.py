"""Average precision of boxes, as COCO computes it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ..data.box_overlap import iou
from ..data.types import Boxes, LabelMap
from ._boxes import OBJECTS, Numbers, found_by_label, hits, read_back, written
from ._metric import Figure, Metric, Row
from ._rows import labels_with, sums
from ._scores import mean_of_known, none_for_nan, ratio

COCO = np.linspace(0.5, 0.95, 10)
LEVELS = (0.1, 0.2, 0.3, 0.4, *COCO.tolist())
TOLD = ("0.1", "0.2", "0.3", "0.4", "0.5", "0.75")
WORDS = [f"{level:.2g}" for level in LEVELS]
RECALLS = np.linspace(0, 1, 101)
MOST = 1000


def compute(truth: Boxes, answer: Boxes, *, region: LabelMap | None = None) -> dict[str, float | str | None]:
    """Give the row of a case: its objects, the scores with what they hit, and the figures of the case by itself."""
    row: dict[str, float | str | None] = {}
    for found in found_by_label(truth, answer, region):
        hit = hits(iou(found.answer[:MOST], found.truth), LEVELS)
        row[f"objects/{found.label}"] = float(len(found.truth))
        row[f"said/{found.label}"] = written(found.scores[:MOST], [word_of(h) for h in hit])
    figures = pool([row], np.ones((1, 1)))
    return {**row, **none_for_nan({name: float(v[0]) for name, v in figures.items()})}


def word_of(hit: NDArray[np.bool_]) -> str:
    """Format at which IoU thresholds an answer hits: the highest, or each of them where they are not consecutive.

    >>> word_of(np.arange(14) < 5), word_of(np.zeros(14, bool))
    ('0.5', '0')
    """
    n = int(hit.sum())
    if not n:
        return "0"
    return WORDS[n - 1] if hit[:n].all() else "+".join(w for w, h in zip(WORDS, hit.tolist(), strict=True) if h) + "+"


def hits_of(word: str) -> list[bool]:
    """Read what ``word_of`` wrote.

    >>> sum(hits_of("0.5")), sum(hits_of("0.1+0.3+")), sum(hits_of("0"))
    (5, 2, 0)
    """
    if word == "0":
        return [False] * len(WORDS)
    if word.endswith("+"):
        return [w in word.split("+") for w in WORDS]
    return [i <= WORDS.index(word) for i in range(len(WORDS))]


def pool(rows: Sequence[Row], weights: Numbers) -> dict[str, Numbers]:
    """Give the average precision of each label over all cases, and the mean over the labels that have objects."""
    labels = labels_with(rows, "said")
    if not labels:
        return {}
    each = np.stack([precisions(rows, weights, label) for label in labels])  # (labels, b, levels)
    figures: dict[str, Numbers] = {}
    for word in TOLD:
        at = each[:, :, WORDS.index(word)]
        figures |= {f"ap@{word}/{label}": at[i] for i, label in enumerate(labels)}
        figures[f"map@{word}"] = mean_of_known(at.T)
    whole = each[:, :, -len(COCO) :].mean(axis=2)
    figures |= {f"ap/{label}": whole[i] for i, label in enumerate(labels)}
    return {**figures, "map": mean_of_known(whole.T)}


def precisions(rows: Sequence[Row], weights: Numbers, label: str) -> Numbers:
    """Give the average precision of one label at each level, (b, levels); nan where there is no object."""
    (objects,) = sums(rows, weights, ["objects"], label)
    said = read_back(rows, f"said/{label}")
    known, which = np.unique(said.words, return_inverse=True)
    hit = np.array([hits_of(str(w)) for w in known], bool).reshape(-1, len(WORDS))[which]
    count = weights[:, said.row].cumsum(axis=1)
    found = [precision(hit[:, i], count, weights, said.row, said.last, objects) for i in range(len(WORDS))]
    return np.where(objects[:, None] > 0, np.stack(found, axis=1), np.nan)


def precision(
    hit: NDArray[np.bool_],
    count: Numbers,
    weights: Numbers,
    row: NDArray[np.int64],
    last: NDArray[np.int64],
    objects: Numbers,
) -> Numbers:
    """Average over 101 recalls the best precision at that recall or a higher one, (b,).

    ``count`` (b, answers) counts answers from the best on. Only answers that hit are looked at: between them precision
    falls and recall stays.
    """
    at = np.flatnonzero(hit)
    if not len(at):
        return np.zeros(len(weights))
    ends = np.flatnonzero(np.r_[last[at][1:] != last[at][:-1], True])  # the last hit of each score
    right = weights[:, row[at]].cumsum(axis=1)[:, ends]
    best = np.nan_to_num(ratio(right, count[:, last[at][ends]]))
    best = np.maximum.accumulate(best[:, ::-1], axis=1)[:, ::-1]
    best = np.concatenate([best, np.zeros((len(best), 1))], axis=1)
    recall = np.nan_to_num(ratio(right, np.broadcast_to(objects[:, None], right.shape)))
    return np.array([b[np.searchsorted(r, RECALLS)].mean() for b, r in zip(best, recall, strict=True)])


HOW = (
    f"Answers are taken from the best score on, at most {MOST} of a label a case; each finds the free object of its "
    "label that it overlaps most, if their intersection over union is at least"
)
AREA = "The mean precision over 101 recalls of one label, as COCO counts it, all cases together."

THIS = Metric(
    on="boxes",
    compute=compute,
    pool=pool,
    figures={
        **{f"ap@{w}": Figure("higher", f"{AREA} {HOW} {w}.", by_order=True) for w in TOLD},
        **{
            f"map@{w}": Figure(
                "higher", f"The mean of ap@{w} over the labels that have objects. {HOW} {w}.", by_order=True
            )
            for w in TOLD
        },
        "ap": Figure("higher", f"{AREA} {HOW} 0.5, 0.55, ... 0.95; the mean over these ten.", by_order=True),
        "map": Figure(
            "higher", f"The mean of ap over the labels that have objects. {HOW} 0.5, 0.55, ... 0.95.", by_order=True
        ),
        "objects": OBJECTS,
        "said": Figure(
            "zero",
            "The score of each answer of the label, and the overlap up to which it finds an object.",
            worst=None,
            bounds=None,
        ),
    },
)

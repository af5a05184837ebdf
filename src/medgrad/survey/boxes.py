"""Check boxes: without size, reversed, or outside of their image."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ..data.cohorts.cohort import Cohort
from ..data.grid import Grid
from ..data.types import UnplacedBoxes, map_boxes
from .case import CaseFacts, Issue, Severity

Flags = NDArray[np.bool_]
MAX_OVERHANG = 1.0  # how far, in elements, a box may reach beyond its image; files round


def check_boxes(cohort: Cohort, facts: Sequence[CaseFacts]) -> list[Issue]:
    """Find boxes without size, reversed ones, and ones outside of their image."""
    grids = {f.id: f.grid for f in facts if f.grid is not None}
    return [
        fault
        for entry in cohort.entries
        if isinstance(entry.truth, UnplacedBoxes) and entry.id in grids
        for fault in check_case_boxes(entry.id, entry.truth, grids[entry.id])
    ]


def check_case_boxes(case: str, boxes: UnplacedBoxes, grid: Grid) -> list[Issue]:
    """Find what is wrong with the boxes of one case."""
    if not len(boxes.corners):
        return []
    if boxes.corners.shape[1] != 2 * grid.dims:
        sentence = f"Its boxes have {boxes.corners.shape[1] // 2} axes, but its image has {grid.dims}."
        return [Issue(case, "boxes", sentence, "error")]
    size = boxes.corners[:, grid.dims :] - boxes.corners[:, : grid.dims]
    turned: Flags = np.any(size < 0, axis=1)
    empty: Flags = np.any(size == 0, axis=1) & ~turned
    low, high = np.split(corners_in_elements(boxes, grid), 2, axis=1)
    whole = ~turned & ~empty
    away = whole & ((high <= 0) | (low >= grid.shape)).any(axis=1)
    beyond = whole & ~away & ((low < -MAX_OVERHANG) | (high > np.array(grid.shape) + MAX_OVERHANG)).any(axis=1)
    checks: list[tuple[str, Flags, str, Severity]] = [
        ("zero-area box", empty, "no size, and are left out", "warning"),
        ("reversed box", turned, "an end before their begin, and are left out", "warning"),
        ("box outside", away, "no part inside the image", "error"),
        ("box beyond", beyond, f"a part more than {MAX_OVERHANG:g} element outside the image", "warning"),
    ]
    return [
        Issue(case, kind, f"{describe_boxes(boxes, wrong)} {words}.", how)
        for kind, wrong, words, how in checks
        if wrong.any()
    ]


def corners_in_elements(boxes: UnplacedBoxes, grid: Grid) -> NDArray[np.float64]:
    """Give corners in elements, where the first one reaches from 0 to 1."""
    if boxes.space == "world":
        return np.asarray(map_boxes(boxes.corners, grid.to_index) + 0.5)
    return boxes.corners * (np.tile(grid.shape, 2) if boxes.space == "shares" else 1.0)


def describe_boxes(boxes: UnplacedBoxes, selected: Flags) -> str:
    """Describe how many boxes of which labels are selected."""
    counts = Counter(boxes.names.get(int(v), str(int(v))) for v in boxes.labels[selected])
    listed = ", ".join(f"{n} {label}" for label, n in sorted(counts.items()))
    return f"{int(selected.sum())} of its {len(selected)} boxes ({listed}) have"

"""Check boxes: without size, reversed, or outside of their image."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ..data.cohorts.cohort import Cohort
from ..data.grid import Grid
from ..data.types import UnplacedBoxes, map_boxes
from .case import Facts, Issue, Severity

Flags = NDArray[np.bool_]
EDGE = 1.0  # how far, in elements, a box may reach beyond its image; files round


def faults_of_boxes(cohort: Cohort, facts: Sequence[Facts]) -> list[Issue]:
    """Find boxes without size, reversed ones, and ones outside of their image."""
    grids = {f.id: f.grid for f in facts if f.grid is not None}
    return [
        fault
        for entry in cohort.entries
        if isinstance(entry.truth, UnplacedBoxes) and entry.id in grids
        for fault in faults_of_case(entry.id, entry.truth, grids[entry.id])
    ]


def faults_of_case(case: str, drawn: UnplacedBoxes, grid: Grid) -> list[Issue]:
    """Find what is wrong with the boxes of one case."""
    if not len(drawn.corners):
        return []
    if drawn.corners.shape[1] != 2 * grid.dims:
        sentence = f"Its boxes have {drawn.corners.shape[1] // 2} axes, but its image has {grid.dims}."
        return [Issue(case, "boxes", sentence, "error")]
    size = drawn.corners[:, grid.dims :] - drawn.corners[:, : grid.dims]
    turned: Flags = np.any(size < 0, axis=1)
    empty: Flags = np.any(size == 0, axis=1) & ~turned
    low, high = np.split(in_elements(drawn, grid), 2, axis=1)
    whole = ~turned & ~empty
    away = whole & ((high <= 0) | (low >= grid.shape)).any(axis=1)
    beyond = whole & ~away & ((low < -EDGE) | (high > np.array(grid.shape) + EDGE)).any(axis=1)
    checks: list[tuple[str, Flags, str, Severity]] = [
        ("zero-area box", empty, "no size, and are left out", "warning"),
        ("reversed box", turned, "an end before their begin, and are left out", "warning"),
        ("box outside", away, "no part inside the image", "error"),
        ("box beyond", beyond, f"a part more than {EDGE:g} element outside the image", "warning"),
    ]
    return [
        Issue(case, kind, f"{said(drawn, wrong)} {words}.", how) for kind, wrong, words, how in checks if wrong.any()
    ]


def in_elements(drawn: UnplacedBoxes, grid: Grid) -> NDArray[np.float64]:
    """Give corners in elements, where the first one reaches from 0 to 1."""
    if drawn.space == "world":
        return np.asarray(map_boxes(drawn.corners, grid.index) + 0.5)
    return drawn.corners * (np.tile(grid.shape, 2) if drawn.space == "shares" else 1.0)


def said(drawn: UnplacedBoxes, wrong: Flags) -> str:
    """Describe how many boxes of which labels are selected."""
    counts = Counter(drawn.names.get(int(v), str(int(v))) for v in drawn.labels[wrong])
    listed = ", ".join(f"{n} {label}" for label, n in sorted(counts.items()))
    return f"{int(wrong.sum())} of its {len(wrong)} boxes ({listed}) have"

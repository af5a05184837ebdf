"""Read the label files of a set, and infer from them which labels it has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ....errors import LayoutError, MedgradError
from ...formats import suffix_of
from ...source import Source
from ...types import LabelMap
from ..cohort import labels_at
from ._files import some

ALL_BELOW_FILES = 1_000
ALL_BELOW_BYTES = 3_000_000_000
SAMPLE = 200
MOST_LABELS = 255
FEWEST_INSTANCES = 6
LOSSY = (".jpg", ".jpeg", ".webp")


@dataclass(frozen=True)
class Seen:
    """What one label file holds: its values, shape and foreground count, or the error where it cannot be read.

    ``is_soft`` is true of a mask blurred by JPEG. ``lone`` counts the labels that are one connected component.
    """

    values: tuple[int, ...] = ()
    shape: tuple[int, ...] = ()
    foreground: int = 0
    error: str = ""
    is_soft: bool = False
    lone: int = 0


@dataclass(frozen=True)
class Meaning:
    """The labels of a set, with the same fields as a Cohort."""

    labels: tuple[str, ...]
    values: tuple[int, ...]
    above: int = 0
    told: tuple[str, ...] = ()


def seen_in(sources: Mapping[str, Source], *, workers: int = 2) -> dict[str, Seen]:
    """Read the label file of each case, or of an even sample where the files are many and large."""
    ids = list(sources)
    most = ALL_BELOW_BYTES if len(ids) < ALL_BELOW_FILES else ALL_BELOW_BYTES // 100
    if _bytes_of(sources.values()) > most:
        ids = [ids[int(i)] for i in np.unique(np.linspace(0, len(ids) - 1, SAMPLE).astype(int))]
    with ThreadPoolExecutor(workers) as pool:
        return dict(zip(ids, pool.map(lambda i: see(sources[i]), ids), strict=True))


def _bytes_of(sources: Any) -> int:
    return sum(s.path.stat().st_size for s in sources if s.path.is_file())


def see(source: Source) -> Seen:
    """Read one label file, and give what it holds or why it cannot be read."""
    try:
        labels = labels_at(source)
    except (MedgradError, OSError, ValueError) as reason:
        return Seen(error=str(reason))
    return seen_of(labels, is_lossy=suffix_of(source.path) in LOSSY)


def seen_of(labels: LabelMap, *, is_lossy: bool = False) -> Seen:
    """Give the values, shape and foreground count of a label map."""
    array = labels.array
    values, counts = counted(array)
    shape = tuple(array.shape)
    if is_lossy and len(values) > 2 and _has_two_ends(values, counts):
        return Seen((), shape, int((array > 127).sum()), is_soft=True)
    foreground = values > 0
    kept = tuple(int(v) for v in values[foreground])
    lone = _lone(array) if FEWEST_INSTANCES <= len(kept) <= 5_000 and array.ndim == 2 else 0
    return Seen(kept, shape, int(counts[foreground].sum()), lone=lone)


def counted(array: NDArray[Any]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Count how often each value of an integer array occurs (as ``np.unique``), fast where values are small."""
    if array.size and array.dtype.kind in "ui" and int(array.max()) < 2**17 and int(array.min()) >= 0:
        counts = np.bincount(array.ravel())
        values = np.flatnonzero(counts)
        return values, counts[values]
    values, counts = np.unique(array, return_counts=True)
    return values.astype(np.int64), counts


def _has_two_ends(values: NDArray[np.int64], counts: NDArray[np.int64]) -> bool:
    ends = (values <= 20) | ((values >= 235) & (values <= 255))
    return bool(values.max() <= 255 and values.max() >= 235 and counts[ends].sum() >= 0.97 * counts.sum())


def _lone(array: NDArray[Any]) -> int:
    """Count the labels that are one connected component, diagonals included."""
    whole, n = 0, np.ones((3,) * array.ndim)
    for value, box in enumerate(ndimage.find_objects(array.astype(np.int32)), 1):
        if box is not None:
            whole += ndimage.label(array[box] == value, n)[1] == 1
    return whole


def are_instances(seen: Sequence[Seen]) -> bool:
    """Tell whether label files are instance maps (objects numbered 1 to n) rather than semantic labels.

    Instances are numbered without large gaps, their number differs from file to file, and each is one component.
    """
    filled = [s for s in seen if s.values]
    if not filled or max(max(s.values) for s in filled) < FEWEST_INSTANCES:
        return False
    dense = sum(len(s.values) >= 0.9 * max(s.values) for s in filled)
    many = [s for s in filled if len(s.values) >= FEWEST_INSTANCES and len(s.shape) == 2]
    lone = sum(s.lone for s in many) >= 0.9 * sum(len(s.values) for s in many)
    numbers = [max(s.values) for s in filled]
    low, high = np.percentile(numbers, (10, 90))
    varied = high >= 1.5 * low if len(filled) > 1 else numbers[0] > 20
    return dense >= 0.9 * len(filled) and varied and lone


def meaning(seen: Mapping[str, Seen], name: str, *, n_files: int) -> Meaning:
    """Infer the labels of a set from its label files; ``name`` is the label's name if there is just one."""
    good = [s for s in seen.values() if not s.error]
    if not good:
        raise LayoutError(f"No label file can be read. The first says: {next(iter(seen.values())).error}")
    told = [f"{len(seen)} of {n_files} label files were read to find the labels."] if len(seen) < n_files else []
    values = sorted({v for s in good for v in s.values})
    if any(s.is_soft for s in good):
        told.append(f"The masks are blurred by JPEG: {name!r} is where they are above 127.")
        return Meaning((name,), (), 127, tuple(told))
    if are_instances(good):
        told.append(f"The masks number single things; together they are one label, {name!r}.")
        return Meaning((name,), (), 0, tuple(told))
    if set(values) == {1, 255} and all(len(s.values) < 2 for s in good):
        told.append(f"Some masks hold 1 and some 255; both are {name!r}.")
        return Meaning((name,), (), 0, tuple(told))
    if len(values) > MOST_LABELS:
        raise LayoutError(
            f"The label files hold {len(values)} different numbers, {some(map(str, values))}: too many to be labels. "
            "Name the folder of the masks with truth."
        )
    if not values:
        told.append("All masks are empty.")
        return Meaning((name,), (1,), 0, tuple(told))
    labels = (name,) if len(values) == 1 else tuple(str(v) for v in values)
    return Meaning(labels, tuple(values), 0, tuple(told))

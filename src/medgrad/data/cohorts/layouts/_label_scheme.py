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
from ...formats import file_suffix
from ...source import Source
from ...types import LabelMap
from ..cohort import read_merged_labels
from ._files import quote_first

READ_ALL_MAX_FILES = 1_000
READ_ALL_MAX_BYTES = 3_000_000_000
SAMPLE_SIZE = 200
MAX_LABELS = 255
MIN_INSTANCES = 6
LOSSY_SUFFIXES = (".jpg", ".jpeg", ".webp")


@dataclass(frozen=True)
class LabelContent:
    """What one label file holds: its values, shape and foreground count, or the error where it cannot be read.

    ``is_soft`` is true of a mask blurred by JPEG. ``n_connected`` counts the labels that are one connected component.
    """

    values: tuple[int, ...] = ()
    shape: tuple[int, ...] = ()
    n_foreground: int = 0
    error: str = ""
    is_soft: bool = False
    n_connected: int = 0


@dataclass(frozen=True)
class LabelScheme:
    """The labels of a set, with the same fields as a Cohort."""

    labels: tuple[str, ...]
    label_values: tuple[int, ...]
    threshold: int = 0
    messages: tuple[str, ...] = ()


def inspect_label_files(sources: Mapping[str, Source], *, workers: int = 2) -> dict[str, LabelContent]:
    """Read the label file of each case, or of an even sample where the files are many and large."""
    ids = list(sources)
    max_bytes = READ_ALL_MAX_BYTES if len(ids) < READ_ALL_MAX_FILES else READ_ALL_MAX_BYTES // 100
    if _total_bytes(sources.values()) > max_bytes:
        ids = [ids[int(i)] for i in np.unique(np.linspace(0, len(ids) - 1, SAMPLE_SIZE).astype(int))]
    with ThreadPoolExecutor(workers) as pool:
        return dict(zip(ids, pool.map(lambda i: inspect_label_file(sources[i]), ids), strict=True))


def _total_bytes(sources: Any) -> int:
    return sum(s.path.stat().st_size for s in sources if s.path.is_file())


def inspect_label_file(source: Source) -> LabelContent:
    """Read one label file, and give what it holds or why it cannot be read."""
    try:
        labels = read_merged_labels(source)
    except (MedgradError, OSError, ValueError) as reason:
        return LabelContent(error=str(reason))
    return inspect_label_map(labels, is_lossy=file_suffix(source.path) in LOSSY_SUFFIXES)


def inspect_label_map(labels: LabelMap, *, is_lossy: bool = False) -> LabelContent:
    """Give the values, shape and foreground count of a label map."""
    array = labels.array
    values, counts = count_values(array)
    shape = tuple(array.shape)
    if is_lossy and len(values) > 2 and _is_blurred_binary(values, counts):
        return LabelContent((), shape, int((array > 127).sum()), is_soft=True)
    foreground = values > 0
    kept = tuple(int(v) for v in values[foreground])
    n_connected_labels = (
        _count_connected_labels(array) if MIN_INSTANCES <= len(kept) <= 5_000 and array.ndim == 2 else 0
    )
    return LabelContent(kept, shape, int(counts[foreground].sum()), n_connected=n_connected_labels)


def count_values(array: NDArray[Any]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Count how often each value of an integer array occurs (as ``np.unique``), fast where values are small."""
    if array.size and array.dtype.kind in "ui" and int(array.max()) < 2**17 and int(array.min()) >= 0:
        counts = np.bincount(array.ravel())
        values = np.flatnonzero(counts)
        return values, counts[values]
    values, counts = np.unique(array, return_counts=True)
    return values.astype(np.int64), counts


def _is_blurred_binary(values: NDArray[np.int64], counts: NDArray[np.int64]) -> bool:
    ends = (values <= 20) | ((values >= 235) & (values <= 255))
    return bool(values.max() <= 255 and values.max() >= 235 and counts[ends].sum() >= 0.97 * counts.sum())


def _count_connected_labels(array: NDArray[Any]) -> int:
    """Count the labels that are one connected component, diagonals included."""
    whole, n = 0, np.ones((3,) * array.ndim)
    for value, box in enumerate(ndimage.find_objects(array.astype(np.int32)), 1):
        if box is not None:
            whole += ndimage.label(array[box] == value, n)[1] == 1
    return whole


def are_instance_maps(contents: Sequence[LabelContent]) -> bool:
    """Tell whether label files are instance maps (objects numbered 1 to n) rather than semantic labels.

    Instances are numbered without large gaps, their number differs from file to file, and each is one component.
    """
    filled = [s for s in contents if s.values]
    if not filled or max(max(s.values) for s in filled) < MIN_INSTANCES:
        return False
    dense = sum(len(s.values) >= 0.9 * max(s.values) for s in filled)
    many = [s for s in filled if len(s.values) >= MIN_INSTANCES and len(s.shape) == 2]
    mostly_connected = sum(s.n_connected for s in many) >= 0.9 * sum(len(s.values) for s in many)
    numbers = [max(s.values) for s in filled]
    low, high = np.percentile(numbers, (10, 90))
    varied = high >= 1.5 * low if len(filled) > 1 else numbers[0] > 20
    return dense >= 0.9 * len(filled) and varied and mostly_connected


def infer_label_scheme(contents: Mapping[str, LabelContent], label_name: str, *, n_files: int) -> LabelScheme:
    """Infer the labels of a set from its label files; ``label_name`` is the label's name if there is just one."""
    readable = [s for s in contents.values() if not s.error]
    if not readable:
        raise LayoutError(f"No label file can be read. The first says: {next(iter(contents.values())).error}")
    messages = (
        [f"{len(contents)} of {n_files} label files were read to find the labels."] if len(contents) < n_files else []
    )
    values = sorted({v for s in readable for v in s.values})
    if any(s.is_soft for s in readable):
        messages.append(f"The masks are blurred by JPEG: {label_name!r} is where they are above 127.")
        return LabelScheme((label_name,), (), 127, tuple(messages))
    if are_instance_maps(readable):
        messages.append(f"The masks number single things; together they are one label, {label_name!r}.")
        return LabelScheme((label_name,), (), 0, tuple(messages))
    if set(values) == {1, 255} and all(len(s.values) < 2 for s in readable):
        messages.append(f"Some masks hold 1 and some 255; both are {label_name!r}.")
        return LabelScheme((label_name,), (), 0, tuple(messages))
    if len(values) > MAX_LABELS:
        raise LayoutError(
            f"The label files hold {len(values)} different numbers, {quote_first(map(str, values))}: too "
            "many to be labels. "
            "Name the folder of the masks with truth."
        )
    if not values:
        messages.append("All masks are empty.")
        return LabelScheme((label_name,), (1,), 0, tuple(messages))
    labels = (label_name,) if len(values) == 1 else tuple(str(v) for v in values)
    return LabelScheme(labels, tuple(values), 0, tuple(messages))

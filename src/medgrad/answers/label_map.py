"""Label maps: the label of every element."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..data import Grid, Image, LabelMap, Source, concatenate_answers
from ..data.atomic_files import write_text
from ..data.display import Plane, fullest_plane, upright
from ..data.formats import file_suffix, write
from ..prepare import Memo, Step
from ..prepare.crop import crop_box
from ._dicom import (
    LABEL_FORMATS,
    WITH_IMAGE,
    check_highdicom,
    check_series,
    is_dicom,
    uncoded_notes,
    write_labels,
)
from ._kind import Agreement, AnswerKind, Destination, Settings

SAME_SUFFIX = {".nii": ".nii", ".nii.gz": ".nii.gz", ".png": ".png", ".tif": ".tif", ".tiff": ".tif", ".npy": ".npz"}


class LabelMaps(AnswerKind):
    """Decoded from logits (classes, *shape): the largest is the label, 0 the background."""

    type = LabelMap
    outputs = ("logits",)
    formats = ("nifti", "json", *LABEL_FORMATS)
    tolerance = {"float32": 0.001, "int8": 0.01}
    has_background = True
    settings = ("labels",)

    def example(self, grid: Grid, seed: int = 0) -> LabelMap:
        labels = np.zeros(grid.shape, np.uint8)
        for value in (1, 2):
            labels[tuple(slice(value + seed, value + seed + n // 2) for n in grid.shape)] = value
        return LabelMap(labels, grid, {1: "liver", 2: "tumour"})

    def crop(self, value: LabelMap, start: Sequence[int], shape: Sequence[int]) -> LabelMap:
        cropped: LabelMap = crop_box(value, start, shape)
        return cropped

    def join(self, values: Sequence[LabelMap], windows: Sequence[Grid], grid: Grid, settings: Settings) -> LabelMap:
        del windows, settings
        whole: LabelMap = concatenate_answers(values, grid)
        return whole

    def undo(self, value: LabelMap, step: Step, memo: Memo) -> LabelMap:
        return step.undo_labels(value, memo)

    def decode(self, outputs: Sequence[Any], grid: Grid, settings: Settings) -> LabelMap:
        logits = outputs[0]
        names = dict(enumerate(settings["labels"], 1))
        if isinstance(logits, np.ndarray):
            return LabelMap(argmax(logits), grid, names)
        found = logits.argmax(0).cpu().numpy()  # on its own device, so that only the labels are copied
        return LabelMap(found.astype(label_type(len(logits))), grid, names)

    def write(self, value: LabelMap, to: Destination) -> list[Path]:
        if to.file_format == "json":
            write_text(to.path(".json"), json.dumps(volumes(value), indent=1) + "\n")
            return [to.path(".json")]
        ending = ".nii.gz" if to.file_format == "nifti" else SAME_SUFFIX.get(file_suffix(to.source.path))
        if to.file_format in LABEL_FORMATS or (ending is None and is_dicom(to.source.path)):
            return write_labels(value, to, to.file_format or "dicomseg")
        ending = ending or (".nii.gz" if value.grid.dims == 3 else ".png")
        return [write(to.path(ending), value)]

    def check_format(self, file_format: str, source: Source) -> None:
        super().check_format(file_format, source)
        if file_format in LABEL_FORMATS:
            check_series(source, file_format)
        if file_format in LABEL_FORMATS or (not file_format and is_dicom(source.path)):
            check_highdicom(file_format)

    def element_bytes(self, classes: int) -> int | None:
        return np.dtype(label_type(classes)).itemsize

    def needs_image(self, file_format: str) -> bool:
        return file_format in WITH_IMAGE

    def notes(self, value: LabelMap, written: Sequence[Path]) -> tuple[str, ...]:
        return uncoded_notes(written, value.names.values())

    def summary(self, value: LabelMap) -> dict[str, Any]:
        return volumes(value)

    def plane_index(self, value: LabelMap, image: Image, axis: int) -> int | None:
        return fullest_plane(value.array, axis)

    def drawn(self, value: LabelMap, image: Image, plane: Plane) -> Mapping[str, NDArray[Any]]:
        return {"labels": upright(value.array[plane], image.grid).astype(np.uint8)}

    def compare(self, pairs: Sequence[tuple[LabelMap, LabelMap]]) -> Agreement:
        """Count the elements that have one label, of all and of those that either side calls foreground.

        >>> a, b = (LabelMap(np.array([values]), Grid.from_shape((1, 4))) for values in ([0, 0, 1, 1], [0, 0, 1, 0]))
        >>> dict(THIS.compare([(a, b)]).figures)
        {'equal': 0.75, 'equal_foreground': 0.5}
        """
        total = same = union = same_union = 0
        for a, b in pairs:
            equal, either = a.array == b.array, (a.array > 0) | (b.array > 0)
            total, same = total + equal.size, same + int(equal.sum())
            union, same_union = union + int(either.sum()), same_union + int(equal[either].sum())
        figures = {"equal": same / total, "equal_foreground": same_union / union if union else 1.0}
        return Agreement(1 - figures["equal"], len(pairs), figures)

    def stored(self, outputs: Sequence[NDArray[Any]], settings: Settings) -> dict[str, NDArray[Any]]:
        return {"labels": argmax(outputs[0][0])}

    def read_stored(self, stored: Mapping[str, NDArray[Any]], grid: Grid, settings: Settings) -> LabelMap:
        return LabelMap(stored["labels"], Grid.from_shape(stored["labels"].shape))


def label_type(classes: int) -> type[np.generic]:
    """Give the smallest type that holds the labels of so many classes."""
    return np.uint8 if classes <= 256 else np.int32


def argmax(planes: NDArray[Any]) -> NDArray[Any]:
    """Tell which of planes (n, *shape) is the largest at each element, the first of equal ones.

    One plane after another is held to the largest so far, which is several times faster than ``np.argmax``: that takes
    one element after another, through all planes.

    >>> argmax(np.array([[0.0, 3.0, 1.0], [2.0, 3.0, -1.0]])).tolist()
    [1, 0, 0]
    """
    best = planes[0].copy()
    found = np.zeros(best.shape, label_type(len(planes)))
    over = np.empty(best.shape, np.bool_)
    for number in range(1, len(planes)):
        np.greater(planes[number], best, out=over)
        np.maximum(planes[number], best, out=best)
        np.maximum(found, over * found.dtype.type(number), out=found)
    return found


def volumes(labels: LabelMap) -> dict[str, Any]:
    """How much there is of each label: elements and, where the spacing is known, millilitres (or square mm)."""
    found = {}
    for value, name in labels.names.items():
        count = int((labels.array == value).sum())
        unit = labels.grid.voxel_volume_mm
        size = {"volume_ml": count * unit / 1000} if labels.grid.dims == 3 else {"area_mm2": count * unit}
        found[name] = {"elements": count} | (size if labels.grid.has_spacing else {})
    return found


THIS = LabelMaps()

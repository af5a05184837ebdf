"""MedMNIST archives: ``train_images``, ``train_labels`` and so on in one ``.npz``."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ....errors import FormatError, LayoutError
from ...formats.arrays import stored
from ...source import Source
from ...types import Scores
from ..cohort import SPLITS, Cohort, Entry
from ._assemble import dims_of, image_shape
from ._files import some
from ._layout import Hints, NoMatch


def medmnist(folder: Path, hints: Hints) -> Cohort | NoMatch:
    """Recognise an ``.npz`` with images and labels of each split, or a folder that holds just one such file."""
    if folder.is_dir():
        archives = [p for p in sorted(folder.glob("*.npz")) if sides_in(p)]
        if len(archives) > 1:
            names = ", ".join(p.name for p in archives)
            raise LayoutError(f"{str(folder)!r} holds {len(archives)} sets: {names}. Name one of these files.")
        if not archives:
            return NoMatch(0.0, "it holds no .npz with train_images and train_labels.")
        folder = archives[0]
    if folder.suffix.lower() != ".npz":
        return NoMatch(0.0, "it is no .npz.")
    sides = sides_in(folder)
    if not sides:
        return NoMatch(0.5, "it holds no train_images with train_labels.")
    if hints.task not in (None, "classification"):
        return NoMatch(0.5, f"its labels do not serve {hints.task}.")
    return read_set(folder, sides)


def sides_in(path: Path) -> list[str]:
    """List the splits of which an archive holds both images and labels."""
    try:
        with zipfile.ZipFile(path) as archive:
            held = set(archive.namelist())
    except (OSError, zipfile.BadZipFile):
        return []
    return [s for s in SPLITS if {f"{s}_images.npy", f"{s}_labels.npy"} <= held]


def read_set(path: Path, sides: list[str]) -> Cohort:
    """Build the cohort of an archive; each row is a case."""
    labels = {s: table_of(path, s) for s in sides}
    told = [f"The split is the one that comes with the set: {', '.join(f'{len(labels[s])} {s}' for s in sides)}."]
    is_multi = labels[sides[0]].shape[1] > 1
    if is_multi:
        names = tuple(str(i) for i in range(labels[sides[0]].shape[1]))
        told.append("Several classes may hold in one case.")
    else:
        names = tuple(str(i) for i in range(max(2, 1 + max(int(v.max()) for v in labels.values()))))
    told.append(f"The set does not name its classes; they are numbered {some(names, 12)}.")
    entries = tuple(
        _entry(path, side, row, truth, names, len(labels[side]), is_multi)
        for side in sides
        for row, truth in enumerate(labels[side])
    )
    shape = image_shape(Source(path, f"{sides[0]}_images:0"))
    if not shape:
        raise FormatError(f"{str(path)!r}: the first row of {sides[0]}_images is no image. Was the file copied whole?")
    return Cohort(
        path, "medmnist", "classification", entries, names, dims=dims_of([shape]), exclusive=not is_multi,
        patients_from="one patient a case (the set names none)", told=tuple(told),
    )  # fmt: skip


def table_of(path: Path, side: str) -> NDArray[np.int64]:
    """Read the labels (cases, columns) of a split, and check them against the number of its images."""
    labels: NDArray[Any] = np.array(stored(path, f"{side}_labels"))
    labels = labels[:, None] if labels.ndim == 1 else labels
    if labels.ndim != 2 or not labels.size or (labels != np.round(labels)).any() or labels.min() < 0:
        raise FormatError(f"{str(path)!r}: {side}_labels must be whole numbers from 0, a row a case.")
    if labels.shape[1] > 1 and labels.max() > 1:
        raise FormatError(f"{str(path)!r}: {side}_labels has several columns, so each must be 0 or 1.")
    if labels.max() > 9_999:
        raise FormatError(f"{str(path)!r}: {side}_labels counts to {labels.max()}, too many classes.")
    n = rows_in(path, f"{side}_images")
    if n != len(labels):
        raise FormatError(f"{str(path)!r} has {n} rows in {side}_images, but {len(labels)} in {side}_labels.")
    return labels.astype(np.int64)


def rows_in(path: Path, name: str) -> int:
    """Count the rows of an array in an archive from its header alone."""
    try:
        with zipfile.ZipFile(path) as archive, archive.open(f"{name}.npy") as file:
            version = np.lib.format.read_magic(file)
            first = version == (1, 0)
            header = np.lib.format.read_array_header_1_0(file) if first else np.lib.format.read_array_header_2_0(file)
    except (OSError, ValueError, zipfile.BadZipFile, NotImplementedError) as reason:
        raise FormatError(f"{str(path)!r}: {name} cannot be read: {reason}. Was the file copied whole?") from None
    shape = header[0]
    return int(shape[0]) if shape else 0


def _entry(
    path: Path, side: str, row: int, truth: NDArray[np.int64], names: tuple[str, ...], n: int, is_multi: bool
) -> Entry:
    values = truth.astype(float) if is_multi else np.eye(len(names))[int(truth[0])]
    number = f"{row:0{len(str(n - 1))}d}"
    scores = Scores(values, names, exclusive=not is_multi)
    one = f"{side}_{number}"
    return Entry(one, {"image": Source(path, f"{side}_images:{row}")}, scores, patient=one, split=side)


medmnist.order = 10  # type: ignore[attr-defined]
THIS = medmnist

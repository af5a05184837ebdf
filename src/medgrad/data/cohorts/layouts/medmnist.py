"""MedMNIST archives: ``train_images``, ``train_labels`` and so on in one ``.npz``."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ....errors import FormatError, LayoutError
from ...formats.numpy import load_array
from ...source import Source
from ...types import Scores
from ..cohort import SPLITS, Cohort, Entry
from ._files import quote_first
from ._layout import Hints, NoMatch
from ._segmentation_cohort import infer_dims, read_image_shape


def medmnist(folder: Path, hints: Hints) -> Cohort | NoMatch:
    """Recognise an ``.npz`` with images and labels of each split, or a folder that holds just one such file."""
    if folder.is_dir():
        archives = [p for p in sorted(folder.glob("*.npz")) if list_splits(p)]
        if len(archives) > 1:
            names = ", ".join(p.name for p in archives)
            raise LayoutError(f"{str(folder)!r} holds {len(archives)} sets: {names}. Name one of these files.")
        if not archives:
            return NoMatch(0.0, "it holds no .npz with train_images and train_labels.")
        folder = archives[0]
    if folder.suffix.lower() != ".npz":
        return NoMatch(0.0, "it is no .npz.")
    sides = list_splits(folder)
    if not sides:
        return NoMatch(0.5, "it holds no train_images with train_labels.")
    if hints.rules_out("scores"):
        return NoMatch(0.5, f"its labels do not serve {hints.task}.")
    return build_medmnist_cohort(folder, sides)


def list_splits(path: Path) -> list[str]:
    """List the splits of which an archive holds both images and labels."""
    try:
        with zipfile.ZipFile(path) as archive:
            held = set(archive.namelist())
    except (OSError, zipfile.BadZipFile):
        return []
    return [s for s in SPLITS if {f"{s}_images.npy", f"{s}_labels.npy"} <= held]


def build_medmnist_cohort(path: Path, splits: list[str]) -> Cohort:
    """Build the cohort of an archive; each row is a case."""
    labels = {s: read_label_array(path, s) for s in splits}
    messages = [f"The split is the one that comes with the set: {', '.join(f'{len(labels[s])} {s}' for s in splits)}."]
    is_multi = labels[splits[0]].shape[1] > 1
    if is_multi:
        names = tuple(str(i) for i in range(labels[splits[0]].shape[1]))
        messages.append("Several classes may hold in one case.")
    else:
        names = tuple(str(i) for i in range(max(2, 1 + max(int(v.max()) for v in labels.values()))))
    messages.append(f"The set does not name its classes; they are numbered {quote_first(names, 12)}.")
    entries = tuple(
        _make_entry(path, side, row, truth, names, len(labels[side]), is_multi)
        for side in splits
        for row, truth in enumerate(labels[side])
    )
    shape = read_image_shape(Source(path, f"{splits[0]}_images:0"))
    if not shape:
        raise FormatError(f"{str(path)!r}: the first row of {splits[0]}_images is no image. Was the file copied whole?")
    return Cohort(
        path, "medmnist", "classification", entries, names, dims=infer_dims([shape]), exclusive=not is_multi,
        patients_source="one patient a case (the set names none)", messages=tuple(messages),
        truth="scores",
    )  # fmt: skip


def read_label_array(path: Path, split_name: str) -> NDArray[np.int64]:
    """Read the labels (cases, columns) of a split, and check them against the number of its images."""
    labels: NDArray[Any] = np.array(load_array(path, f"{split_name}_labels"))
    labels = labels[:, None] if labels.ndim == 1 else labels
    if labels.ndim != 2 or not labels.size or (labels != np.round(labels)).any() or labels.min() < 0:
        raise FormatError(f"{str(path)!r}: {split_name}_labels must be whole numbers from 0, a row a case.")
    if labels.shape[1] > 1 and labels.max() > 1:
        raise FormatError(f"{str(path)!r}: {split_name}_labels has several columns, so each must be 0 or 1.")
    if labels.max() > 9_999:
        raise FormatError(f"{str(path)!r}: {split_name}_labels counts to {labels.max()}, too many classes.")
    n = count_rows(path, f"{split_name}_images")
    if n != len(labels):
        raise FormatError(
            f"{str(path)!r} has {n} rows in {split_name}_images, but {len(labels)} in {split_name}_labels."
        )
    return labels.astype(np.int64)


def count_rows(path: Path, name: str) -> int:
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


def _make_entry(
    path: Path,
    split_name: str,
    row: int,
    truth: NDArray[np.int64],
    class_names: tuple[str, ...],
    n_rows: int,
    is_multi: bool,
) -> Entry:
    values = truth.astype(float) if is_multi else np.eye(len(class_names))[int(truth[0])]
    number = f"{row:0{len(str(n_rows - 1))}d}"
    scores = Scores(values, class_names, exclusive=not is_multi)
    one = f"{split_name}_{number}"
    return Entry(one, {"image": Source(path, f"{split_name}_images:{row}")}, scores, patient=one, split=split_name)


medmnist.order = 10  # type: ignore[attr-defined]
THIS = medmnist

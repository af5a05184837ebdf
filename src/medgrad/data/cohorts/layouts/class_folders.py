"""One folder of images for each class, perhaps below a folder for each split."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ....errors import FormatError
from ...dicom.read_dataset import get_text, is_dicom, open_dicom
from ...source import Source
from ...types import Scores
from ..cohort import Cohort, Entry
from ..patients import PATIENT_PREFIXES
from ._files import (
    IMAGE_WORDS,
    MASK_WORDS,
    file_stem,
    list_images,
    natural_sort_key,
    quote_first,
    split_off_split_name,
    split_words,
)
from ._layout import Hints, NoMatch
from ._segmentation_cohort import evenly_spaced_indices, finish_cohort, infer_dims, read_image_shape

MAX_CLASSES = 500
PATIENT_PATTERN = re.compile(rf"({PATIENT_PREFIXES})[-_ ]?\d+", re.IGNORECASE)


def class_folders(folder: Path, hints: Hints) -> Cohort | NoMatch:
    """Recognise folders that are named after the class of their images."""
    if folder.is_file():
        return NoMatch(0.0, "it is a file.")
    if hints.rules_out("scores"):
        return NoMatch(0.1, f"folders of classes do not serve {hints.task}.")
    found = [(path, *parse_split_and_class(path.relative_to(folder).parts[:-1])) for path in list_images(folder)]
    found = [(path, side, name) for path, side, name in found if name]
    masks = [path for path, _, _ in found if set(split_words(file_stem(path))) & {"mask", "seg", "segmentation", "gt"}]
    images = [f for f in found if f[0] not in set(masks)]
    counts = Counter(name for _, _, name in images)
    if len(counts) < 2:
        return NoMatch(0.2 if images else 0.0, "it has no folders of images, one a class.")
    if all(PATIENT_PATTERN.match(c) for c in counts):
        return NoMatch(0.2, f"the folders are named for patients, such as {next(iter(counts))!r}, not for classes.")
    depths = {len(path.relative_to(folder).parts) - (side is not None) for path, side, _ in images}
    if max(depths) - min(depths) > 1 or max(depths) > 3:
        return NoMatch(0.2, "its images do not lie equally deep, so its folders are hardly classes.")
    generic = [c for c in counts if set(split_words(c)) <= MASK_WORDS | IMAGE_WORDS]
    if generic:
        return NoMatch(0.1, f"the folder {generic[0]!r} does not name a class.")
    if len(counts) > MAX_CLASSES or len(images) < 3 * len(counts):
        said = f"{len(counts)} folders for {len(images)} images: these are hardly classes."
        return NoMatch(0.3, f"{said} A class needs a folder with at least 3 images.")
    if series := find_dicom_series_folder([path for path, _, _ in images]):
        return NoMatch(0.1, f"the folder {series.name!r} is one DICOM series, and its files are no single images.")
    messages = [
        f"The classes are the folders: {', '.join(f'{c} ({counts[c]})' for c in sorted(counts, key=natural_sort_key))}."
    ]
    if masks:
        messages.append(f"{len(masks)} files that are named as masks are not used, such as {masks[0].name!r}.")
    return _build_cohort(folder, images, tuple(sorted(counts, key=natural_sort_key)), messages)


def find_dicom_series_folder(images: Sequence[Path]) -> Path | None:
    """Give the folder of the first image if its first two files are slices of one DICOM series, else None."""
    if not is_dicom(images[0]):
        return None
    both = [p for p in images if p.parent == images[0].parent][:2]
    try:
        heads = [open_dicom(p, with_pixels=False, keywords=["SeriesInstanceUID"]) for p in both]
    except FormatError:
        return None
    uids = {get_text(head, "SeriesInstanceUID") for head in heads}
    return images[0].parent if len(both) == 2 and len(uids) == 1 and uids != {""} else None


def parse_split_and_class(folders: Sequence[str]) -> tuple[str | None, str]:
    """Parse the split and the class from the folders above an image.

    >>> parse_split_and_class(["train", "benign"]), parse_split_and_class(["benign", "patient_3"])
    (('train', 'benign'), (None, 'benign'))
    """
    side, rest = None, []
    for folder in folders[:3]:
        named, left = split_off_split_name(folder) if side is None else (None, folder)
        side = side or (named if not left else None)
        if left:
            rest.append(folder)
    return side, rest[0] if rest else ""


def _build_cohort(
    root: Path, images: Sequence[tuple[Path, str | None, str]], classes: tuple[str, ...], messages: list[str]
) -> Cohort:
    stems = Counter(file_stem(p) for p, _, _ in images)
    unique = max(stems.values()) == 1
    truths = {c: Scores(np.eye(len(classes))[i], classes) for i, c in enumerate(classes)}
    entries, names = [], []
    for path, side, name in images:
        inside = path.relative_to(root).with_name(file_stem(path)).as_posix()
        one = file_stem(path) if unique else inside
        entries.append(Entry(one, {"image": Source(path)}, truths[name], split=side))
        names.append(inside.split(f"{name}/", 1)[-1])
    sides = {side for _, side, _ in images}
    if len(sides) > 1 or None not in sides:
        counts = Counter(side or "no side" for _, side, _ in images)
        messages.append(
            f"The split is that of the folders: {', '.join(f'{n} {s}' for s, n in sorted(counts.items()))}."
        )
    absent = [c for c in classes if "train" in sides and not any(n == c and s == "train" for _, s, n in images)]
    if absent:
        messages.append(f"No image of {quote_first(absent)} is there to train on.")
    shapes = [
        s
        for i in evenly_spaced_indices(len(entries), 4)
        if (s := read_image_shape(next(iter(entries[i].images.values()))))
    ]
    cohort = Cohort(
        root, "class_folders", "classification", tuple(entries), classes, dims=infer_dims(shapes or [(2, 2)]),
        messages=tuple(messages), truth="scores",
    )  # fmt: skip
    return finish_cohort(cohort, root, names=names)


class_folders.order = 60  # type: ignore[attr-defined]
THIS = class_folders

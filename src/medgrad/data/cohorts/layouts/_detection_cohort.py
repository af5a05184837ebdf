"""Build a detection cohort from images and the boxes in their annotation files."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np

from ....errors import LayoutError
from ...source import Source
from ...types import UnplacedBoxes
from ..cohort import Cohort, Entry
from ..split_files import describe_split_counts, parse_split_name
from ._files import file_stem, list_images, natural_sort_key, quote_first, split_off_split_name, split_words
from ._layout import Hints, NoMatch
from ._segmentation_cohort import evenly_spaced_indices, finish_cohort, infer_dims, read_image_shape

LabelledBox = tuple[str, tuple[float, ...]]  # its label; its lower corner, then its upper
PairingKey = tuple[str, ...]

FILE_KIND_WORDS = frozenset(
    split_words(
        "images image img imgs jpegimages pngimages labels label annotations annotation annots xml xmls boxes bboxes "
        "txt voc yolo data obj"
    )
)
MASK_FOLDER_WORDS = frozenset(split_words("mask masks segmentation segmentations segmentationclass segmentationobject"))


@dataclass(frozen=True)
class AnnotatedImage:
    """An image and its annotated boxes; ``objects`` is None where nothing is known about it."""

    image: Path
    objects: tuple[LabelledBox, ...] | None
    split_name: str | None = None


def reject_other_tasks(hints: Hints) -> NoMatch | None:
    """Give a NoMatch if another task than detection is requested, else None."""
    asked = hints.rules_out("boxes")
    return NoMatch(0.1, f"boxes do not serve {hints.task}.") if asked else None


def list_images_outside_mask_folders(folder: Path) -> list[Path]:
    """List the images below a folder, without those in mask folders."""
    return [
        p
        for p in list_images(folder)
        if not MASK_FOLDER_WORDS & {w for f in p.relative_to(folder).parts[:-1] for w in split_words(f)}
    ]


def image_stem(path: Path) -> str:
    """Give the name of an image without its suffix; a folder that is one series keeps its whole name."""
    return path.name if path.is_dir() else file_stem(path)


def pairing_key(path: Path, root: Path) -> PairingKey:
    """Give the key that pairs an image with its annotations: folders without words such as images, and the stem.

    >>> pairing_key(Path("s/images/train/a.png"), Path("s")) == pairing_key(Path("s/labels/train/a.txt"), Path("s"))
    True
    """
    parts: list[str] = []
    for folder in path.relative_to(root).parts[:-1]:
        side, rest = split_off_split_name(folder)
        parts += [w for w in (side or "", *([rest] if rest.lower() not in FILE_KIND_WORDS else [])) if w]
    return (*parts, file_stem(path))


def split_from_folders(path: Path, root: Path) -> str | None:
    """Give the split that the folders above a file name, also as ``train2017``."""
    for folder in path.relative_to(root).parts[:-1]:
        side = split_off_split_name(folder)[0] or parse_split_name(re.sub(r"\d+$", "", folder))
        if side:
            return side
    return None


def pair_images_with_files(images: Sequence[Path], files: Sequence[Path], root: Path) -> dict[Path, Path]:
    """Pair images with annotation files: by folders and stem, else by the stem alone where it is unique."""
    by_key = {pairing_key(f, root): f for f in files}
    stems = Counter(file_stem(f) for f in files)
    by_stem = {file_stem(f): f for f in files if stems[file_stem(f)] == 1}
    twice = {s for s, n in Counter(file_stem(i) for i in images).items() if n > 1}
    pairs = {}
    for image in images:
        file = by_key.get(pairing_key(image, root)) or (
            by_stem.get(file_stem(image)) if file_stem(image) not in twice else None
        )
        if file:
            pairs[image] = file
    return pairs


def build_detection_cohort(
    root: Path,
    annotated_images: Sequence[AnnotatedImage],
    *,
    layout: str,
    labels: Iterable[str],
    messages: Sequence[str] = (),
    space: Literal["elements", "shares", "world"] = "elements",
    dims: int = 2,
) -> Cohort | NoMatch:
    """Build the detection cohort of annotated images; labels are in natural sort order."""
    names = tuple(sorted(set(labels), key=natural_sort_key))
    if not annotated_images or not names:
        return NoMatch(0.4, "no object is drawn on any image in it.")
    below = root if root.is_dir() else root.parent
    shapes = [
        s
        for i in evenly_spaced_indices(len(annotated_images), 4)
        if (s := read_image_shape(Source(annotated_images[i].image)))
    ]
    if infer_dims(shapes or [(2,) * dims]) != dims:
        return NoMatch(0.5, f"its boxes have {dims} axes, but its images have not.")
    stems = Counter(image_stem(s.image) for s in annotated_images)
    entries = tuple(make_entry(s, stems, below, names, space, dims) for s in annotated_images)
    all_messages = list(messages)
    unknown = [e.id for e in entries if e.truth is None]
    if unknown:
        all_messages.append(
            f"Nothing is known of {len(unknown)} image(s), which stand on no side: {quote_first(unknown)}."
        )
    all_messages.append(describe_object_counts(annotated_images, names))
    sides = {s.split_name for s in annotated_images if s.objects is not None}
    if sides - {None}:
        all_messages.append(
            "The split is that of the files and folders: "
            f"{describe_split_counts(s.split_name for s in annotated_images)}."
        )
    cohort = Cohort(root, layout, "detection", entries, names, dims=dims, messages=tuple(all_messages), truth="boxes")
    inside = [s.image.relative_to(below).with_name(image_stem(s.image)).as_posix() for s in annotated_images]
    return finish_cohort(
        cohort, root, names=[e.id for e in entries] if len(set(stems)) == len(annotated_images) else inside
    )


def make_entry(
    annotated_image: AnnotatedImage,
    stem_counts: Mapping[str, int],
    root: Path,
    label_names: tuple[str, ...],
    space: Literal["elements", "shares", "world"],
    dims: int,
) -> Entry:
    """Give the entry of one image."""
    stem = image_stem(annotated_image.image)
    case_id = stem if stem_counts[stem] == 1 else annotated_image.image.relative_to(root).with_name(stem).as_posix()
    if annotated_image.objects is None:
        return Entry(case_id, {"image": Source(annotated_image.image)})
    corners = np.array([c for _, c in annotated_image.objects], float).reshape(-1, 2 * dims)
    kinds = np.array([label_names.index(label) for label, _ in annotated_image.objects], np.int64)
    present = tuple(n for n in label_names if any(n == label for label, _ in annotated_image.objects))
    return Entry(
        case_id,
        {"image": Source(annotated_image.image)},
        UnplacedBoxes(corners, kinds, space, dict(enumerate(label_names))),
        split=annotated_image.split_name,
        metadata={"labels": present, "foreground": len(kinds)},
    )


def describe_object_counts(annotated_images: Sequence[AnnotatedImage], label_names: Sequence[str]) -> str:
    """Describe how many objects each label has, and how many images have none."""
    counts = Counter(label for s in annotated_images for label, _ in s.objects or ())
    none = sum(s.objects == () for s in annotated_images)
    listed = ", ".join(f"{n} ({counts[n]})" for n in label_names[:12]) + (", ..." if len(label_names) > 12 else "")
    return f"Objects are drawn as boxes: {listed}" + (f"; {none} image(s) have none." if none else ".")


def assign_file_splits(box_files: Mapping[Path, object], folder: Path) -> dict[Path, str | None]:
    """Give the split of each of several annotation files by its name or folder.

    Raise if their splits are not distinct.
    """
    base = folder if folder.is_dir() else folder.parent
    sides = {path: split_from_file_name(path, base) for path in box_files}
    if len(box_files) > 1 and (None in sides.values() or len(set(sides.values())) < len(box_files)):
        raise LayoutError(
            f"{str(folder)!r} has several lists of boxes: {quote_first(p.name for p in box_files)}. Name one file."
        )
    return sides


def split_from_file_name(path: Path, root: Path) -> str | None:
    """Give the split that a file's name or the folders above it name.

    >>> split_from_file_name(Path("s/annotations/instances_val2017.json"), Path("s"))
    'val'
    """
    words = [re.sub(r"\d+$", "", w) for w in re.split(r"[^A-Za-z0-9]+", path.stem)]
    return next((side for w in words if (side := parse_split_name(w))), None) or split_from_folders(path, root)


def merge_split_cohorts(cohorts: Mapping[Path, Cohort], folder: Path) -> Cohort:
    """Merge the cohorts of the splits into one cohort with all labels."""
    parts = list(cohorts.values())
    if len(parts) == 1:
        return parts[0]
    names = tuple(sorted({n for c in parts for n in c.labels}, key=natural_sort_key))
    entries = tuple(replace(e, truth=reindex_box_labels(e.truth, names)) for c in parts for e in c.entries)
    twice = [i for i, n in Counter(e.id for e in entries).items() if n > 1]
    if twice:
        raise LayoutError(f"{str(folder)!r} lists {twice[0]!r} on two sides of its split. Leave it in one list.")
    messages = tuple(dict.fromkeys(t for c in parts for t in c.messages))
    return replace(parts[0], root=folder, entries=entries, labels=names, messages=messages)


def reindex_box_labels(truth: object, label_names: tuple[str, ...]) -> UnplacedBoxes | None:
    """Renumber the labels of boxes to their index in other names."""
    if not isinstance(truth, UnplacedBoxes):
        return None
    labels = np.array([label_names.index(truth.names[int(v)]) for v in truth.labels], np.int64)
    return replace(truth, labels=labels, names=dict(enumerate(label_names)))

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
from ..split_files import counted, side_of
from ._assemble import dims_of, finished, image_shape, spread
from ._files import images_in, natural, side_and_rest, some, stem_of, words_of
from ._layout import Hints, NoMatch

Object = tuple[str, tuple[float, ...]]  # its label; its lower corner, then its upper
Key = tuple[str, ...]

OF_A_KIND = frozenset(
    words_of(
        "images image img imgs jpegimages pngimages labels label annotations annotation annots xml xmls boxes bboxes "
        "txt voc yolo data obj"
    )
)
OF_MASKS = frozenset(words_of("mask masks segmentation segmentations segmentationclass segmentationobject"))


@dataclass(frozen=True)
class AnnotatedImage:
    """An image and its annotated boxes; ``objects`` is None where nothing is known about it."""

    image: Path
    objects: tuple[Object, ...] | None
    side: str | None = None


def not_asked(hints: Hints) -> NoMatch | None:
    """Give a NoMatch if another task than detection is requested, else None."""
    asked = hints.task not in (None, "detection")
    return NoMatch(0.1, f"boxes do not serve {hints.task}.") if asked else None


def pictures_in(folder: Path) -> list[Path]:
    """List the images below a folder, without those in mask folders."""
    return [
        p
        for p in images_in(folder)
        if not OF_MASKS & {w for f in p.relative_to(folder).parts[:-1] for w in words_of(f)}
    ]


def name_of(path: Path) -> str:
    """Give the name of an image without its suffix; a folder that is one series keeps its whole name."""
    return path.name if path.is_dir() else stem_of(path)


def key_of(path: Path, root: Path) -> Key:
    """Give the key that pairs an image with its annotations: folders without words such as images, and the stem.

    >>> key_of(Path("s/images/train/a.png"), Path("s")) == key_of(Path("s/labels/train/a.txt"), Path("s"))
    True
    """
    parts: list[str] = []
    for folder in path.relative_to(root).parts[:-1]:
        side, rest = side_and_rest(folder)
        parts += [w for w in (side or "", *([rest] if rest.lower() not in OF_A_KIND else [])) if w]
    return (*parts, stem_of(path))


def side_in(path: Path, root: Path) -> str | None:
    """Give the split that the folders above a file name, also as ``train2017``."""
    for folder in path.relative_to(root).parts[:-1]:
        side = side_and_rest(folder)[0] or side_of(re.sub(r"\d+$", "", folder))
        if side:
            return side
    return None


def paired_up(images: Sequence[Path], files: Sequence[Path], root: Path) -> dict[Path, Path]:
    """Pair images with annotation files: by folders and stem, else by the stem alone where it is unique."""
    by_key = {key_of(f, root): f for f in files}
    stems = Counter(stem_of(f) for f in files)
    by_stem = {stem_of(f): f for f in files if stems[stem_of(f)] == 1}
    twice = {s for s, n in Counter(stem_of(i) for i in images).items() if n > 1}
    found = {}
    for image in images:
        file = by_key.get(key_of(image, root)) or (by_stem.get(stem_of(image)) if stem_of(image) not in twice else None)
        if file:
            found[image] = file
    return found


def drawn_cohort(
    root: Path,
    sheets: Sequence[AnnotatedImage],
    *,
    layout: str,
    labels: Iterable[str],
    told: Sequence[str] = (),
    space: Literal["elements", "shares", "world"] = "elements",
    dims: int = 2,
) -> Cohort | NoMatch:
    """Build the detection cohort of annotated images; labels are in natural sort order."""
    names = tuple(sorted(set(labels), key=natural))
    if not sheets or not names:
        return NoMatch(0.4, "no object is drawn on any image in it.")
    below = root if root.is_dir() else root.parent
    shapes = [s for i in spread(len(sheets), 4) if (s := image_shape(Source(sheets[i].image)))]
    if dims_of(shapes or [(2,) * dims]) != dims:
        return NoMatch(0.5, f"its boxes have {dims} axes, but its images have not.")
    stems = Counter(name_of(s.image) for s in sheets)
    entries = tuple(entry_of(s, stems, below, names, space, dims) for s in sheets)
    said = list(told)
    unknown = [e.id for e in entries if e.truth is None]
    if unknown:
        said.append(f"Nothing is known of {len(unknown)} image(s), which stand on no side: {some(unknown)}.")
    said.append(totals(sheets, names))
    sides = {s.side for s in sheets if s.objects is not None}
    if sides - {None}:
        said.append(f"The split is that of the files and folders: {counted(s.side for s in sheets)}.")
    cohort = Cohort(root, layout, "detection", entries, names, dims=dims, told=tuple(said))
    inside = [s.image.relative_to(below).with_name(name_of(s.image)).as_posix() for s in sheets]
    return finished(cohort, root, names=[e.id for e in entries] if len(set(stems)) == len(sheets) else inside)


def entry_of(
    sheet: AnnotatedImage,
    stems: Mapping[str, int],
    root: Path,
    names: tuple[str, ...],
    space: Literal["elements", "shares", "world"],
    dims: int,
) -> Entry:
    """Give the entry of one image."""
    stem = name_of(sheet.image)
    one = stem if stems[stem] == 1 else sheet.image.relative_to(root).with_name(stem).as_posix()
    if sheet.objects is None:
        return Entry(one, {"image": Source(sheet.image)})
    corners = np.array([c for _, c in sheet.objects], float).reshape(-1, 2 * dims)
    kinds = np.array([names.index(label) for label, _ in sheet.objects], np.int64)
    held = tuple(n for n in names if any(n == label for label, _ in sheet.objects))
    return Entry(
        one,
        {"image": Source(sheet.image)},
        UnplacedBoxes(corners, kinds, space, dict(enumerate(names))),
        split=sheet.side,
        notes={"labels": held, "foreground": len(kinds)},
    )


def totals(sheets: Sequence[AnnotatedImage], names: Sequence[str]) -> str:
    """Describe how many objects each label has, and how many images have none."""
    counts = Counter(label for s in sheets for label, _ in s.objects or ())
    none = sum(s.objects == () for s in sheets)
    listed = ", ".join(f"{n} ({counts[n]})" for n in names[:12]) + (", ..." if len(names) > 12 else "")
    return f"Objects are drawn as boxes: {listed}" + (f"; {none} image(s) have none." if none else ".")


def one_of(places: Mapping[Path, object], folder: Path) -> dict[Path, str | None]:
    """Give the split of each of several annotation files by its name or folder.

    Raise if their splits are not distinct.
    """
    base = folder if folder.is_dir() else folder.parent
    sides = {path: side_of_file(path, base) for path in places}
    if len(places) > 1 and (None in sides.values() or len(set(sides.values())) < len(places)):
        raise LayoutError(f"{str(folder)!r} has several lists of boxes: {some(p.name for p in places)}. Name one file.")
    return sides


def side_of_file(path: Path, root: Path) -> str | None:
    """Give the split that a file's name or the folders above it name.

    >>> side_of_file(Path("s/annotations/instances_val2017.json"), Path("s"))
    'val'
    """
    words = [re.sub(r"\d+$", "", w) for w in re.split(r"[^A-Za-z0-9]+", path.stem)]
    return next((side for w in words if (side := side_of(w))), None) or side_in(path, root)


def joined_lists(cohorts: Mapping[Path, Cohort], folder: Path) -> Cohort:
    """Merge the cohorts of the splits into one cohort with all labels."""
    every = list(cohorts.values())
    if len(every) == 1:
        return every[0]
    names = tuple(sorted({n for c in every for n in c.labels}, key=natural))
    entries = tuple(replace(e, truth=renamed(e.truth, names)) for c in every for e in c.entries)
    twice = [i for i, n in Counter(e.id for e in entries).items() if n > 1]
    if twice:
        raise LayoutError(f"{str(folder)!r} lists {twice[0]!r} on two sides of its split. Leave it in one list.")
    told = tuple(dict.fromkeys(t for c in every for t in c.told))
    return replace(every[0], root=folder, entries=entries, labels=names, told=told)


def renamed(truth: object, names: tuple[str, ...]) -> UnplacedBoxes | None:
    """Renumber the labels of boxes to their index in other names."""
    if not isinstance(truth, UnplacedBoxes):
        return None
    labels = np.array([names.index(truth.names[int(v)]) for v in truth.labels], np.int64)
    return replace(truth, labels=labels, names=dict(enumerate(names)))

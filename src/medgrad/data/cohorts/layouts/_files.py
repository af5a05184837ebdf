"""List the data files of a set, and parse words, splits and modalities from their names."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path

from .... import registry
from ....errors import LayoutError
from ...formats import suffix_of
from ..split_files import side_of

MOST_FILES = 500_000
NOT_DATA = ("thumbs.db", "desktop.ini", "readme", "license", "licence", "changelog", "citation", "notice")
NOT_FOLDERS = ("__macosx", "__pycache__", "lost+found", "@eadir")


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


MASK_WORDS = _words(
    "mask masks seg segs segm segmentation segmentations segmented label labels labelstr labelsts gt gts groundtruth "
    "truth truths annotation annotations annot contour contours manual delineation roi rois lesion lesions"
)
REGION_WORDS = _words("fov roi rois region regions field valid brainmask bodymask body within border")
IMAGE_WORDS = _words(
    "image images imagestr imagests img imgs im scan scans volume volumes vol vols data raw orig original input inputs "
    "picture pictures photo photos ct mr mri pet us slice slices"
)
MR_WORDS = _words("mr mri t1 t1w t1ce t1c t1gd t1n t2 t2w t2f t2star flair dwi adc swi pd pdw dti bold mra dce cine")

MODALITY_WORDS = {
    **dict.fromkeys(("ct", "cbct", "cta", "ldct", "hu"), "ct"),
    **dict.fromkeys(MR_WORDS, "mr"),
    **dict.fromkeys(("pet", "pt", "suv", "fdg"), "pet"),
    **dict.fromkeys(("us", "ultrasound", "sonography", "echo"), "us"),
    **dict.fromkeys(("xray", "cr", "dx", "mg", "mammography", "radiograph", "cxr"), "xray"),
    **dict.fromkeys(("fundus", "dermoscopy", "endoscopy", "photo", "photograph"), "photo"),
    **dict.fromkeys(("microscopy", "histology", "pathology", "fluorescence", "wsi"), "microscopy"),
}


@cache
def image_suffixes() -> frozenset[str]:
    """List every file suffix that some format reads."""
    forms = [registry.find("data.formats", name) for name in registry.names("data.formats")]
    return frozenset(s for f in forms for s in f.suffixes if f.read is not None or f.read_labels is not None)


def is_data(path: Path) -> bool:
    """Tell whether a file may hold data by its name: not hidden, no readme, no file of an operating system."""
    name = path.name.lower()
    return not name.startswith((".", "~")) and name.split(".")[0] not in NOT_DATA and name not in NOT_DATA


def files_in(folder: Path) -> list[Path]:
    """List the data files below a folder, in natural sort order."""
    if folder.is_file():
        return [folder]
    found: list[Path] = []
    been: set[tuple[int, int]] = set()
    for root, folders, names in os.walk(folder, followlinks=True):
        about = Path(root).stat()
        if (about.st_dev, about.st_ino) in been:  # a link that leads back
            folders.clear()
            continue
        been.add((about.st_dev, about.st_ino))
        folders[:] = [f for f in folders if not f.startswith(".") and f.lower() not in NOT_FOLDERS]
        found += [p for n in names if is_data(p := Path(root, n))]
        if len(found) > MOST_FILES:
            raise LayoutError(f"{str(folder)!r} holds more than {MOST_FILES} files. Name a smaller folder.")
    return sorted(found, key=natural)


def images_in(folder: Path) -> list[Path]:
    """List the files below a folder that some format reads, by their suffix."""
    return [p for p in files_in(folder) if suffix_of(p) in image_suffixes()]


def natural(path: Path | str) -> tuple[tuple[int, int, str], ...]:
    """Give the natural sort key of a name: 2 comes before 10.

    >>> sorted(["p10", "p9"], key=natural)
    ['p9', 'p10']
    """
    return tuple((0, int(p), "") if p.isdecimal() else (1, 0, p) for p in re.split(r"(\d+)", str(path)) if p)


def stem_of(path: Path) -> str:
    """Give a file's name without its suffix; ``.nii.gz`` is one suffix."""
    return path.name[: len(path.name) - len(suffix_of(path))]


def words_of(name: str) -> list[str]:
    """Split a name into its words, in lower case: at separators, not between letters and digits.

    >>> words_of("BraTS20-001_t1ce")
    ['brats20', '001', 't1ce']
    """
    return [w for w in re.split(r"[^a-z0-9]+", name.lower()) if w]


def runs_of(name: str) -> list[str]:
    """Split a name into runs of letters and runs of digits, in lower case.

    >>> runs_of("Img12_mask")
    ['img', '12', 'mask']
    """
    return re.findall(r"[^\W\d_]+|\d+", name.lower())


def side_and_rest(folder: str) -> tuple[str | None, str]:
    """Split a folder's name into the split that it names and the rest.

    >>> side_and_rest("train_images"), side_and_rest("val"), side_and_rest("labels")
    (('train', 'images'), ('val', ''), (None, 'labels'))
    """
    words = re.split(r"[\s_\-]+", folder)
    for place in (0, -1):
        side = side_of(words[place])
        if side:
            rest = words[1:] if place == 0 else words[:-1]
            return side, "_".join(rest)
    return None, folder


def modality_of(name: str) -> str | None:
    """Parse the modality from the name of a channel or folder, or give None.

    >>> modality_of("FLAIR"), modality_of("image")
    ('mr', None)
    """
    return next((MODALITY_WORDS[w] for w in words_of(name) if w in MODALITY_WORDS), None)


def some(names: Iterable[str], most: int = 3) -> str:
    """Quote the first few names, and count the rest.

    >>> some(["a", "b", "c", "d"])
    "'a', 'b', 'c' and 1 more"
    """
    every = list(names)
    return ", ".join(repr(n) for n in every[:most]) + (f" and {len(every) - most} more" if len(every) > most else "")


def shared_ends(rows: Sequence[Sequence[str]]) -> tuple[int, int]:
    """Count the leading and the trailing words that all names share, leaving at least one word in each.

    >>> shared_ends([["case", "1", "t1"], ["case", "2", "t1"]])
    (1, 1)
    """
    if len(rows) < 2:
        return 0, 0
    shortest = min(len(r) for r in rows)
    front = 0
    while front < shortest - 1 and len({r[front] for r in rows}) == 1:
        front += 1
    back = 0
    while back < shortest - 1 - front and len({r[-1 - back] for r in rows}) == 1:
        back += 1
    return front, back

"""List the data files of a set, and parse words, splits and modalities from their names."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path

from .... import registry
from ....errors import LayoutError
from ...formats import file_suffix
from ..split_files import parse_split_name

MAX_FILES = 500_000
NOT_DATA_NAMES = ("thumbs.db", "desktop.ini", "readme", "license", "licence", "changelog", "citation", "notice")
IGNORED_FOLDERS = ("__macosx", "__pycache__", "lost+found", "@eadir")


def _word_set(text: str) -> frozenset[str]:
    return frozenset(text.split())


MASK_WORDS = _word_set(
    "mask masks seg segs segm segmentation segmentations segmented label labels labelstr labelsts gt gts groundtruth "
    "truth truths annotation annotations annot contour contours manual delineation roi rois lesion lesions"
)
REGION_WORDS = _word_set("fov roi rois region regions field valid brainmask bodymask body within border")
IMAGE_WORDS = _word_set(
    "image images imagestr imagests img imgs im scan scans volume volumes vol vols data raw orig original input inputs "
    "picture pictures photo photos ct mr mri pet us slice slices"
)
MR_WORDS = _word_set("mr mri t1 t1w t1ce t1c t1gd t1n t2 t2w t2f t2star flair dwi adc swi pd pdw dti bold mra dce cine")

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
def readable_suffixes() -> frozenset[str]:
    """List every file suffix that some format reads."""
    forms = [registry.find("data.formats", name) for name in registry.names("data.formats")]
    return frozenset(s for f in forms for s in f.suffixes if f.read is not None or f.read_labels is not None)


def is_data_file(path: Path) -> bool:
    """Tell whether a file may hold data by its name: not hidden, no readme, no file of an operating system."""
    name = path.name.lower()
    return not name.startswith((".", "~")) and name.split(".")[0] not in NOT_DATA_NAMES and name not in NOT_DATA_NAMES


def list_files(folder: Path) -> list[Path]:
    """List the data files below a folder, in natural sort order."""
    if folder.is_file():
        return [folder]
    found: list[Path] = []
    visited: set[tuple[int, int]] = set()
    for root, folders, names in os.walk(folder, followlinks=True):
        stat = Path(root).stat()
        if (stat.st_dev, stat.st_ino) in visited:  # a link that leads back
            folders.clear()
            continue
        visited.add((stat.st_dev, stat.st_ino))
        folders[:] = [f for f in folders if not f.startswith(".") and f.lower() not in IGNORED_FOLDERS]
        found += [p for n in names if is_data_file(p := Path(root, n))]
        if len(found) > MAX_FILES:
            raise LayoutError(f"{str(folder)!r} holds more than {MAX_FILES} files. Name a smaller folder.")
    return sorted(found, key=natural_sort_key)


def list_images(folder: Path) -> list[Path]:
    """List the files below a folder that some format reads, by their suffix."""
    return [p for p in list_files(folder) if file_suffix(p) in readable_suffixes()]


def natural_sort_key(path: Path | str) -> tuple[tuple[int, int, str], ...]:
    """Give the natural sort key of a name: 2 comes before 10.

    >>> sorted(["p10", "p9"], key=natural_sort_key)
    ['p9', 'p10']
    """
    return tuple((0, int(p), "") if p.isdecimal() else (1, 0, p) for p in re.split(r"(\d+)", str(path)) if p)


def file_stem(path: Path) -> str:
    """Give a file's name without its suffix; ``.nii.gz`` is one suffix."""
    return path.name[: len(path.name) - len(file_suffix(path))]


def split_words(name: str) -> list[str]:
    """Split a name into its words, in lower case: at separators, not between letters and digits.

    >>> split_words("BraTS20-001_t1ce")
    ['brats20', '001', 't1ce']
    """
    return [w for w in re.split(r"[^a-z0-9]+", name.lower()) if w]


def split_letters_and_digits(name: str) -> list[str]:
    """Split a name into runs of letters and runs of digits, in lower case.

    >>> split_letters_and_digits("Img12_mask")
    ['img', '12', 'mask']
    """
    return re.findall(r"[^\W\d_]+|\d+", name.lower())


def split_off_split_name(folder: str) -> tuple[str | None, str]:
    """Split a folder's name into the split that it names and the rest.

    >>> split_off_split_name("train_images"), split_off_split_name("val"), split_off_split_name("labels")
    (('train', 'images'), ('val', ''), (None, 'labels'))
    """
    words = re.split(r"[\s_\-]+", folder)
    for place in (0, -1):
        side = parse_split_name(words[place])
        if side:
            rest = words[1:] if place == 0 else words[:-1]
            return side, "_".join(rest)
    return None, folder


def parse_modality(name: str) -> str | None:
    """Parse the modality from the name of a channel or folder, or give None.

    >>> parse_modality("FLAIR"), parse_modality("image")
    ('mr', None)
    """
    return next((MODALITY_WORDS[w] for w in split_words(name) if w in MODALITY_WORDS), None)


def quote_first(names: Iterable[str], max_names: int = 3) -> str:
    """Quote the first few names, and count the rest.

    >>> quote_first(["a", "b", "c", "d"])
    "'a', 'b', 'c' and 1 more"
    """
    every = list(names)
    return ", ".join(repr(n) for n in every[:max_names]) + (
        f" and {len(every) - max_names} more" if len(every) > max_names else ""
    )


def count_shared_ends(word_lists: Sequence[Sequence[str]]) -> tuple[int, int]:
    """Count the leading and the trailing words that all names share, leaving at least one word in each.

    >>> count_shared_ends([["case", "1", "t1"], ["case", "2", "t1"]])
    (1, 1)
    """
    if len(word_lists) < 2:
        return 0, 0
    shortest = min(len(r) for r in word_lists)
    front = 0
    while front < shortest - 1 and len({r[front] for r in word_lists}) == 1:
        front += 1
    back = 0
    while back < shortest - 1 - front and len({r[-1 - back] for r in word_lists}) == 1:
        back += 1
    return front, back

"""Pascal VOC: an XML file for each image, with a name and a box for each object in it."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from pathlib import Path

from ....errors import LayoutError
from ..cohort import Cohort
from ..split_files import apply_found_split
from ._detection_cohort import (
    AnnotatedImage,
    LabelledBox,
    build_detection_cohort,
    list_images_outside_mask_folders,
    pair_images_with_files,
    reject_other_tasks,
    split_from_folders,
)
from ._files import list_files, quote_first
from ._layout import Hints, NoMatch
from ._segmentation_cohort import evenly_spaced_indices

MAX_BYTES = 16_000_000
CORNER_TAGS = ("ymin", "xmin", "ymax", "xmax")


def voc(folder: Path, hints: Hints) -> Cohort | NoMatch:
    """Recognise images with a Pascal VOC XML file for each, beside them or in a folder of their own.

    VOC counts pixels from 1, the last one included: a box from 1 to 640 is as wide as an image of 640 columns.
    Where first and last are equal, the box is taken as empty, not as one pixel.
    """
    if miss := reject_other_tasks(hints):
        return miss
    if folder.is_file():
        return NoMatch(0.0, "it is a file.")
    files = [p for p in list_files(folder) if p.suffix.lower() == ".xml"]
    if not files:
        return NoMatch(0.0, "it has no XML files that draw boxes.")
    if not any(is_voc_file(files[i]) for i in evenly_spaced_indices(len(files), 8)):
        close = 0.4 if pair_images_with_files(list_images_outside_mask_folders(folder), files, folder) else 0.1
        return NoMatch(close, "its XML files do not draw boxes as Pascal VOC does. Write each object with a bndbox.")
    images = list_images_outside_mask_folders(folder)
    found = pair_images_with_files(images, files, folder)
    if not found:
        return NoMatch(
            0.4, f"its XML files, such as {files[0].name!r}, go with no image by their names. Give both the same."
        )
    messages = []
    without_image = sorted(set(files) - set(found.values()))
    if without_image:
        messages.append(
            f"{len(without_image)} XML file(s) go with no image: {quote_first(p.name for p in without_image)}."
        )
    sheets = [
        AnnotatedImage(i, read_objects(found[i]) if i in found else None, split_from_folders(i, folder)) for i in images
    ]
    labels = {label for s in sheets for label, _ in s.objects or ()}
    cohort = build_detection_cohort(folder, sheets, layout="voc", labels=labels, messages=messages)
    lists = folder / "ImageSets" / "Main"
    return apply_found_split(cohort, lists) if isinstance(cohort, Cohort) and lists.is_dir() else cohort


def is_voc_file(path: Path) -> bool:
    """Tell whether a file is an annotation as Pascal VOC writes it."""
    try:
        root = parse_xml(path)
    except LayoutError:
        return False
    return root.tag == "annotation" and (root.find("object/bndbox") is not None or root.find("size") is not None)


def parse_xml(path: Path) -> ElementTree.Element:
    """Parse an XML file, or raise a LayoutError that names it."""
    if path.stat().st_size > MAX_BYTES:
        raise LayoutError(f"{str(path)!r} is larger than {MAX_BYTES // 1_000_000} MB, too large for boxes.")
    try:
        return ElementTree.fromstring(path.read_bytes())
    except (ElementTree.ParseError, ValueError) as reason:
        raise LayoutError(f"{str(path)!r} is not XML: {str(reason)[:80]}. Correct the file.") from None


def read_objects(path: Path) -> tuple[LabelledBox, ...]:
    """Give the label and the box of each object, (y0, x0, y1, x1) from edge to edge."""
    found = []
    for one in parse_xml(path).iter("object"):
        label, box = (one.findtext("name") or "").strip(), one.find("bndbox")
        try:
            y0, x0, y1, x1 = (float((box.findtext(end) or "") if box is not None else "") for end in CORNER_TAGS)
        except ValueError:
            raise LayoutError(
                f"{str(path)!r} has an object without {', '.join(CORNER_TAGS)} as numbers. Correct the file."
            ) from None
        if not label:
            raise LayoutError(f"{str(path)!r} has an object without a name. Correct the file.")
        found.append((label, (y0 - 1, x0 - 1, y1 - (y1 <= y0), x1 - (x1 <= x0))))
    return tuple(found)


voc.order = 31  # type: ignore[attr-defined]
THIS = voc

"""COCO: a JSON file that lists images, the categories of objects, and a box for each object."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ....errors import LayoutError
from ..cohort import Cohort
from ._detection_cohort import (
    AnnotatedImage,
    LabelledBox,
    assign_file_splits,
    build_detection_cohort,
    list_images_outside_mask_folders,
    merge_split_cohorts,
    reject_other_tasks,
    split_from_folders,
)
from ._files import list_files, quote_first
from ._layout import Hints, NoMatch

MAX_BYTES = 1_000_000_000
MAX_FILES = 50
REQUIRED_KEYS = ("images", "annotations", "categories")


def coco(folder: Path, hints: Hints) -> Cohort | NoMatch:
    """Recognise images with COCO's JSON beside or above them, one file for all or one for each side of a split.

    A box is x, y, width and height in pixels, from edge to edge; an image that is listed without any has none.
    """
    if miss := reject_other_tasks(hints):
        return miss
    root = folder.parent if folder.is_file() else folder
    files = [folder] if folder.is_file() else list_files(folder)
    files = [p for p in files if p.suffix.lower() == ".json"]
    if not files:
        return NoMatch(0.0, "it has no JSON file that draws boxes.")
    if len(files) > MAX_FILES:
        return NoMatch(0.1, f"it has {len(files)} JSON files, too many to be lists of boxes.")
    lists = {p: content for p in files if (content := read_coco_json(p)) is not None}
    if not lists:
        return NoMatch(0.2, "its JSON files do not list images, annotations and categories.")
    sides, images = assign_file_splits(lists, folder), list_images_outside_mask_folders(root)
    found = {p: build_coco_cohort(p, content, root, images, sides[p]) for p, content in lists.items()}
    good = {p: c for p, c in found.items() if isinstance(c, Cohort)}
    return merge_split_cohorts(good, folder) if good else next(iter(found.values()))


def read_coco_json(path: Path) -> dict[str, Any] | None:
    """Read a JSON file if it is a COCO annotation file, else give None."""
    if path.stat().st_size > MAX_BYTES:
        return None
    text = path.read_bytes()
    if not all(f'"{key}"'.encode() in text for key in REQUIRED_KEYS) or b'"bbox"' not in text:
        return None
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as reason:
        raise LayoutError(f"{str(path)!r} is not JSON: {str(reason)[:80]}. Correct the file.") from None
    is_list = isinstance(content, dict) and all(isinstance(content.get(key), list) for key in REQUIRED_KEYS)
    return content if is_list else None


def build_coco_cohort(
    path: Path, content: Mapping[str, Any], root: Path, images: list[Path], split_name: str | None
) -> Cohort | NoMatch:
    """Build the cohort of one COCO annotation file."""
    try:
        names = {one["id"]: str(one["name"]) for one in content["categories"]}
        files = {one["id"]: str(one["file_name"]) for one in content["images"]}
        drawn, messages = objects_by_image(content, names, path)
        unlisted = sorted(str(i) for i in set(drawn) - set(files))
    except (KeyError, TypeError, ValueError, AttributeError) as reason:
        raise LayoutError(f"{str(path)!r} is not as COCO writes it: {reason!r} is wrong. Correct the file.") from None
    if unlisted:
        raise LayoutError(
            f"{str(path)!r} draws on images that it does not list: {quote_first(unlisted)}. Correct the file."
        )
    finder = ImageFinder(images, root)
    places = {one: finder.find(name, list_folder=path.parent, split_name=split_name) for one, name in files.items()}
    absent = [files[one] for one, place in places.items() if place is None]
    if absent:
        messages.append(f"{len(absent)} image(s) of {path.name} are not here: {quote_first(absent)}.")
    sheets = [
        AnnotatedImage(place, tuple(drawn.get(one, ())), split_name or split_from_folders(place, root))
        for one, place in places.items()
        if place
    ]
    if not sheets:
        return NoMatch(
            0.5,
            f"no image that {path.name} lists is here, such as {quote_first(absent[:1])}. Put the images beside it.",
        )
    parents = {one.get("supercategory") for one in content["categories"]}
    used = {label for objects in drawn.values() for label, _ in objects}
    labels = [n for n in names.values() if n in used or n not in parents]  # a name for several others is no class
    return build_detection_cohort(root, sheets, layout="coco", labels=labels, messages=messages)


def objects_by_image(
    content: Mapping[str, Any], category_names: Mapping[Any, str], path: Path
) -> tuple[dict[Any, list[LabelledBox]], list[str]]:
    """Give the label and box (y0, x0, y1, x1) of each object by image id, without crowds.

    Also gives messages on what was skipped.
    """
    found: dict[Any, list[LabelledBox]] = {}
    crowds = boxless = 0
    for one in content["annotations"]:
        if one.get("iscrowd"):
            crowds += 1
        elif not one.get("bbox"):
            boxless += 1
        else:
            x, y, width, height = (float(v) for v in one["bbox"])
            found.setdefault(one["image_id"], []).append(
                (category_names[one["category_id"]], (y, x, y + height, x + width))
            )
    messages = [f"{crowds} box(es) of {path.name} around crowds are left out."] if crowds else []
    return found, messages + ([f"{boxless} object(s) of {path.name} have no box."] if boxless else [])


class ImageFinder:
    """Finds an image by name: beside the list, else the only path that ends so, else the one in the same split."""

    def __init__(self, images: list[Path], root: Path) -> None:
        self.root, self.all_images = root, set(images)
        self.by_name: dict[str, list[Path]] = {}
        for path in images:
            self.by_name.setdefault(path.name, []).append(path)

    def find(self, name: str, *, list_folder: Path, split_name: str | None) -> Path | None:
        """Give the image, or None if there is none, or several that may be meant."""
        name = name.replace("\\", "/").lstrip("/")
        if ".." in name.split("/"):
            return None
        for place in (list_folder / name, self.root / name):
            if place in self.all_images:
                return place
        every = self.by_name.get(name.rsplit("/", 1)[-1], [])
        fits = [p for p in every if p.as_posix().endswith("/" + name)] or every
        if len(fits) > 1:
            fits = [p for p in fits if split_from_folders(p, self.root) == split_name]
        return fits[0] if len(fits) == 1 else None


coco.order = 30  # type: ignore[attr-defined]
THIS = coco

"""COCO: a JSON file that lists images, the categories of objects, and a box for each object."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ....errors import LayoutError
from ..cohort import Cohort
from ._boxes import AnnotatedImage, Object, drawn_cohort, joined_lists, not_asked, one_of, pictures_in, side_in
from ._files import files_in, some
from ._layout import Hints, NoMatch

MOST_BYTES = 1_000_000_000
MOST_FILES = 50
KEYS = ("images", "annotations", "categories")


def coco(folder: Path, hints: Hints) -> Cohort | NoMatch:
    """Recognise images with COCO's JSON beside or above them, one file for all or one for each side of a split.

    A box is x, y, width and height in pixels, from edge to edge; an image that is listed without any has none.
    """
    if miss := not_asked(hints):
        return miss
    root = folder.parent if folder.is_file() else folder
    files = [folder] if folder.is_file() else files_in(folder)
    files = [p for p in files if p.suffix.lower() == ".json"]
    if not files:
        return NoMatch(0.0, "it has no JSON file that draws boxes.")
    if len(files) > MOST_FILES:
        return NoMatch(0.1, f"it has {len(files)} JSON files, too many to be lists of boxes.")
    lists = {p: content for p in files if (content := list_in(p)) is not None}
    if not lists:
        return NoMatch(0.2, "its JSON files do not list images, annotations and categories.")
    sides, images = one_of(lists, folder), pictures_in(root)
    found = {p: read_list(p, content, root, images, sides[p]) for p, content in lists.items()}
    good = {p: c for p, c in found.items() if isinstance(c, Cohort)}
    return joined_lists(good, folder) if good else next(iter(found.values()))


def list_in(path: Path) -> dict[str, Any] | None:
    """Read a JSON file if it is a COCO annotation file, else give None."""
    if path.stat().st_size > MOST_BYTES:
        return None
    text = path.read_bytes()
    if not all(f'"{key}"'.encode() in text for key in KEYS) or b'"bbox"' not in text:
        return None
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as reason:
        raise LayoutError(f"{str(path)!r} is not JSON: {str(reason)[:80]}. Correct the file.") from None
    is_list = isinstance(content, dict) and all(isinstance(content.get(key), list) for key in KEYS)
    return content if is_list else None


def read_list(
    path: Path, content: Mapping[str, Any], root: Path, images: list[Path], side: str | None
) -> Cohort | NoMatch:
    """Build the cohort of one COCO annotation file."""
    try:
        names = {one["id"]: str(one["name"]) for one in content["categories"]}
        files = {one["id"]: str(one["file_name"]) for one in content["images"]}
        drawn, told = objects_in(content, names, path)
        loose = sorted(str(i) for i in set(drawn) - set(files))
    except (KeyError, TypeError, ValueError, AttributeError) as reason:
        raise LayoutError(f"{str(path)!r} is not as COCO writes it: {reason!r} is wrong. Correct the file.") from None
    if loose:
        raise LayoutError(f"{str(path)!r} draws on images that it does not list: {some(loose)}. Correct the file.")
    finder = Named(images, root)
    places = {one: finder.find(name, near=path.parent, side=side) for one, name in files.items()}
    absent = [files[one] for one, place in places.items() if place is None]
    if absent:
        told.append(f"{len(absent)} image(s) of {path.name} are not here: {some(absent)}.")
    sheets = [
        AnnotatedImage(place, tuple(drawn.get(one, ())), side or side_in(place, root))
        for one, place in places.items()
        if place
    ]
    if not sheets:
        return NoMatch(
            0.5, f"no image that {path.name} lists is here, such as {some(absent[:1])}. Put the images beside it."
        )
    parents = {one.get("supercategory") for one in content["categories"]}
    used = {label for objects in drawn.values() for label, _ in objects}
    labels = [n for n in names.values() if n in used or n not in parents]  # a name for several others is no class
    return drawn_cohort(root, sheets, layout="coco", labels=labels, told=told)


def objects_in(
    content: Mapping[str, Any], names: Mapping[Any, str], path: Path
) -> tuple[dict[Any, list[Object]], list[str]]:
    """Give the label and box (y0, x0, y1, x1) of each object by image id, without crowds.

    Also gives messages on what was skipped.
    """
    found: dict[Any, list[Object]] = {}
    crowds = boxless = 0
    for one in content["annotations"]:
        if one.get("iscrowd"):
            crowds += 1
        elif not one.get("bbox"):
            boxless += 1
        else:
            x, y, width, height = (float(v) for v in one["bbox"])
            found.setdefault(one["image_id"], []).append((names[one["category_id"]], (y, x, y + height, x + width)))
    told = [f"{crowds} box(es) of {path.name} around crowds are left out."] if crowds else []
    return found, told + ([f"{boxless} object(s) of {path.name} have no box."] if boxless else [])


class Named:
    """Finds an image by name: beside the list, else the only path that ends so, else the one in the same split."""

    def __init__(self, images: list[Path], root: Path) -> None:
        self.root, self.known = root, set(images)
        self.by_name: dict[str, list[Path]] = {}
        for path in images:
            self.by_name.setdefault(path.name, []).append(path)

    def find(self, name: str, *, near: Path, side: str | None) -> Path | None:
        """Give the image, or None if there is none, or several that may be meant."""
        name = name.replace("\\", "/").lstrip("/")
        if ".." in name.split("/"):
            return None
        for place in (near / name, self.root / name):
            if place in self.known:
                return place
        every = self.by_name.get(name.rsplit("/", 1)[-1], [])
        fits = [p for p in every if p.as_posix().endswith("/" + name)] or every
        if len(fits) > 1:
            fits = [p for p in fits if side_in(p, self.root) == side]
        return fits[0] if len(fits) == 1 else None


coco.order = 30  # type: ignore[attr-defined]
THIS = coco

"""YOLO: a text file for each image, with a line for each object: its class, and its box relative to the image size."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from ....errors import LayoutError
from ...tables import read_text
from ..cohort import Cohort
from ..split_files import parse_split_name
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

CLASS_NAME_FILES = (
    "classes.txt",
    "obj.names",
    "_darknet.labels",
    "labels.names",
    "classes.names",
    "predefined_classes.txt",
)
YoloBox = tuple[int, tuple[float, ...]]


def yolo(folder: Path, hints: Hints) -> Cohort | NoMatch:
    """Recognise images with a YOLO text file for each, in folders ``images`` and ``labels`` or beside one another.

    Class names are read from ``data.yaml``, ``classes.txt`` or ``obj.names``. Polygons become their bounding
    boxes. An image without a text file has no object, as YOLO defines it.
    """
    if miss := reject_other_tasks(hints):
        return miss
    if folder.is_file():
        return NoMatch(0.0, "it is a file.")
    every = list_files(folder)
    files = [
        p
        for p in every
        if p.suffix.lower() == ".txt" and p.name not in CLASS_NAME_FILES and not parse_split_name(p.stem)
    ]
    images = list_images_outside_mask_folders(folder)
    found = pair_images_with_files(images, files, folder) if files and images else {}
    if not found:
        return NoMatch(0.0, "it has no text files that go with images by their names.")
    pairs = list(found.values())
    if not any(read_boxes(pairs[i]) for i in evenly_spaced_indices(len(pairs), 50)):
        return NoMatch(0.3, f"its text files, such as {pairs[0].name!r}, hold no class and box a line.")
    names, messages = find_class_names(every)
    drawn: dict[Path, tuple[YoloBox, ...]] = {}
    for image, file in found.items():
        lines = read_boxes(file)
        if lines is None:
            raise LayoutError(f"{str(file)!r} has a line that is not 'class cx cy width height'. Correct the file.")
        drawn[image] = lines
    names = names or tuple(str(i) for i in range(1 + max(kind for lines in drawn.values() for kind, _ in lines)))
    without_text_file = [i.name for i in images if i not in found]
    if without_text_file:
        messages.append(
            f"{len(without_text_file)} image(s) have no text file and are taken to show no object: "
            f"{quote_first(without_text_file)}."
        )
    sheets = [
        AnnotatedImage(
            i, tuple(label_box(line, names, found[i]) for line in drawn.get(i, ())), split_from_folders(i, folder)
        )
        for i in images
    ]
    return build_detection_cohort(folder, sheets, layout="yolo", labels=names, messages=messages, space="shares")


def label_box(yolo_box: YoloBox, class_names: Sequence[str], file: Path) -> LabelledBox:
    """Give the label and the box of a line, with the name of its class."""
    kind, corners = yolo_box
    if not 0 <= kind < len(class_names):
        raise LayoutError(
            f"{str(file)!r} has the class {kind}, but only {len(class_names)} have names. Name all of them."
        )
    return class_names[kind], corners


def read_boxes(path: Path) -> tuple[YoloBox, ...] | None:
    """Read classes and boxes (y0, x0, y1, x1) relative to the image size; None if a line is something else."""
    found = []
    try:
        for line in read_text(path).splitlines():
            words = line.split()
            if not words:
                continue
            kind, numbers = int(words[0]), [float(w) for w in words[1:]]
            if len(numbers) == 4:
                x, y, width, height = numbers
                ends = (y - height / 2, x - width / 2, y + height / 2, x + width / 2)
            elif len(numbers) >= 6 and len(numbers) % 2 == 0:
                xs, ys = numbers[::2], numbers[1::2]
                ends = (min(ys), min(xs), max(ys), max(xs))
            else:
                return None
            found.append((kind, ends))
    except (ValueError, LayoutError):
        return None
    return tuple(found)


def find_class_names(files: Sequence[Path]) -> tuple[tuple[str, ...], list[str]]:
    """Find the class names of a YOLO set, and give a message on which file they come from."""
    for path in sorted(files, key=lambda p: len(p.parts)):
        if path.suffix.lower() in (".yaml", ".yml"):
            found = parse_yaml_class_names(read_text(path))
        elif path.name in CLASS_NAME_FILES or path.suffix == ".names":
            found = tuple(line.strip() for line in read_text(path).splitlines() if line.strip())
        else:
            continue
        if found:
            twice = [n for i, n in enumerate(found) if n in found[:i]]
            if twice:
                raise LayoutError(f"{str(path)!r} names two classes {twice[0]!r}. Rename one.")
            return found, [f"The classes are those of {path.name}."]
    return (), ["No file names the classes, so they are called by their numbers."]


def parse_yaml_class_names(text: str) -> tuple[str, ...]:
    """Read ``names`` of a data.yaml: a list or a table of numbers and names, in a line or below one another.

    >>> parse_yaml_class_names("nc: 2\\nnames: ['red cell', platelet]")
    ('red cell', 'platelet')
    >>> parse_yaml_class_names("names:\\n  0: a\\n  1: b # both\\nnc: 2")
    ('a', 'b')
    """
    text = re.sub(r"(^|\s)#.*", "", text, flags=re.M)
    if flow := re.search(r"^names:\s*([\[{])(.*?)[\]}]", text, flags=re.M | re.S):
        parts = re.findall(r"\s*((?:\d+\s*:\s*)?(?:'[^']*'|\"[^\"]*\"|[^,]+))", flow[2])
        return tuple(_strip_quotes(re.sub(r"^\d+\s*:\s*", "", p.strip())) for p in parts if p.strip())
    block = re.search(r"^names:[ \t]*\n((?:[ \t]+.*\n?|-.*\n?|[ \t]*\n)+)", text + "\n", flags=re.M)
    if not block:
        return ()
    lines = [line.strip() for line in block[1].splitlines() if line.strip()]
    table = [re.match(r"(\d+)\s*:\s*(.*)", line) for line in lines]
    if all(table):
        return tuple(_strip_quotes(m[2]) for m in sorted((m for m in table if m), key=lambda m: int(m[1])))
    return tuple(_strip_quotes(line[1:].strip()) for line in lines if line.startswith("-"))


def _strip_quotes(word: str) -> str:
    word = word.strip()
    return word[1:-1] if len(word) > 1 and word[0] == word[-1] and word[0] in "'\"" else word


yolo.order = 32  # type: ignore[attr-defined]
THIS = yolo

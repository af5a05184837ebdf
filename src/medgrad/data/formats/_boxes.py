"""Write boxes: as a CSV that the layout ``boxes_table`` reads back, as COCO JSON, or as plain JSON."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ..grid import Grid
from ..types import Boxes, map_boxes

BoxFormat = Literal["csv", "coco", "json"]


def write_boxes(
    path: Path | str, boxes: Boxes, grid: Grid, *, file_format: BoxFormat = "csv", image_name: str = ""
) -> Path:
    """Write the boxes on an image of the given grid.

    ``csv`` has a row for each box: its corners in world mm (``world0_from`` ...) and in elements along the axes of
    the array (``element0_from`` ...; the first element reaches from 0 to 1). A row without numbers means that
    there are no boxes. ``json`` has the same. ``coco`` is for 2D images: x, y, width and height in pixels; scores,
    if any, are in the annotations, as in COCO's results. ``image_name`` is the file name of the image.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    writers = {"csv": boxes_to_csv, "coco": boxes_to_coco, "json": boxes_to_json}
    if file_format not in writers:
        raise ValueError(f"{file_format!r} is no way to write boxes. Choose {', '.join(writers)}.")
    path.write_text(writers[file_format](boxes, grid, image_name), encoding="utf-8")
    return path


def to_element_coordinates(boxes: Boxes, grid: Grid) -> NDArray[np.float64]:
    """Convert corners (n, 2 * dims) from world mm to elements; the first element reaches from 0 to 1."""
    corners = boxes.corners.reshape(-1, 2 * grid.dims)
    return np.asarray(map_boxes(corners, grid.to_index) + 0.5)


def box_rows(boxes: Boxes, grid: Grid, image_name: str) -> list[dict[str, Any]]:
    """Give a dict of plain values for each box."""
    ends = [f"{axis}_{end}" for end in ("from", "to") for axis in range(grid.dims)]
    rows = []
    for i, (world, element) in enumerate(
        zip(boxes.corners.tolist(), to_element_coordinates(boxes, grid).tolist(), strict=True)
    ):
        label = int(boxes.labels[i])
        rows.append(
            {
                "image": image_name,
                "label": boxes.names.get(label, str(label)),
                "score": None if boxes.scores is None else float(boxes.scores[i]),
                **{f"world{end}": v for end, v in zip(ends, world, strict=True)},
                **{f"element{end}": round(v, 4) for end, v in zip(ends, element, strict=True)},
            }
        )
    return rows


def boxes_to_csv(boxes: Boxes, grid: Grid, image_name: str) -> str:
    """Give the boxes as the text of a CSV table."""
    ends = [f"{axis}_{end}" for end in ("from", "to") for axis in range(grid.dims)]
    columns = ["image", "label", "score", *(f"{space}{end}" for space in ("world", "element") for end in ends)]
    out = io.StringIO()
    table = csv.DictWriter(out, columns, restval="", lineterminator="\n")
    table.writeheader()
    for row in box_rows(boxes, grid, image_name) or [{"image": image_name}]:
        table.writerow({k: "" if v is None else v for k, v in row.items()})
    return out.getvalue()


def boxes_to_json(boxes: Boxes, grid: Grid, image_name: str) -> str:
    """Give the boxes as the text of one JSON object."""
    found = {
        "image": image_name,
        "shape": list(grid.shape),
        "spacing": list(grid.spacing),
        "unit": "mm" if grid.has_spacing else "px",
        "labels": list(boxes.names.values()),
        "boxes": [{k: v for k, v in row.items() if k != "image"} for row in box_rows(boxes, grid, image_name)],
    }
    return json.dumps(found, indent=1, allow_nan=False) + "\n"


def boxes_to_coco(boxes: Boxes, grid: Grid, image_name: str) -> str:
    """Give the boxes as COCO JSON text with images, categories and annotations; ids begin at 1."""
    if grid.dims != 2:
        raise ValueError(f"COCO has boxes on flat pictures, but this image has {grid.dims} axes. Write csv or json.")
    numbers: Mapping[int, int] = {label: i for i, label in enumerate(sorted(boxes.names), 1)}
    annotations = []
    for i, (y0, x0, y1, x1) in enumerate(to_element_coordinates(boxes, grid).tolist()):
        one: dict[str, Any] = {
            "id": i + 1,
            "image_id": 1,
            "category_id": numbers[int(boxes.labels[i])],
            "bbox": [x0, y0, x1 - x0, y1 - y0],
            "area": (x1 - x0) * (y1 - y0),
            "iscrowd": 0,
        }
        annotations.append(one if boxes.scores is None else {**one, "score": float(boxes.scores[i])})
    found = {
        "images": [{"id": 1, "file_name": image_name, "height": grid.shape[0], "width": grid.shape[1]}],
        "categories": [{"id": number, "name": boxes.names[label]} for label, number in numbers.items()],
        "annotations": annotations,
    }
    return json.dumps(found, indent=1, allow_nan=False) + "\n"

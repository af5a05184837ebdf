"""Boxes: one around every object, with its class and its score."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..data import Boxes, Grid, Image
from ..data.box_overlap import iou
from ..data.box_suppression import nms
from ..data.display import Plane, eight_bit, upright
from ..data.formats import BoxFormat, write_boxes
from ..data.types import map_boxes
from ..trust import platt
from ._kind import Agreement, AnswerKind, Destination, Settings

CANDIDATES = 10
"""Of so many times the boxes that are kept, the best go into non-maximum suppression."""
SAME = 0.9
"""Boxes that overlap by so much are one."""
MIN_DRAWN_SCORE = 0.3


class BoxesKind(AnswerKind):
    """Decoded from candidates: corners (n, 2 * dims) in elements, and probabilities (n, classes).

    Of two boxes that overlap by just about what suppresses one, the last digit decides, so an exported network may be
    off by more than with labels.
    """

    type = Boxes
    outputs = ("corners", "probabilities")
    formats = ("csv", "json", "coco", "sr")
    tolerance = {"float32": 0.01, "int8": 0.05}
    settings = ("labels", "min_score", "max_boxes", "overlap", "platt_a", "platt_b")

    def example(self, grid: Grid, seed: int = 0) -> Boxes:
        rng = np.random.default_rng(seed)
        low = rng.uniform(0, np.array(grid.shape) / 2, (3, grid.dims))
        corners = np.concatenate([low, low + np.array(grid.shape) / 4], axis=1)
        return Boxes(
            map_boxes(corners, grid.to_world), np.array([0, 1, 0]), rng.uniform(0.5, 1, 3), {0: "cell", 1: "cyst"}
        )

    def join(self, values: Sequence[Boxes], windows: Sequence[Grid], grid: Grid, settings: Settings) -> Boxes:
        """Put the boxes of overlapping windows together, once.

        A box that ends at a window's edge inside the image is only a part of what another window sees whole.
        """
        if len(values) == 1:
            return values[0]
        every = concatenated([drop_truncated(a, w, grid) for a, w in zip(values, windows, strict=True)])
        assert every.scores is not None
        corners = map_boxes(every.corners, grid.to_index)
        kept = nms(corners, every.scores, overlap=settings["overlap"], labels=every.labels)
        return take(every, kept[: settings["max_boxes"]])

    def decode(self, outputs: Sequence[Any], grid: Grid, settings: Settings) -> Boxes:
        corners, probabilities = (np.asarray(o) for o in outputs)
        where, kinds = np.nonzero(probabilities > settings["min_score"])
        best = np.argsort(-probabilities[where, kinds], kind="stable")[: CANDIDATES * settings["max_boxes"]]
        where, kinds = where[best], kinds[best].astype(np.int64)
        found, scores = corners[where], probabilities[where, kinds]
        kept = nms(found, scores, overlap=settings["overlap"], labels=kinds)[: settings["max_boxes"]]
        world = map_boxes(clip(found[kept].astype(np.float64), grid.shape), grid.to_world)
        sure = calibrated(
            scores[kept].astype(np.float64), kinds[kept], platt_a=settings["platt_a"], platt_b=settings["platt_b"]
        )
        return Boxes(world, kinds[kept], sure, dict(enumerate(settings["labels"])))

    def write(self, value: Boxes, to: Destination) -> list[Path]:
        if to.file_format == "sr":
            from ..data.dicom.write.box_report import write_box_report

            grid = to.load_image().grid
            return [write_box_report(to.path(".dcm"), value, grid, to.source, made_by=to.algorithm)]
        form: BoxFormat = "coco" if to.file_format == "coco" else "json" if to.file_format == "json" else "csv"
        path = to.path(".coco.json" if form == "coco" else f".{form}")
        written = [write_boxes(path, value, to.load_image().grid, file_format=form, image_name=to.source.path.name)]
        if not to.file_format and to.case is not None:
            written.append(write_overlay(to.path(".png"), next(iter(to.case.images.values())), value))
        return written

    def needs_image(self, file_format: str) -> bool:
        return True

    def element_bytes(self, classes: int) -> int | None:
        return 1

    def summary(self, value: Boxes) -> dict[str, Any]:
        """Count the boxes of each class that are more likely right than not."""
        sure = np.ones(len(value.labels)) if value.scores is None else value.scores
        return {name: int(((value.labels == kind) & (sure >= 0.5)).sum()) for kind, name in value.names.items()}

    def plane_index(self, value: Boxes, image: Image, axis: int) -> int | None:
        if not len(value.corners):
            return None
        ends = map_boxes(value.corners, image.grid.to_index)[:, [axis, axis + 3]]
        middles = ends.mean(axis=1)
        return int(middles[((ends[:, :1] <= middles) & (middles <= ends[:, 1:])).sum(axis=0).argmax()].round())

    def drawn(self, value: Boxes, image: Image, plane: Plane) -> Mapping[str, NDArray[Any]]:
        return {"boxes": boxes_on_plane(drawn_boxes(value), image, plane)}

    def caption(self, value: Boxes, truth: Any) -> str:
        return f"boxes from {MIN_DRAWN_SCORE:g} on"

    def compare(self, pairs: Sequence[tuple[Boxes, Boxes]]) -> Agreement:
        """Count the boxes that have a partner on the other side, of the same class; each is the partner of one."""
        boxes = matched = 0
        largest = 0.0
        for a, b in pairs:
            boxes += len(a.labels) + len(b.labels)
            free = np.ones(len(b.labels), bool)
            scores_a, scores_b = (np.ones(len(x.labels)) if x.scores is None else x.scores for x in (a, b))
            for number in range(len(a.labels)):
                shared = iou(a.corners[number : number + 1], b.corners)[0]
                shared = np.where(free & (b.labels == a.labels[number]), shared, -1.0)
                if len(shared) and shared.max() >= SAME:
                    partner = int(shared.argmax())
                    free[partner] = False
                    matched += 2
                    largest = max(largest, abs(float(scores_a[number] - scores_b[partner])))
        share = matched / boxes if boxes else 1.0
        return Agreement(1 - share, len(pairs), {"matched": share, "largest_score_difference": largest})


def calibrated(
    scores: NDArray[np.float64], labels: NDArray[np.int64], *, platt_a: Sequence[float], platt_b: Sequence[float]
) -> NDArray[np.float64]:
    """Give scores as what they were found to mean, by a slope and a shift a class; without any, as they are."""
    if not len(platt_a):
        return scores
    new = scores.copy()
    for kind, (slope, shift) in enumerate(zip(platt_a, platt_b, strict=True)):
        new[labels == kind] = platt.apply_platt(scores[labels == kind], slope, shift)
    return new


def clip(corners: NDArray[np.float64], shape: Sequence[int]) -> NDArray[np.float64]:
    """Cut boxes, in elements, at the edges of an image."""
    return np.asarray(np.clip(corners, -0.5, np.tile(np.array(shape) - 0.5, 2)))


def drop_truncated(boxes: Boxes, window: Grid, grid: Grid) -> Boxes:
    """Leave out the boxes that end at an edge of a window which is not one of the image."""
    dims = grid.dims
    begin = grid.to_index(window.to_world(np.zeros(dims))).round()
    size = np.array(window.shape)
    at = map_boxes(boxes.corners, window.to_index)
    ends_low = (at[:, :dims] <= 0.5) & (begin > 0)
    ends_high = (at[:, dims:] >= size - 1.5) & (begin + size < np.array(grid.shape))
    too_large = (at[:, dims:] - at[:, :dims]) > size / 2
    return take(boxes, np.flatnonzero(~((ends_low | ends_high) & ~too_large).any(axis=1)))


def concatenated(boxes: Sequence[Boxes]) -> Boxes:
    """Put answers one after another."""
    return Boxes(
        np.concatenate([b.corners for b in boxes]),
        np.concatenate([b.labels for b in boxes]),
        np.concatenate([b.scores if b.scores is not None else np.ones(len(b.corners)) for b in boxes]),
        boxes[0].names,
    )


def take(boxes: Boxes, chosen: NDArray[np.int64]) -> Boxes:
    """Give some of the boxes."""
    scores = None if boxes.scores is None else boxes.scores[chosen]
    return replace(boxes, corners=boxes.corners[chosen], labels=boxes.labels[chosen], scores=scores)


def drawn_boxes(boxes: Boxes) -> Boxes:
    """Give the boxes with a score of at least ``MIN_DRAWN_SCORE``."""
    return boxes if boxes.scores is None else take(boxes, np.flatnonzero(boxes.scores >= MIN_DRAWN_SCORE))


def write_overlay(path: Path, image: Image, boxes: Boxes) -> Path:
    """Write a PNG of an image (of a volume, the plane with the most boxes) with the boxes that were found in it."""
    from PIL import Image as Pillow
    from PIL import ImageDraw

    from ._draw import best_plane

    shown = drawn_boxes(boxes)
    plane, axes = best_plane(image, shown)
    flat = eight_bit(image.array, image.grid, plane)
    rows, columns = (image.grid.spacing[a] / min(image.grid.spacing) for a in axes)
    picture = Pillow.fromarray(flat).convert("RGB")
    picture = picture.resize((round(flat.shape[1] * columns), round(flat.shape[0] * rows)))
    pen = ImageDraw.Draw(picture)
    corners = (boxes_on_plane(shown, image, plane) + 0.5) * [rows, columns, rows, columns]
    for top, left, bottom, right in corners.tolist():
        pen.rectangle((left, top, right, bottom), outline=(255, 196, 0), width=2)
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.save(path)
    return path


def boxes_on_plane(boxes: Boxes, image: Image, plane: Plane) -> NDArray[np.float64]:
    """Give the boxes that a plane cuts, (n, 4): lower row and column, then upper, as the plane is shown."""
    corners = map_boxes(boxes.corners, image.grid.to_index)
    dims = image.grid.dims
    axes = [a for a in range(dims) if isinstance(plane[a], slice)]
    for axis in set(range(dims)) - set(axes):
        corners = corners[(corners[:, axis] <= plane[axis]) & (plane[axis] <= corners[:, axis + dims])]
    places = np.indices([image.grid.shape[a] for a in axes])
    shown = np.stack([upright(p, image.grid) for p in places])
    flat = corners[:, [*axes, *(a + dims for a in axes)]]
    from_row = int(shown[0][0, 0] == shown[0][-1, 0])  # 1: what is shown downwards is the second of the axes
    order = [from_row, 1 - from_row]
    ends = []
    for down, axis in enumerate(order):
        line = shown[axis][:, 0] if down == 0 else shown[axis][0]
        low, high = flat[:, axis], flat[:, axis + 2]
        backwards = len(line) > 1 and line[0] > line[-1]
        ends.append((line[0] - high, line[0] - low) if backwards else (low, high))
    return np.stack([ends[0][0], ends[1][0], ends[0][1], ends[1][1]], axis=1)


THIS = BoxesKind()

"""Types of truth and answer: images, labels, boxes, scores, deformations and landmarks in patient space."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from .display import image_png, labels_png, small_table
from .grid import Grid


@dataclass(frozen=True)
class Image:
    """Intensities on a grid: ``array`` is (*grid.shape) or, with several channels, (*grid.shape, channels).

    ``modality`` is one of ``MODALITIES``, or None where it is unknown. ``messages`` holds messages of the reader for
    the user.
    """

    array: NDArray[Any]
    grid: Grid
    modality: str | None = None
    tags: Mapping[str, Any] = field(default_factory=dict)
    messages: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        n = self.grid.dims
        if self.array.shape[:n] != self.grid.shape or self.array.ndim not in (n, n + 1):
            raise ValueError(f"An array of shape {self.array.shape} does not fit a grid of {self.grid.shape}.")

    @property
    def channels(self) -> int:
        return self.array.shape[-1] if self.array.ndim > self.grid.dims else 1

    @property
    def channels_first(self) -> NDArray[Any]:
        """The array with its channels first: (channels, *grid.shape), also for one channel."""
        return np.moveaxis(self.array, -1, 0) if self.array.ndim > self.grid.dims else self.array[None]

    def _repr_png_(self) -> bytes | None:
        """The middle plane, upright, for a notebook."""
        return image_png(self.array, self.grid)


class ProbabilityMaps(Image):
    """The probability of each label in every element, (*grid.shape, labels); ``tags["labels"]`` names them."""


class SyntheticImage(Image):
    """Values that no scanner gave: translated from another modality, or generated; in a unit of their own."""


class AnomalyMap(SyntheticImage):
    """How unlike each element is to what was expected, in standard deviations of what is normal.

    As a truth it is 1 where an image is abnormal, and 0 elsewhere. ``tags["limit"]`` is the score of an image that one
    in twenty normal ones exceeds, where it is known.
    """


MODALITIES = ("ct", "mr", "pet", "us", "xray", "photo", "microscopy", "mask", "other")


@dataclass(frozen=True)
class LabelMap:
    """A label for every element: 0 is the background, ``names`` gives the names of the others.

    >>> LabelMap(np.array([[0, 1]]), Grid.from_shape((1, 2)), {1: "lesion"}).names[1]
    'lesion'
    """

    array: NDArray[Any]
    grid: Grid
    names: Mapping[int, str] = field(default_factory=dict)
    messages: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.array.shape != self.grid.shape:
            raise ValueError(f"Labels of shape {self.array.shape} do not fit a grid of {self.grid.shape}.")
        if self.array.dtype.kind not in "uib":
            raise ValueError(f"Labels are whole numbers, but these are {self.array.dtype}.")

    def _repr_png_(self) -> bytes | None:
        """The plane with the most labelled elements, a colour a label, for a notebook."""
        return labels_png(self.array, self.grid)


@dataclass(frozen=True)
class Boxes:
    """Axis-aligned boxes in world mm: ``corners`` is (n, 2 * dims), the lower corner, then the upper.

    A box reaches from edge to edge: one element on a grid of spacing 1 has the size 1. ``scores`` is None where an
    expert drew them. ``labels`` index ``names``, which counts from 0.
    """

    corners: NDArray[np.float64]
    labels: NDArray[np.int64]
    scores: NDArray[np.float64] | None = None
    names: Mapping[int, str] = field(default_factory=dict)

    def _repr_html_(self) -> str:
        """The boxes as a table in mm, the surest first, for a notebook."""
        corners = np.asarray(self.corners, float)
        dims = corners.shape[1] // 2 if corners.ndim == 2 else 0
        scores = np.full(len(corners), np.nan) if self.scores is None else self.scores
        rows = [
            [
                self.names.get(int(self.labels[i]), str(self.labels[i])),
                "" if np.isnan(scores[i]) else f"{scores[i]:.3f}",
                ", ".join(f"{v:.1f}" for v in corners[i, :dims]),
                ", ".join(f"{v:.1f}" for v in corners[i, dims:]),
            ]
            for i in np.argsort(-scores, kind="stable")
        ]
        return small_table(["class", "score", "from (mm)", "to (mm)"], rows)


@dataclass(frozen=True)
class UnplacedBoxes:
    """Boxes in the units of a file, before the grid of their image is known.

    ``space`` is the unit of ``corners``: ``elements`` along the axes of the array (rows first), where the first
    element reaches from 0 to 1; ``shares`` of the image size; or ``world`` mm. ``labels`` index ``names``.
    """

    corners: NDArray[np.float64]
    labels: NDArray[np.int64]
    space: Literal["elements", "shares", "world"] = "elements"
    names: Mapping[int, str] = field(default_factory=dict)

    def to_world(self, grid: Grid) -> Boxes:
        """Convert the boxes to world mm on a grid. Empty boxes are left out: ``look`` reports them as faults.

        >>> UnplacedBoxes(np.array([[0, 0, 2, 2.0]]), np.array([0])).to_world(Grid.from_shape((4, 4))).corners.tolist()
        [[-0.5, -0.5, 1.5, 1.5]]
        """
        corners = np.asarray(self.corners, float).reshape(-1, 2 * grid.dims)
        whole = (corners[:, grid.dims :] > corners[:, : grid.dims]).all(axis=1)
        corners, labels = corners[whole], np.asarray(self.labels, np.int64)[whole]
        if self.space != "world":
            size = np.tile(grid.shape, 2) if self.space == "shares" else 1.0
            corners = map_boxes(corners * size - 0.5, grid.to_world)
        return Boxes(corners, labels, None, self.names)


def map_boxes(corners: NDArray[np.float64], transform: Callable[[NDArray[np.float64]], NDArray[np.float64]]) -> Any:
    """Transform all corners of (n, 2 * dims) boxes, and give the bounding boxes of the results."""
    dims = corners.shape[1] // 2
    ends = corners.reshape(-1, 2, dims)
    which = np.array(list(product((0, 1), repeat=dims)))
    moved = transform(ends[:, which, np.arange(dims)])  # (n, 2 ** dims, dims)
    return np.concatenate([moved.min(axis=1), moved.max(axis=1)], axis=1).reshape(-1, 2 * dims)


@dataclass(frozen=True)
class Scores:
    """One number for each class: 0 or 1 from an expert, a probability from a network.

    ``exclusive`` is true where exactly one class holds; else the classes are independent.

    >>> Scores(np.array([0.2, 0.8]), ("benign", "malignant")).top_class
    'malignant'
    """

    values: NDArray[np.float64]
    names: tuple[str, ...]
    exclusive: bool = True

    def __post_init__(self) -> None:
        if self.values.shape != (len(self.names),):
            raise ValueError(f"{len(self.names)} names need as many values, but got {self.values.shape}.")

    @property
    def top_class(self) -> str:
        return self.names[int(np.argmax(self.values))]

    def _repr_html_(self) -> str:
        """The number of each class as a table, for a notebook."""
        return small_table(["class", "score"], [[n, f"{v:.3f}"] for n, v in zip(self.names, self.values, strict=True)])


@dataclass(frozen=True)
class Deformation:
    """Displacement field in world mm, (*grid.shape, dims), from each point of the fixed image to the moving one."""

    field: NDArray[np.float32]
    grid: Grid


@dataclass(frozen=True)
class Landmarks:
    """Named points in world mm, (n, dims)."""

    points: NDArray[np.float64]
    names: tuple[str, ...] = ()


@dataclass(frozen=True)
class Pair:
    """The truths about both images of a pair, each in its own world: label maps, or corresponding landmarks.

    Where nothing is known, they are the images themselves.
    """

    fixed: LabelMap | Landmarks | Image
    moving: LabelMap | Landmarks | Image


Truth = Image | LabelMap | Boxes | Scores | Deformation | Landmarks | Pair


def concatenate_answers(parts: Sequence[Any], grid: Grid, *, axis: int = 0) -> Any:
    """Concatenate dense answers that lie side by side along an axis, on the grid of the whole."""
    first = parts[0]
    name = "field" if isinstance(first, Deformation) else "array"
    whole = np.concatenate([getattr(p, name) for p in parts], axis=axis)
    rest = {k: getattr(first, k) for k in first.__dataclass_fields__ if k not in (name, "grid")}
    return type(first)(**{name: whole, "grid": grid}, **rest)

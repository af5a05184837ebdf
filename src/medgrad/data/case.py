"""A case: what a network learns from or answers about."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from numpy.typing import NDArray

from .grid import Grid
from .types import Image, LabelMap, Truth


@dataclass(frozen=True)
class Case:
    """The named images of one patient at one time, with the truth about them if it is known.

    ``roi`` is a mask of where answers count (a field of view, an organ); outside it nothing is learned or
    judged. ``metadata`` holds metadata: date, site, age, sex. ``arrays`` holds what is known beside the images and has
    no place in the patient: a row of laboratory values, the tokens of a report, the nodes and edges of a graph. Nothing
    cuts or resamples it.
    """

    id: str
    images: Mapping[str, Image]
    truth: Truth | None = None
    patient: str = ""
    roi: LabelMap | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    arrays: Mapping[str, NDArray[Any]] = field(default_factory=dict)

    @property
    def grid(self) -> Grid:
        """The grid of the first image; one element at the origin for a case without images."""
        first = next(iter(self.images.values()), None)
        return Grid.from_shape((1,), has_spacing=False) if first is None else first.grid

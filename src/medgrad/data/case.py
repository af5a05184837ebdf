"""A case: what a network learns from or answers about."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from .grid import Grid
from .types import Image, LabelMap, Truth


@dataclass(frozen=True)
class Case:
    """The named images of one patient at one time, with the truth about them if it is known.

    ``roi`` is a mask of where answers count (a field of view, an organ); outside it nothing is learned or
    judged. ``metadata`` holds metadata: date, site, age, sex.
    """

    id: str
    images: Mapping[str, Image]
    truth: Truth | None = None
    patient: str = ""
    roi: LabelMap | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)

    @property
    def grid(self) -> Grid:
        """The grid of the first image."""
        return next(iter(self.images.values())).grid

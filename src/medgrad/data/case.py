"""One thing to learn from or to answer about."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from .grid import Grid
from .types import Image, LabelMap, Truth


@dataclass(frozen=True)
class Case:
    """Named images of one patient at one time and, perhaps, the truth about them.

    ``region`` is where answers count (a field of view, an organ); outside it nothing is learned and nothing is judged.
    ``notes`` carries whatever else is known: date, site, age, sex.
    """

    id: str
    images: Mapping[str, Image]
    truth: Truth | None = None
    patient: str = ""
    region: LabelMap | None = None
    notes: Mapping[str, Any] = field(default_factory=dict)

    @property
    def grid(self) -> Grid:
        """The grid of the first image."""
        return next(iter(self.images.values())).grid

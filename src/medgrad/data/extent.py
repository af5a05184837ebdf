"""The size of an image, known from its header before it is read."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .grid import Grid


@dataclass(frozen=True)
class ImageSpec:
    """The memory needs of an image: its grid, its channels, and the bytes of an element.

    ``beside`` are the extra bytes per element that reading needs temporarily.
    """

    grid: Grid
    channels: int = 1
    bytes: int = 4
    beside: int = 0

    @property
    def size(self) -> int:
        """The bytes of all elements."""
        return int(np.prod(self.grid.shape)) * self.channels * self.bytes

"""The size of an image, known from its header before it is read."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .grid import Grid


@dataclass(frozen=True)
class ImageSpec:
    """The memory needs of an image: its grid, its channels, and the bytes of an element.

    ``temporary_bytes`` are the extra bytes per element that reading needs temporarily.
    """

    grid: Grid
    channels: int = 1
    bytes_per_element: int = 4
    temporary_bytes: int = 0

    @property
    def n_bytes(self) -> int:
        """The bytes of all elements."""
        return int(np.prod(self.grid.shape)) * self.channels * self.bytes_per_element

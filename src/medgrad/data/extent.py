"""How large an image will be, told before it is read."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .grid import Grid


@dataclass(frozen=True)
class ImageSpec:
    """What an image is, as far as memory is concerned: its grid, its channels, and the bytes of an element.

    ``beside`` are the bytes of an element that reading takes for a while, beside those that stay.
    """

    grid: Grid
    channels: int = 1
    bytes: int = 4
    beside: int = 0

    @property
    def size(self) -> int:
        """The bytes of all elements."""
        return int(np.prod(self.grid.shape)) * self.channels * self.bytes

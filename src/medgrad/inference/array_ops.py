"""The few things that sliding windows and flips need of a kind of array, spelled for numpy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

MIN_WEIGHT = 1e-3
"""What an element at the very edge of a window still counts."""


class ArrayOps(Protocol):
    """What the blending of windows needs of a kind of array."""

    def gaussian(self, size: int) -> Any:
        """Give a Gaussian over ``size`` elements, an eighth of that wide, nowhere below ``MIN_WEIGHT``."""

    def zeros(self, *shape: int, like: Any = None) -> Any:
        """Give zeros, of the kind and in the place of another array."""

    def to_device_of(self, array: Any, like: Any) -> Any:
        """Bring an array to where another one is."""

    def add_weighted(self, sums: Any, output: Any, weight: Any) -> None:
        """Add an output, weighted, in place."""

    def flip(self, array: Any, axes: Sequence[int]) -> Any:
        """Give an array mirrored along some axes."""

    def stack(self, arrays: Sequence[Any]) -> Any:
        """Put arrays of one shape side by side along a new first axis."""


class NumpyOps:
    """Arrays of numpy."""

    def gaussian(self, size: int) -> NDArray[np.float32]:
        at = (np.arange(size, dtype=np.float32) - np.float32((size - 1) / 2)) / np.float32(size / 8)
        return np.maximum(np.exp(-0.5 * at**2), np.float32(MIN_WEIGHT))

    def zeros(self, *shape: int, like: Any = None) -> NDArray[np.float32]:
        del like
        return np.zeros(shape, np.float32)

    def to_device_of(self, array: Any, like: Any) -> Any:
        del like
        return array

    def add_weighted(self, sums: Any, output: Any, weight: Any) -> None:
        sums += output * weight

    def flip(self, array: Any, axes: Sequence[int]) -> Any:
        return np.ascontiguousarray(np.flip(array, tuple(axes)))

    def stack(self, arrays: Sequence[Any]) -> NDArray[Any]:
        return np.stack(arrays)


NUMPY = NumpyOps()

"""What a target of export offers; each file of this folder ends in ``THIS = <one of this kind>``."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from ..errors import SettingError
from ..inference.artefact.artefact import Output

OPSET = 17
Feed = Sequence[NDArray[np.float32]]
"""What a network is shown while the ranges of its values are measured: inputs (1, planes, *shape) each."""


@dataclass(frozen=True)
class ExportModule:
    """A network whose output needs no more tensors, an input that it takes, and what the artefact will say of it.

    ``outputs`` names its outputs. Windows of a ``dense`` one have one shape; others may be shown at any.
    """

    module: nn.Module
    inputs: Tensor
    outputs: tuple[str, ...]
    shape: Output
    about: Mapping[str, Any]

    @property
    def moving(self) -> tuple[int, ...]:
        """The axes of the input whose length may change."""
        return () if self.shape == "dense" else tuple(range(2, self.inputs.ndim))


class Target(Protocol):
    """A form for other runtimes. ``network`` is the network's file within the artefact, ``engine`` what checks it."""

    network: str
    engine: str

    def write(self, finished: ExportModule, folder: Path) -> None:
        """Write the network, and whatever else the form has, in float32."""


class Shrinking(Target, Protocol):
    """A form that has 8 bits too."""

    def shrink(self, finished: ExportModule, folder: Path, feed: Feed) -> None:
        """Turn the written network to 8 bits, its ranges measured on what it is fed."""


def no_int8() -> SettingError:
    """Say that a network has no form in 8 bits."""
    return SettingError("This network has loops within it, which are not turned to 8 bits. Leave --int8 out.")


@contextmanager
def quietly() -> Iterator[None]:
    """Keep a tracer's warnings to itself: that what it sees is fixed is meant, and what may move is checked after."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield

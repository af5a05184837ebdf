"""The interface of an export target; each file of this folder ends in ``THIS = <a target>``."""

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
CalibrationInputs = Sequence[NDArray[np.float32]]
"""What a network is shown while the ranges of its values are measured: inputs (1, planes, *shape) each."""


@dataclass(frozen=True)
class ExportModule:
    """A torch module to export, an example input, and the content of the artefact's file.

    Windows of ``logits`` have a fixed shape. Inputs for ``chances`` or ``boxes`` may have any.
    """

    module: nn.Module
    inputs: Tensor
    output_names: tuple[str, ...]
    shape: Output
    manifest: Mapping[str, Any]

    @property
    def dynamic_axes(self) -> tuple[int, ...]:
        """The input axes of dynamic length."""
        return () if self.shape == "dense" else tuple(range(2, self.inputs.ndim))


class Target(Protocol):
    """An export target.

    ``network_file`` is the file name within the artefact, ``backend`` the backend that checks it.
    """

    network_file: str
    backend: str

    def write(self, export_module: ExportModule, folder: Path) -> None:
        """Write the network in float32, with any other files of the target."""


class QuantisableTarget(Target, Protocol):
    """An export target that can quantise to 8 bits."""

    def quantise(self, export_module: ExportModule, folder: Path, calibration_inputs: CalibrationInputs) -> None:
        """Quantise the written network to 8 bits, with ranges calibrated on the inputs."""


def make_int8_error() -> SettingError:
    """Return the error that a network with loops cannot be quantised."""
    return SettingError("This network has loops within it, which are not turned to 8 bits. Leave --int8 out.")


@contextmanager
def ignore_warnings() -> Iterator[None]:
    """Ignore the warnings of tracing; what may change is checked afterwards."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield

"""What an engine offers; each file of this folder ends in ``THIS = <one of this kind>``."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Protocol

from ..predictor import Forward


class Engine(Protocol):
    """A runtime. ``reads`` are the endings of the networks that it takes, ``extra`` is what installs it."""

    reads: tuple[str, ...]
    extra: str

    def is_installed(self) -> bool:
        """Tell whether it can be used here."""

    def ways(self) -> tuple[str, ...]:
        """Name the precisions that it can compute in on this machine, the quickest first."""

    def open(self, path: Path, *, threads: int = 0, way: str = "float32") -> Forward:
        """Open a network: what it gives takes inputs and gives outputs, all numpy."""


def is_here(module: str) -> bool:
    """Tell whether a package is installed, without importing it."""
    return find_spec(module) is not None


def without_telemetry() -> None:
    """Keep OpenVINO's tools from reporting that they are used; they go without where their reporter is not found."""
    if "openvino_telemetry" not in sys.modules:
        sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]

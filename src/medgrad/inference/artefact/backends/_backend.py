"""The interface of a backend; each file of this folder ends in ``THIS = <a backend>``."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Protocol

from ..predictor import Forward


class Backend(Protocol):
    """A backend. ``suffixes`` are the file suffixes that it accepts, ``extra`` is what installs it."""

    suffixes: tuple[str, ...]
    extra: str

    def is_installed(self) -> bool:
        """Tell whether the backend is installed."""

    def precisions(self) -> tuple[str, ...]:
        """List the precisions that it supports on this machine, the fastest first."""

    def open(self, path: Path, *, n_threads: int = 0, precision: str = "float32") -> Forward:
        """Load a network as a function from inputs to outputs, all numpy."""


def is_package_installed(module: str) -> bool:
    """Tell whether a package is installed, without importing it."""
    return find_spec(module) is not None


def disable_telemetry() -> None:
    """Disable OpenVINO's telemetry: its tools work without where their reporter is not found."""
    if "openvino_telemetry" not in sys.modules:
        sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]

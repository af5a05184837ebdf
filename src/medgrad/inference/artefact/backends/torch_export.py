"""torch, for networks saved as exported programs or as TorchScript."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ....errors import FormatError, require_package
from ....machine.cores import count_cores
from ..predictor import Forward
from ._backend import is_package_installed


class TorchExport:
    """Runs ``.pt2`` and ``.ts`` files in float32; torch is imported only where an artefact needs it."""

    suffixes = (".pt2", ".ts")
    extra = "torch"

    def is_installed(self) -> bool:
        """Tell whether the backend is installed."""
        return is_package_installed("torch")

    def precisions(self) -> tuple[str, ...]:
        """List the precisions that it supports."""
        return ("float32",)

    def open(self, path: Path, *, n_threads: int = 0, precision: str = "float32") -> Forward:
        """Load a network."""
        del precision
        torch: Any = require_package("torch", extra=self.extra)
        if n_threads:
            torch.set_num_threads(min(n_threads, count_cores()))
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # that TorchScript grows old is for whoever writes it
                network = load_torchscript(torch, path) if path.suffix == ".ts" else torch.export.load(path).module()
        except Exception as reason:
            raise FormatError(f"{str(path)!r} is no network that torch can run.") from reason

        def forward(inputs: NDArray[np.float32]) -> list[NDArray[Any]]:
            try:
                with torch.inference_mode():
                    said = network(torch.from_numpy(np.ascontiguousarray(inputs)))
            except (RuntimeError, AssertionError) as reason:
                line = str(reason).strip().splitlines()[0][:300]
                raise ValueError(f"torch could not run {path.name!r}: {line}") from reason
            return [s.numpy() for s in (said if isinstance(said, (tuple, list)) else (said,))]

        return forward


def load_torchscript(torch: Any, path: Path) -> Any:
    """Load TorchScript."""
    return torch.jit.load(str(path), map_location="cpu").eval()


THIS = TorchExport()

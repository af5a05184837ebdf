"""ONNX Runtime on the CPU."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ....errors import FormatError, require_package
from ....machine.cores import count_cores
from ..predictor import Forward
from ._backend import is_package_installed


class OnnxRuntime:
    """Runs ONNX files in the precision in which they are written."""

    suffixes = (".onnx",)
    extra = "onnx"

    def is_installed(self) -> bool:
        """Tell whether the backend is installed."""
        return is_package_installed("onnxruntime")

    def precisions(self) -> tuple[str, ...]:
        """List the precisions that it supports."""
        return ("float32",)

    def open(self, path: Path, *, n_threads: int = 0, precision: str = "float32") -> Forward:
        """Load a network."""
        del precision
        runtime: Any = require_package("onnxruntime", extra=self.extra)
        options = runtime.SessionOptions()
        options.intra_op_num_threads = n_threads or count_cores()
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # threads that wait sleep
        options.log_severity_level = 3
        try:
            session = runtime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        except Exception as reason:  # its errors share no base but this
            raise FormatError(
                f"{str(path)!r} is no network that ONNX Runtime can run: {first_error_line(reason)}"
            ) from reason
        name = session.get_inputs()[0].name

        def forward(inputs: NDArray[np.float32]) -> list[NDArray[Any]]:
            try:
                return list(session.run(None, {name: np.ascontiguousarray(inputs)}))
            except Exception as reason:
                raise ValueError(f"ONNX Runtime could not run {path.name!r}: {first_error_line(reason)}") from reason

        return forward


def first_error_line(reason: Exception) -> str:
    """Return the first line of an error message."""
    return (str(reason).strip().splitlines() or [type(reason).__name__])[0][:300]


THIS = OnnxRuntime()

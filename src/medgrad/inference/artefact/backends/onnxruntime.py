"""ONNX Runtime on the CPU."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ....errors import FormatError, need
from ....machine.cores import count
from ..predictor import Forward
from ._backend import is_here


class OnnxRuntime:
    """Runs ONNX files in the precision in which they are written."""

    reads = (".onnx",)
    extra = "onnx"

    def is_installed(self) -> bool:
        """Tell whether the backend is installed."""
        return is_here("onnxruntime")

    def ways(self) -> tuple[str, ...]:
        """List the precisions that it supports."""
        return ("float32",)

    def open(self, path: Path, *, threads: int = 0, way: str = "float32") -> Forward:
        """Load a network."""
        del way
        runtime: Any = need("onnxruntime", extra=self.extra)
        options = runtime.SessionOptions()
        options.intra_op_num_threads = threads or count()
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # threads that wait sleep
        options.log_severity_level = 3
        try:
            session = runtime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        except Exception as reason:  # its errors share no base but this
            raise FormatError(
                f"{str(path)!r} is no network that ONNX Runtime can run: {first_line(reason)}"
            ) from reason
        name = session.get_inputs()[0].name

        def ask(inputs: NDArray[np.float32]) -> list[NDArray[Any]]:
            try:
                return list(session.run(None, {name: np.ascontiguousarray(inputs)}))
            except Exception as reason:
                raise ValueError(f"ONNX Runtime could not run {path.name!r}: {first_line(reason)}") from reason

        return ask


def first_line(reason: Exception) -> str:
    """Return the first line of an error message."""
    return (str(reason).strip().splitlines() or [type(reason).__name__])[0][:300]


THIS = OnnxRuntime()

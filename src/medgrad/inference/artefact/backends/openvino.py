"""OpenVINO on the CPU: in bfloat16 where the CPU multiplies it faster, else in float32."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ....errors import FormatError, need
from ....machine.cores import count
from ..predictor import Forward
from ._backend import is_here, without_telemetry

HINTS = {"float32": "f32", "bfloat16": "bf16"}


class OpenVino:
    """Runs OpenVINO and ONNX files."""

    reads = (".xml", ".onnx")
    extra = "openvino"

    def is_installed(self) -> bool:
        """Tell whether the backend is installed."""
        return is_here("openvino")

    def ways(self) -> tuple[str, ...]:
        """List the precisions that it supports on this machine, the fastest first."""
        able = self.core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        return ("bfloat16", "float32") if "BF16" in able else ("float32",)

    def core(self) -> Any:
        """Import OpenVINO, and return its core."""
        without_telemetry()
        runtime: Any = need("openvino", extra=self.extra)
        return runtime.Core()

    def open(self, path: Path, *, threads: int = 0, way: str = "float32") -> Forward:
        """Load a network."""
        core = self.core()
        settings = {
            "INFERENCE_PRECISION_HINT": HINTS[way],
            "INFERENCE_NUM_THREADS": str(threads or count()),
            "PERFORMANCE_HINT": "LATENCY",
        }
        try:
            network = core.compile_model(core.read_model(str(path)), "CPU", settings)
        except RuntimeError as reason:
            line = str(reason).strip().splitlines()[0][:300]
            raise FormatError(f"{str(path)!r} is no network that OpenVINO can run: {line}") from reason
        request = network.create_infer_request()

        def ask(inputs: NDArray[np.float32]) -> list[NDArray[Any]]:
            try:
                request.infer([np.ascontiguousarray(inputs)])
            except RuntimeError as reason:
                line = str(reason).strip().splitlines()[0][:300]
                raise ValueError(f"OpenVINO could not run {path.name!r}: {line}") from reason
            return [np.array(request.get_output_tensor(i).data) for i in range(len(network.outputs))]

        return ask


THIS = OpenVino()

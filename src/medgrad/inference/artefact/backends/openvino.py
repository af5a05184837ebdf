"""OpenVINO on the CPU: in bfloat16 where the CPU multiplies it faster, else in float32."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ....errors import FormatError, require_package
from ....machine.cores import count_cores
from ..predictor import Forward
from ._backend import disable_telemetry, is_package_installed

PRECISION_HINTS = {"float32": "f32", "bfloat16": "bf16"}


class OpenVino:
    """Runs OpenVINO and ONNX files."""

    suffixes = (".xml", ".onnx")
    extra = "openvino"

    def is_installed(self) -> bool:
        """Tell whether the backend is installed."""
        return is_package_installed("openvino")

    def precisions(self) -> tuple[str, ...]:
        """List the precisions that it supports on this machine, the fastest first."""
        able = self.load_core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        return ("bfloat16", "float32") if "BF16" in able else ("float32",)

    def load_core(self) -> Any:
        """Import OpenVINO, and return its core."""
        disable_telemetry()
        runtime: Any = require_package("openvino", extra=self.extra)
        return runtime.Core()

    def open(self, path: Path, *, n_threads: int = 0, precision: str = "float32") -> Forward:
        """Load a network."""
        core = self.load_core()
        settings = {
            "INFERENCE_PRECISION_HINT": PRECISION_HINTS[precision],
            "INFERENCE_NUM_THREADS": str(n_threads or count_cores()),
            "PERFORMANCE_HINT": "LATENCY",
        }
        try:
            network = core.compile_model(core.read_model(str(path)), "CPU", settings)
        except RuntimeError as reason:
            line = str(reason).strip().splitlines()[0][:300]
            raise FormatError(f"{str(path)!r} is no network that OpenVINO can run: {line}") from reason
        request = network.create_infer_request()

        def forward(inputs: NDArray[np.float32]) -> list[NDArray[Any]]:
            try:
                request.infer([np.ascontiguousarray(inputs)])
            except RuntimeError as reason:
                line = str(reason).strip().splitlines()[0][:300]
                raise ValueError(f"OpenVINO could not run {path.name!r}: {line}") from reason
            return [np.array(request.get_output_tensor(i).data) for i in range(len(network.outputs))]

        return forward


THIS = OpenVino()

"""ONNX export: for ONNX Runtime, OpenVINO and most other runtimes."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from ..errors import require_package
from ._target import OPSET, CalibrationInputs, ExportModule, ignore_warnings, make_int8_error

QUANTISED_LAYERS = ["Conv", "ConvTranspose", "Gemm", "MatMul"]
"""What is computed in 8 bits; all between stays in float32, since corners of boxes have no 8 bits to spare."""


class OnnxTarget:
    """Export target that uses torch's tracing exporter, which is fast and whose graphs every runtime supports well."""

    network_file = "network.onnx"
    backend = "onnxruntime"

    def write(self, finished: ExportModule, folder: Path) -> None:
        """Write the network."""
        write_onnx(finished, folder / self.network_file)

    def quantise(self, finished: ExportModule, folder: Path, feed: CalibrationInputs) -> None:
        """Quantise the network to 8 bits with ONNX Runtime's static quantisation.

        Weights leave one bit unused, so that sums do not overflow on CPUs without VNNI. Layer inputs are unsigned: with
        signed inputs and a zero point, OpenVINO computes other results than ONNX Runtime.
        """
        del finished
        known: Any = require_package("onnx", extra="onnx")
        tool: Any = require_package("onnxruntime.quantization", extra="onnx")
        path, plain = folder / self.network_file, folder / "float32.onnx"
        nodes = known.load(str(path), load_external_data=False).graph.node
        if any(a.type == known.AttributeProto.GRAPH for node in nodes for a in node.attribute):
            raise make_int8_error()
        path.replace(plain)

        class CalibrationReader(tool.CalibrationDataReader):  # type: ignore[misc]
            left = iter(feed)

            def get_next(self) -> dict[str, Any] | None:
                inputs = next(self.left, None)
                return None if inputs is None else {"inputs": inputs}

        with ignore_warnings(), silence_logging():
            tool.quantize_static(
                str(plain),
                str(path),
                CalibrationReader(),
                quant_format=tool.QuantFormat.QDQ,
                per_channel=True,
                reduce_range=True,
                activation_type=tool.QuantType.QUInt8,
                op_types_to_quantize=QUANTISED_LAYERS,
            )
        plain.unlink()


def write_onnx(export_module: ExportModule, path: Path, *, extra: str = "onnx") -> None:
    """Write a network as ONNX; ``extra`` names the extra of the calling target."""
    require_package("onnx", extra=extra)
    axes = {"inputs": {a: f"axis_{a - 2}" for a in export_module.dynamic_axes}} if export_module.dynamic_axes else None
    with ignore_warnings(), torch.inference_mode():
        torch.onnx.export(
            export_module.module,
            (export_module.inputs,),
            str(path),
            dynamo=False,
            opset_version=OPSET,
            input_names=["inputs"],
            output_names=list(export_module.output_names),
            dynamic_axes=axes,
        )


@contextmanager
def silence_logging() -> Iterator[None]:
    """Silence the logging of a tool below errors."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)


THIS = OnnxTarget()

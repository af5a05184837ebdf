"""ONNX export: for ONNX Runtime, OpenVINO and most other runtimes."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from ..errors import need
from ._target import OPSET, ExportModule, Feed, no_int8, quietly

LAYERS = ["Conv", "ConvTranspose", "Gemm", "MatMul"]
"""What is computed in 8 bits; all between stays in float32, since corners of boxes have no 8 bits to spare."""


class Onnx:
    """Export target that uses torch's tracing exporter, which is fast and whose graphs every runtime supports well."""

    network = "network.onnx"
    engine = "onnxruntime"

    def write(self, finished: ExportModule, folder: Path) -> None:
        """Write the network."""
        write_onnx(finished, folder / self.network)

    def shrink(self, finished: ExportModule, folder: Path, feed: Feed) -> None:
        """Quantise the network to 8 bits with ONNX Runtime's static quantisation.

        Weights leave one bit unused, so that sums do not overflow on CPUs without VNNI. Layer inputs are unsigned: with
        signed inputs and a zero point, OpenVINO computes other results than ONNX Runtime.
        """
        del finished
        known: Any = need("onnx", extra="onnx")
        tool: Any = need("onnxruntime.quantization", extra="onnx")
        path, plain = folder / self.network, folder / "float32.onnx"
        nodes = known.load(str(path), load_external_data=False).graph.node
        if any(a.type == known.AttributeProto.GRAPH for node in nodes for a in node.attribute):
            raise no_int8()
        path.replace(plain)

        class Fed(tool.CalibrationDataReader):  # type: ignore[misc]
            left = iter(feed)

            def get_next(self) -> dict[str, Any] | None:
                inputs = next(self.left, None)
                return None if inputs is None else {"inputs": inputs}

        with quietly(), silent():
            tool.quantize_static(
                str(plain),
                str(path),
                Fed(),
                quant_format=tool.QuantFormat.QDQ,
                per_channel=True,
                reduce_range=True,
                activation_type=tool.QuantType.QUInt8,
                op_types_to_quantize=LAYERS,
            )
        plain.unlink()


def write_onnx(finished: ExportModule, path: Path, *, extra: str = "onnx") -> None:
    """Write a network as ONNX; ``extra`` names the extra of the calling target."""
    need("onnx", extra=extra)
    axes = {"inputs": {a: f"axis_{a - 2}" for a in finished.moving}} if finished.moving else None
    with quietly(), torch.inference_mode():
        torch.onnx.export(
            finished.module,
            (finished.inputs,),
            str(path),
            dynamo=False,
            opset_version=OPSET,
            input_names=["inputs"],
            output_names=list(finished.outputs),
            dynamic_axes=axes,
        )


@contextmanager
def silent() -> Iterator[None]:
    """Silence the logging of a tool below errors."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)


THIS = Onnx()

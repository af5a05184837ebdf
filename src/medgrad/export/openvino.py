"""OpenVINO export: the fastest format on CPUs, above all in 8 bits."""

from __future__ import annotations

from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

from ..errors import need
from ..inference.artefact.backends import without_telemetry
from ._target import ExportModule, Feed, no_int8, quietly
from .onnx import silent, write_onnx

LAYERS = {"Convolution", "GroupConvolution", "ConvolutionBackpropData", "GroupConvolutionBackpropData", "MatMul"}
FIXED = {"Parameter", "Result", "Constant"}
BODIES = {"If", "Loop", "TensorIterator"}


class OpenVino:
    """Export target that converts from ONNX, which takes a tenth of the time of converting from torch."""

    network = "network.xml"
    engine = "openvino"

    def write(self, finished: ExportModule, folder: Path) -> None:
        """Write the network and its weights."""
        without_telemetry()
        runtime: Any = need("openvino", extra="openvino")
        passing = folder / "passing.onnx"
        write_onnx(finished, passing, extra="openvino")
        self.save(runtime, runtime.Core().read_model(str(passing)), folder)
        passing.unlink()

    def shrink(self, finished: ExportModule, folder: Path, feed: Feed) -> None:
        """Quantise the network to 8 bits with NNCF.

        Ranges are the minimum and maximum seen, since only few windows are seen. Weights leave one bit unused, so
        that sums do not overflow on CPUs without VNNI. In detection, only layers are quantised: the decoding of
        corners needs more than 8 bits.
        """
        without_telemetry()
        runtime: Any = need("openvino", extra="openvino")
        with quietly(), silent(), redirect_stdout(StringIO()):  # its bar is drawn where answers are printed
            tool: Any = need("nncf", extra="openvino")
            tool.set_log_level(40)
            network = runtime.Core().read_model(str(folder / self.network))
            kinds = {op.get_type_name() for op in network.get_ops()}
            if kinds & BODIES:
                raise no_int8()
            spared = sorted(kinds - LAYERS - FIXED) if finished.shape == "pyramid" else []
            small = tool.quantize(
                network,
                tool.Dataset(list(feed)),
                subset_size=len(feed),
                preset=tool.QuantizationPreset.MIXED,
                ignored_scope=tool.IgnoredScope(types=spared, validate=False),
                advanced_parameters=tool.AdvancedQuantizationParameters(
                    overflow_fix=tool.OverflowFix.ENABLE,
                    activations_range_estimator_params=need(
                        "nncf.quantization.range_estimator", extra="openvino"
                    ).RangeEstimatorParametersSet.MINMAX,
                ),
            )
        self.save(runtime, small, folder)

    def save(self, runtime: Any, network: Any, folder: Path) -> None:
        """Save a network under another name first, since the old file may still be in use."""
        runtime.save_model(network, str(folder / "new.xml"), compress_to_fp16=False)
        for ending in (".xml", ".bin"):
            (folder / f"new{ending}").replace((folder / self.network).with_suffix(ending))


THIS = OpenVino()

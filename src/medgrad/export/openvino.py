"""OpenVINO export: the fastest format on CPUs, above all in 8 bits."""

from __future__ import annotations

from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

from ..errors import require_package
from ..inference.artefact.backends import disable_telemetry
from ._target import CalibrationInputs, ExportModule, ignore_warnings, make_int8_error
from .onnx import silence_logging, write_onnx

QUANTISED_LAYERS = {
    "Convolution",
    "GroupConvolution",
    "ConvolutionBackpropData",
    "GroupConvolutionBackpropData",
    "MatMul",
}
CONSTANT_OPERATIONS = {"Parameter", "Result", "Constant"}
LOOP_OPERATIONS = {"If", "Loop", "TensorIterator"}


class OpenVinoTarget:
    """Export target that converts from ONNX, which takes a tenth of the time of converting from torch."""

    network_file = "network.xml"
    backend = "openvino"

    def write(self, finished: ExportModule, folder: Path) -> None:
        """Write the network and its weights."""
        disable_telemetry()
        runtime: Any = require_package("openvino", extra="openvino")
        passing = folder / "passing.onnx"
        write_onnx(finished, passing, extra="openvino")
        self.save_network(runtime, runtime.Core().read_model(str(passing)), folder)
        passing.unlink()

    def quantise(self, finished: ExportModule, folder: Path, feed: CalibrationInputs) -> None:
        """Quantise the network to 8 bits with NNCF.

        Ranges are the minimum and maximum seen, since only few windows are seen. Weights leave one bit unused, so
        that sums do not overflow on CPUs without VNNI. In detection, only layers are quantised: the decoding of
        corners needs more than 8 bits.
        """
        disable_telemetry()
        runtime: Any = require_package("openvino", extra="openvino")
        with (
            ignore_warnings(),
            silence_logging(),
            redirect_stdout(StringIO()),
        ):  # its bar is drawn where answers are printed
            tool: Any = require_package("nncf", extra="openvino")
            tool.set_log_level(40)
            network = runtime.Core().read_model(str(folder / self.network_file))
            kinds = {op.get_type_name() for op in network.get_ops()}
            if kinds & LOOP_OPERATIONS:
                raise make_int8_error()
            ignored_types = (
                sorted(kinds - QUANTISED_LAYERS - CONSTANT_OPERATIONS) if finished.shape == "pyramid" else []
            )
            small = tool.quantize(
                network,
                tool.Dataset(list(feed)),
                subset_size=len(feed),
                preset=tool.QuantizationPreset.MIXED,
                ignored_scope=tool.IgnoredScope(types=ignored_types, validate=False),
                advanced_parameters=tool.AdvancedQuantizationParameters(
                    overflow_fix=tool.OverflowFix.ENABLE,
                    activations_range_estimator_params=require_package(
                        "nncf.quantization.range_estimator", extra="openvino"
                    ).RangeEstimatorParametersSet.MINMAX,
                ),
            )
        self.save_network(runtime, small, folder)

    def save_network(self, runtime: Any, network: Any, folder: Path) -> None:
        """Save a network under another name first, since the old file may still be in use."""
        runtime.save_model(network, str(folder / "new.xml"), compress_to_fp16=False)
        for ending in (".xml", ".bin"):
            (folder / f"new{ending}").replace((folder / self.network_file).with_suffix(ending))


THIS = OpenVinoTarget()

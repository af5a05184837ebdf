"""Networks, one architecture a file: ``THIS(inputs, outputs, dims, **settings)``."""

from ._blocks import InstanceNorm
from ._widths import CONVOLUTION, NORM, layer_width, layer_widths, with_widths

__all__ = ["CONVOLUTION", "NORM", "InstanceNorm", "layer_width", "layer_widths", "with_widths"]

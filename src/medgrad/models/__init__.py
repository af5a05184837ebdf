"""Networks, one architecture a file: ``THIS(inputs, outputs, dims, **settings)``."""

from ._blocks import InstanceNorm
from ._narrow import CONVOLUTION, NORM, width_of, widths, with_widths

__all__ = ["CONVOLUTION", "NORM", "InstanceNorm", "width_of", "widths", "with_widths"]

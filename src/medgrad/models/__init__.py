"""Networks, one architecture a file: ``THIS(inputs, outputs, dims, **settings)``."""

from ._blocks import InstanceNorm
from ._narrow import CONVOLUTION, NORM, narrowed, width_of, widths

__all__ = ["CONVOLUTION", "NORM", "InstanceNorm", "narrowed", "width_of", "widths"]

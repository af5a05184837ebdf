"""Transforms whose weights are learned, one kind a file: ``THIS(shape, *, spacing, count, **settings) -> nn.Module``.

Each is an ordinary model for the loop: its forward looks at nothing of the inputs (b, channels, *shape) but their
shape, and gives the displacement (b, dims, *shape), in elements, that tells where each element of the fixed image lies
in the moving one. ``count`` transforms are learned side by side, one a sample. Fresh weights move nothing.
"""

from ._linear import LinearTransform, rotation_matrices
from ._warp import exponentiate, jacobian_determinants, warp

__all__ = ["LinearTransform", "exponentiate", "jacobian_determinants", "rotation_matrices", "warp"]

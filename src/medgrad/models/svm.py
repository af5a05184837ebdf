"""The support vector machine: linear, or with an RBF or polynomial kernel."""

from collections.abc import Sequence
from math import prod

import torch
from torch import Tensor, nn


class SVM(nn.Module):
    """One score a class; with the hinge loss, or by a solver, those of the widest margin.

    ``shape`` is the size of the images that it takes. The "linear" ``kernel`` has one weight an element and class.
    "rbf", ``exp(-gamma |x - s|^2)``, and "polynomial", ``(gamma x.s + 1)^degree``, compare an image with so many stored
    ``supports``, each of which has one coefficient a class; ``gamma`` 0 is one over the elements. Before they are
    compared, elements are shifted and scaled as those of the stored rows were. A solver stores the rows that support
    the margin; until then they are drawn at random, and only their coefficients learn.
    """

    output_kinds = ("pooled",)

    def __init__(
        self,
        inputs: int,
        outputs: int,
        dims: int,
        *,
        shape: Sequence[int] = (),
        kernel: str = "linear",
        gamma: float = 0.0,
        degree: int = 3,
        supports: int = 64,
    ) -> None:
        super().__init__()
        if len(shape) != dims:
            raise ValueError(f"A machine in {dims}D needs the shape of its images, but got {tuple(shape)}.")
        if kernel not in ("linear", "rbf", "polynomial"):
            raise ValueError(f"A kernel is linear, rbf or polynomial, not {kernel!r}.")
        size = inputs * prod(shape)
        self.kernel, self.gamma, self.degree = kernel, gamma or 1 / size, degree
        self.linear = nn.Linear(size if kernel == "linear" else supports, outputs)
        nn.init.zeros_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)
        if kernel != "linear":
            self.register_buffer("support", torch.randn(supports, size))
            self.register_buffer("shift", torch.zeros(size))
            self.register_buffer("scale", torch.ones(size))

    def forward(self, x: Tensor) -> Tensor:
        rows = x.flatten(1)
        return self.linear(rows if self.kernel == "linear" else self.kernel_values(rows))

    def kernel_values(self, rows: Tensor) -> Tensor:
        """Give the kernel of rows (b, size) with the stored supports, in full precision: (b, supports)."""
        with torch.autocast(rows.device.type, enabled=False):
            rows = (rows.float() - self.get_buffer("shift")) * self.get_buffer("scale")
            support = self.get_buffer("support")
            if self.kernel == "polynomial":
                return (self.gamma * rows @ support.T + 1) ** self.degree
            squares = (rows * rows).sum(1, keepdim=True) + (support * support).sum(1) - 2 * rows @ support.T
            return (-self.gamma * squares.clamp_min(0)).exp()


THIS = SVM

"""Logistic regression: one weight an element and class."""

from collections.abc import Sequence
from math import prod

from torch import Tensor, nn


class Logistic(nn.Module):
    """The linear model: its loss is convex, and its weights can be looked at as an image.

    ``shape`` is the size of the images that it takes.
    """

    output_kinds = ("pooled",)

    def __init__(self, inputs: int, outputs: int, dims: int, *, shape: Sequence[int] = ()) -> None:
        super().__init__()
        if len(shape) != dims:
            raise ValueError(f"A linear model in {dims}D needs the shape of its images, but got {tuple(shape)}.")
        self.linear = nn.Linear(inputs * prod(shape), outputs)
        nn.init.zeros_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x.flatten(1))


THIS = Logistic

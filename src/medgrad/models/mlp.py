"""The multi-layer perceptron: every element to every unit."""

from collections.abc import Sequence
from itertools import pairwise
from math import prod

from torch import Tensor, nn

from ._blocks import SkipBlock


class MLP(nn.Module):
    """Fully connected layers on the flattened image; ``shape`` is the size of the images that it takes.

    With ``skip`` layers that keep their width have a residual connection, without which dozens of layers hardly
    train.
    """

    output_kinds = ("pooled",)

    def __init__(
        self,
        inputs: int,
        outputs: int,
        dims: int,
        *,
        shape: Sequence[int] = (),
        widths: Sequence[int] = (256, 64),
        dropout: float = 0.2,
        normalise: str = "layer",
        skip: bool = False,
    ) -> None:
        super().__init__()
        if len(shape) != dims:
            raise ValueError(f"A perceptron in {dims}D needs the shape of its images, but got {tuple(shape)}.")
        if normalise not in ("layer", "none"):
            raise ValueError(f"A perceptron is normalised by 'layer' or 'none', not {normalise!r}.")
        sizes = [inputs * prod(shape), *widths]
        layers: list[nn.Module] = [nn.Flatten()]
        for a, b in pairwise(sizes):
            layer = [nn.Linear(a, b), *([nn.LayerNorm(b)] if normalise == "layer" else []), nn.GELU()]
            layer.append(nn.Dropout(dropout))
            layers += [SkipBlock(*layer)] if skip and a == b else layer
        self.body = nn.Sequential(*layers)
        self.head = nn.Linear(sizes[-1], outputs)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(x))


THIS = MLP

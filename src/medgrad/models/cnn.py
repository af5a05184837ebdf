"""The plain convolutional network: layers that halve the size and double the channels."""

from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn

from ._blocks import ClassifierHead, ConvBlock


class CNN(nn.Module):
    """A small convolutional classifier: one logit a class for a whole image."""

    output_kinds = ("pooled",)
    backbone = "body"

    def __init__(
        self,
        inputs: int,
        outputs: int,
        dims: int,
        *,
        channels: Sequence[int] = (16, 32, 64),
        dropout: float = 0.0,
        normalise: str = "batch",
    ) -> None:
        super().__init__()
        widths = [inputs, *channels]
        layers: list[nn.Module] = []
        for level, (a, b) in enumerate(pairwise(widths)):
            layers += [ConvBlock(a, b, dims, normalise=normalise)]
            layers += [ConvBlock(b, b, dims, stride=2 if level < len(channels) - 1 else 1, normalise=normalise)]
        self.body = nn.Sequential(*layers)
        self.head = ClassifierHead(channels[-1], outputs, dims, dropout=dropout)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(x))


THIS = CNN

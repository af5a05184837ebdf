"""VGG: stacks of small convolutions with a maximum between them."""

from collections.abc import Sequence

from torch import Tensor, nn

from ._blocks import MAX, ClassifierHead, ConvBlock, SkipBlock


class VGG(nn.Module):
    """One number a class for a whole image. Simonyan and Zisserman, ICLR 2015, with norms and a pooled head.

    ``layers`` has the number of convolutions of each stack: (1, 1, 2, 2, 2) is VGG-11, (2, 2, 3, 3, 3) is VGG-16.
    With ``skip`` a convolution that keeps its width adds what it was given, without which dozens hardly learn.
    """

    output_kinds = ("pooled",)
    backbone = "body"

    def __init__(
        self,
        inputs: int,
        outputs: int,
        dims: int,
        *,
        channels: Sequence[int] = (32, 64, 128, 128),
        layers: Sequence[int] = (1, 1, 2, 2),
        dropout: float = 0.2,
        normalise: str = "batch",
        skip: bool = False,
    ) -> None:
        super().__init__()
        if len(channels) != len(layers):
            raise ValueError(f"{len(channels)} widths need as many stacks, but got {len(layers)}.")
        stacks: list[nn.Module] = []
        width = inputs
        for level, (wide, count) in enumerate(zip(channels, layers, strict=True)):
            if level:
                stacks.append(MAX[dims](2, ceil_mode=True))
            for _ in range(count):
                layer = ConvBlock(width, wide, dims, normalise=normalise)
                stacks.append(SkipBlock(layer) if skip and width == wide else layer)
                width = wide
        self.body = nn.Sequential(*stacks)
        self.head = ClassifierHead(width, outputs, dims, dropout=dropout)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(x))


THIS = VGG

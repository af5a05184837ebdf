"""ResNet: residual networks for classification."""

from collections.abc import Sequence

from torch import Tensor, nn

from ._blocks import MAX, ClassifierHead, ConvBlock, ResidualBlock


class ResNet(nn.Module):
    """One number a class for a whole image. He et al., CVPR 2016: (2, 2, 2, 2) blocks of these widths are ResNet-18.

    ``stem`` says how the image is shrunk first: 1 keeps small images whole, 2 halves, 4 is the original's stride and
    pooling for images of 224 and more.
    """

    output_kinds = ("pooled",)
    backbone = "body"

    def __init__(
        self,
        inputs: int,
        outputs: int,
        dims: int,
        *,
        channels: Sequence[int] = (64, 128, 256, 512),
        blocks: Sequence[int] = (2, 2, 2, 2),
        stem: int = 1,
        dropout: float = 0.0,
        normalise: str = "batch",
    ) -> None:
        super().__init__()
        if len(channels) != len(blocks):
            raise ValueError(f"{len(channels)} widths need as many counts of blocks, but got {len(blocks)}.")
        if stem not in (1, 2, 4):
            raise ValueError(f"A stem shrinks by 1, 2 or 4, not {stem}.")
        first = ConvBlock(
            inputs, channels[0], dims, kernel=3 if stem == 1 else 7, stride=min(stem, 2), normalise=normalise
        )
        body: list[nn.Module] = [first]
        if stem == 4:
            body.append(MAX[dims](3, 2, 1))
        width = channels[0]
        for level, (wide, count) in enumerate(zip(channels, blocks, strict=True)):
            for i in range(count):
                stride = 2 if level and not i else 1
                body.append(ResidualBlock(width, wide, dims, stride=stride, normalise=normalise))
                width = wide
        self.body = nn.Sequential(*body)
        self.head = ClassifierHead(width, outputs, dims, dropout=dropout)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(x))


THIS = ResNet

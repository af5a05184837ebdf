"""Two networks in one module: a generator that segments, and a discriminator of its segmentations."""

from torch import Tensor, nn


class Mean(nn.Module):
    """Give the mean over the image."""

    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(1).mean(1)


class OpposedPair(nn.Module):
    """A convolutional generator and its discriminator; answers come from the generator."""

    output_kinds = ("dense",)
    training_only = ("discriminator",)

    def __init__(self, inputs: int, outputs: int, dims: int, *, channels: int = 4) -> None:
        super().__init__()
        conv = {2: nn.Conv2d, 3: nn.Conv3d}[dims]
        self.generator = nn.Sequential(
            conv(inputs, channels, 3, padding=1), nn.SiLU(), conv(channels, outputs, 3, padding=1)
        )
        self.discriminator = nn.Sequential(conv(outputs, channels, 3), nn.SiLU(), conv(channels, 1, 3), Mean())

    def forward(self, x: Tensor) -> Tensor:
        return self.generator(x)


THIS = OpposedPair

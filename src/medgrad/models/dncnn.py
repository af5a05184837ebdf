"""DnCNN: a chain of convolutions that finds the noise of an image, which is taken away."""

from __future__ import annotations

from torch import Tensor, nn

from ._blocks import ConvBlock, add_to_image, make_conv


class DnCNN(nn.Module):
    """The input (its first ``outputs`` channels) and a correction by ``depth`` convolutions of full resolution.

    The last convolution, which begins at zero, sums up elements alone (kernel 1): over neighbours its first steps
    would be too long by the number of neighbours. Zhang et al., IEEE TIP 2017; they have depth 17 and width 64 in 2D.
    """

    output_kinds = ("dense",)

    def __init__(
        self, inputs: int, outputs: int, dims: int, *, depth: int = 8, width: int = 32, normalise: str = "batch"
    ) -> None:
        super().__init__()
        if depth < 2:
            raise ValueError(f"'depth' of dncnn is at least 2, but it is {depth}.")
        self.correction = nn.Sequential(
            ConvBlock(inputs, width, dims, normalise="none"),
            *(ConvBlock(width, width, dims, normalise=normalise) for _ in range(depth - 2)),
            make_conv(width, outputs, dims, kernel=1, bias=True),
        )
        for parameter in self.correction[-1].parameters():
            nn.init.zeros_(parameter)

    def forward(self, x: Tensor) -> Tensor:
        return add_to_image(x, self.correction(x))


THIS = DnCNN

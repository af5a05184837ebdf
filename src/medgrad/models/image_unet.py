"""A U-Net that answers an image with an image: what it gives is added to its input."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from ..registry import keyword_defaults
from ._blocks import add_to_image
from .unet import UNet


class ImageUNet(nn.Module):
    """The input (its first ``outputs`` channels) and a correction by a U-Net, which begins at zero.

    Batch norm by default: what is corrected depends on how strong the noise of an image is, which the norms of that
    image alone would take away. The sum is in float32, also where the network computes in bfloat16. Settings are those
    of ``unet``. After DRUNet (Zhang et al., TPAMI 2021), which has no norms.
    """

    output_kinds = ("dense",)
    inner = "correction"

    def __init__(
        self,
        inputs: int,
        outputs: int,
        dims: int,
        *,
        channels: Sequence[int] = (32, 64),
        strides: Sequence[Sequence[int]] | None = None,
        encoder: str = "plain",
        blocks: int = 2,
        decoder_blocks: int = 2,
        normalise: str = "batch",
    ) -> None:
        super().__init__()
        self.correction = UNet(
            inputs,
            outputs,
            dims,
            channels=channels,
            strides=strides,
            encoder=encoder,
            blocks=blocks,
            decoder_blocks=decoder_blocks,
            normalise=normalise,
        )
        for parameter in self.correction.heads.parameters():
            nn.init.zeros_(parameter)

    @staticmethod
    def inner_model(settings: Mapping[str, Any]) -> dict[str, Any]:
        """Give the table of the network that begins with what was learned."""
        return {
            "name": "unet",
            **{k: v for k, v in {**keyword_defaults(ImageUNet), **settings}.items() if v is not None},
        }

    def forward(self, x: Tensor) -> Tensor:
        return add_to_image(x, self.correction(x))


THIS = ImageUNet

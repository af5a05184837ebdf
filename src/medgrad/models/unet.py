"""U-Net: encoder and decoder with skip connections at every level."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ._blocks import CONV, UP, ConvBlock, ResidualBlock


class UNet(nn.Module):
    """One number a class for every element.

    ``channels`` has one width a level. ``strides`` (one less) says how each level shrinks along each axis, so that
    thick slices can be spared. ``encoder`` is ``plain`` or ``residual``; ``blocks`` is how many layers (or residual
    blocks) a level of the encoder has. With ``deep_supervision`` the coarser levels answer too
    while training: a tuple, the finest first.

    Ronneberger et al., MICCAI 2015; the plain blocks and deep supervision follow Isensee et al., Nature Methods 2021.
    """

    output_kinds = ("dense",)
    backbone = ""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        dims: int,
        *,
        channels: Sequence[int] = (16, 32, 64, 128),
        strides: Sequence[Sequence[int]] | None = None,
        kernels: Sequence[Sequence[int]] | None = None,
        encoder: str = "plain",
        blocks: int = 2,
        decoder_blocks: int = 2,
        deep_supervision: bool = False,
        normalise: str = "instance",
    ) -> None:
        super().__init__()
        if encoder not in ("plain", "residual"):
            raise ValueError(f"An encoder is 'plain' or 'residual', not {encoder!r}.")
        steps = [tuple(s) for s in strides or [(2,) * dims] * (len(channels) - 1)]
        if len(steps) != len(channels) - 1:
            raise ValueError(f"{len(channels)} levels need {len(channels) - 1} strides, but got {len(steps)}.")
        sizes = [tuple(k) for k in kernels or [(3,) * dims] * len(channels)]
        self.deep_supervision = deep_supervision
        self.down = nn.ModuleList()
        for level, width in enumerate(channels):
            before = channels[level - 1] if level else inputs
            stride = steps[level - 1] if level else (1,) * dims
            self.down.append(self._make_level(before, width, dims, encoder, blocks, sizes[level], stride, normalise))
        self.up = nn.ModuleList()
        self.join = nn.ModuleList()
        self.heads = nn.ModuleList()
        for level in range(len(channels) - 1):
            width, step = channels[level], steps[level]
            self.up.append(UP[dims](channels[level + 1], width, step, step, bias=False))
            self.join.append(
                self._make_level(2 * width, width, dims, "plain", decoder_blocks, sizes[level], (1,) * dims, normalise)
            )
            if level == 0 or (deep_supervision and level < len(channels) - 2):
                self.heads.append(CONV[dims](width, outputs, 1))

    @staticmethod
    def _make_level(
        inputs: int,
        outputs: int,
        dims: int,
        kind: str,
        blocks: int,
        kernel: Sequence[int],
        stride: Sequence[int],
        normalise: str,
    ) -> nn.Sequential:
        make = ConvBlock if kind == "plain" else ResidualBlock
        return nn.Sequential(
            *(
                make(
                    outputs if i else inputs,
                    outputs,
                    dims,
                    kernel=kernel,
                    stride=(1,) * dims if i else stride,
                    normalise=normalise,
                )
                for i in range(blocks)
            )
        )

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, ...]:
        kept = []
        for down in self.down:
            x = down(x)
            kept.append(x)
        answers: list[Tensor] = []
        for level in reversed(range(len(self.up))):
            x = self.up[level](x)
            if x.shape[2:] != kept[level].shape[2:]:
                raise ValueError(
                    f"This network halves its input several times, and {tuple(kept[level].shape[2:])} comes back as "
                    f"{tuple(x.shape[2:])}. Give a patch that the product of the strides divides along each axis."
                )
            x = self.join[level](torch.cat([x, kept[level]], dim=1))
            if level == 0 or (self.training and level < len(self.heads)):
                answers.append(self.heads[level](x))
        return tuple(reversed(answers)) if len(answers) > 1 else answers[0]


THIS = UNet

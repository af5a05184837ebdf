"""RetinaNet: a one-stage detector with dense anchors and the focal loss."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ._anchors import RATIOS, anchor_loss, anchor_sizes
from ._pyramid import FeaturePyramid, HeadTower, apply_head, decode_boxes, element_centres, pack, prior_bias, unpack


class RetinaNet(nn.Module):
    """A one-stage detector with anchors. ``scales`` are their sizes in strides, ``ratios`` how far each is stretched
    (by default, flat ones are and volumes are not).

    Lin et al., ICCV 2017.
    """

    output_kinds = ("pyramid",)
    backbone = "pyramid"
    forms: Tensor

    def __init__(
        self,
        inputs: int,
        outputs: int,
        dims: int,
        *,
        channels: Sequence[int] = (16, 32, 64, 96, 128),
        width: int = 64,
        first: int = 2,
        scales: Sequence[float] = (3.0, 4.2),
        ratios: Sequence[float] = (),
        depth: int = 1,
        encoder: str = "plain",
        blocks: int = 2,
        normalise: str = "",
    ) -> None:
        super().__init__()
        self.dims, self.outputs = dims, outputs
        self.pyramid = FeaturePyramid(
            inputs,
            dims,
            channels=channels,
            width=width,
            first=first,
            encoder=encoder,
            blocks=blocks,
            normalise=normalise,
        )
        self.register_buffer("forms", anchor_sizes(dims, scales, ratios or RATIOS[dims]), persistent=False)
        each = len(self.forms)
        self.shifts = HeadTower(width, each * 2 * dims, dims, depth=depth, normalise=normalise)
        self.classes = HeadTower(width, each * outputs, dims, depth=depth, normalise=normalise, bias=prior_bias(dims))

    def forward(self, x: Tensor) -> Tensor:
        levels = self.pyramid(x)
        where, size = make_anchors(levels, self.pyramid.strides, self.forms)
        shifts = apply_head(levels, self.shifts, 2 * self.dims)
        classes = apply_head(levels, self.classes, self.outputs)
        return pack(where, size, [shifts, classes])

    @staticmethod
    def decode(output: Tensor, *, dims: int, classes: int) -> tuple[Tensor, Tensor]:
        """Decode the output to the corners (b, n, 2 * dims) of all candidates and the probability of each class."""
        said = unpack(output, dims=dims, classes=classes)
        return decode_boxes(said.centre, said.size, said.shift), said.logits.sigmoid()

    @staticmethod
    def loss(output: Tensor, target: dict[str, Tensor], *, classes: int) -> dict[str, Tensor]:
        """Give the focal loss of the classes and the smooth L1 loss of the boxes."""
        said = unpack(output, dims=target["boxes"].shape[-1] // 2, classes=classes)
        naming, placing = anchor_loss(said, target, target["classes"].clamp_min(0))
        return {"class": naming, "box": placing}


def make_anchors(levels: Sequence[Tensor], strides: Sequence[int], sizes_in_strides: Tensor) -> tuple[Tensor, Tensor]:
    """Give the middles and sizes (n, dims) of the anchors of all levels, those of one place side by side."""
    where, size = [], []
    for level, stride in zip(levels, strides, strict=True):
        at = element_centres(level, stride)
        where.append(at.repeat_interleave(len(sizes_in_strides), dim=0))
        size.append((sizes_in_strides * stride).repeat(at.shape[0], 1))
    return torch.cat(where), torch.cat(size)


THIS = RetinaNet

"""Faster R-CNN: region proposals, then a class and a box for each region."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ._anchors import RATIOS, anchor_loss, anchor_sizes, shift_loss
from ._blocks import MAX
from ._pyramid import (
    FeaturePyramid,
    HeadTower,
    apply_head,
    decode_boxes,
    flatten_level,
    pack,
    prior_bias,
    unpack,
    valid_boxes,
)
from .boxes.align import roi_align
from .boxes.overlap import iou
from .retinanet import make_anchors

MATCH_IOU = 0.5


class FasterRCNN(nn.Module):
    """Region proposals, features aligned to each region, then heads for its class and its box.

    The ``proposals`` are the most likely anchors that no neighbour at the same level outdoes; no other suppression is
    needed, so that the whole is one graph. While it learns, the heads see the network's own proposals. The output is
    (second stage, first stage) while learning and the second stage else; its classes are one more than ``outputs``:
    the last is nothing. Ren et al., NeurIPS 2015.
    """

    output_kinds = ("pyramid",)
    backbone = "pyramid"
    chooses_candidates = True
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
        proposals: int = 64,
        size: int = 0,
        hidden: int = 256,
        encoder: str = "plain",
        blocks: int = 2,
        normalise: str = "",
    ) -> None:
        super().__init__()
        self.dims, self.outputs, self.proposals = dims, outputs, proposals
        self.size = (size or (7 if dims == 2 else 4),) * dims
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
        self.shifts = HeadTower(width, each * 2 * dims, dims, depth=1, normalise=normalise)
        self.objects = HeadTower(width, each, dims, depth=1, normalise=normalise, bias=prior_bias(dims))
        self.peak = MAX[dims](3, 1, 1)
        cells = width * self.size[0] ** dims
        self.look = nn.Sequential(
            nn.Linear(cells, hidden), nn.LeakyReLU(0.01), nn.Linear(hidden, hidden), nn.LeakyReLU(0.01)
        )
        self.name = nn.Linear(hidden, outputs + 1)
        self.place = nn.Linear(hidden, 2 * dims)
        nn.init.normal_(self.name.weight, std=0.01)
        nn.init.normal_(self.place.weight, std=0.001)

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        levels = self.pyramid(x)
        where, size = make_anchors(levels, self.pyramid.strides, self.forms)
        seen = [self.objects(level) for level in levels]
        shifts = apply_head(levels, self.shifts, 2 * self.dims)
        first = pack(where, size, [shifts, torch.cat([flatten_level(s, 1) for s in seen], dim=1)])
        regions = self.propose_regions(first, seen, x)
        second = self.second_stage(levels, regions)
        return (second, first) if self.training else second

    def propose_regions(self, first: Tensor, seen: Sequence[Tensor], x: Tensor) -> Tensor:
        """Give the proposed regions (b, k, 2 * dims), clipped to the image."""
        peaks = (
            torch.cat([flatten_level(s.masked_fill(s < self.peak(s), -1e4), 1) for s in seen], dim=1)
            .squeeze(2)
            .detach()
        )
        said = unpack(first.detach(), dims=self.dims, classes=1)
        best = peaks.topk(min(self.proposals, peaks.shape[1]), dim=1).indices
        corners = decode_boxes(said.centre, said.size, said.shift)
        corners = corners.gather(1, best.unsqueeze(2).expand(-1, -1, 2 * self.dims))
        most = torch.stack([torch.as_tensor(n, device=x.device) for n in x.shape[2:]]).float() - 0.5
        low, high = corners.chunk(2, dim=-1)
        low = torch.minimum(low.clamp_min(-0.5), most - 1)
        return torch.cat([low, torch.maximum(torch.minimum(high.clamp_min(-0.5), most), low + 1)], dim=-1)

    def second_stage(self, levels: Sequence[Tensor], regions: Tensor) -> Tensor:
        """Classify and refine each region, from the pyramid level that suits its size."""
        b, k = regions.shape[:2]
        flat = regions.flatten(0, 1)
        which = torch.arange(b, device=flat.device).repeat_interleave(k)
        low, high = flat.chunk(2, dim=-1)
        extent = (high - low).prod(-1) ** (1 / self.dims)
        strides = self.pyramid.strides
        fitting = (extent / (self.size[0] * strides[0])).log2().round().clamp(0, len(levels) - 1)
        seen = flat.new_zeros(len(flat), levels[0].shape[1] * self.size[0] ** self.dims)
        for number, (level, stride) in enumerate(zip(levels, strides, strict=True)):
            here = (flat - (stride - 1) / 2) / stride
            found = roi_align(level.float(), here, which, size=self.size).flatten(1)
            seen = torch.where((fitting == number).unsqueeze(1), found, seen)
        known = self.look(seen)
        fixed = torch.cat([(low + high) / 2, high - low], dim=-1)
        return torch.cat([fixed, self.place(known).float(), self.name(known).float()], dim=-1).unflatten(0, (b, k))

    @staticmethod
    def decode(output: Tensor, *, dims: int, classes: int) -> tuple[Tensor, Tensor]:
        """Decode the output to the corners (b, k, 2 * dims) of all regions and the probability of each class."""
        said = unpack(output, dims=dims, classes=classes + 1)
        return decode_boxes(said.centre, said.size, 0.1 * said.shift), said.logits.softmax(-1)[..., :-1]

    @staticmethod
    def loss(output: Tensor | tuple[Tensor, ...], target: dict[str, Tensor], *, classes: int) -> dict[str, Tensor]:
        """Give the losses of the regions' classes and boxes, and those of the proposals where there are any."""
        second, *first = (output,) if isinstance(output, Tensor) else output
        dims = target["boxes"].shape[-1] // 2
        said = unpack(second, dims=dims, classes=classes + 1)
        regions = torch.cat([said.centre - said.size / 2, said.centre + said.size / 2], dim=-1)
        best, owner = (iou(target["boxes"], regions) * valid_boxes(target).unsqueeze(2)).max(1)
        mine = best >= MATCH_IOU
        kinds = torch.where(mine, target["classes"].clamp_min(0).gather(1, owner), classes)
        naming = F.cross_entropy(said.logits.movedim(-1, 1), kinds, reduction="none").mean()
        terms = {"class": naming, "box": shift_loss(said._replace(shift=0.1 * said.shift), target, owner, mine)}
        if first:
            proposed = unpack(first[0], dims=dims, classes=1)
            finding, placing = anchor_loss(proposed, target, torch.zeros_like(target["classes"]))
            terms |= {"proposal": finding, "proposal_box": placing}
        return terms


THIS = FasterRCNN

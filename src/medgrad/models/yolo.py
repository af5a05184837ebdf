"""YOLO: an anchor-free detector that predicts the distance of each box edge, and the class."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ._pyramid import (
    FeaturePyramid,
    HeadTower,
    apply_head,
    element_centres,
    gather_assigned,
    mean_over_samples,
    pack,
    prior_bias,
    unpack,
    valid_boxes,
)
from .boxes.overlap import iou, matched_overlap

TOP, SHARPNESS, FIT = 10, 0.5, 6.0
LOSS_WEIGHTS = {"class": 1.0, "box": 5.0, "edge": 1.0}


class YOLO(nn.Module):
    """A one-stage detector without anchors, of the YOLO kind, with a head for classes and one for edges.

    The distance of each edge is a distribution over ``bins`` steps of the level's stride. While it learns, each object
    is given to the places that are best at both finding it and naming it; so nothing has to be told about sizes.

    Distributions: Li et al., NeurIPS 2020 (generalised focal loss). Assignment: Feng et al., ICCV 2021 (TOOD).
    """

    output_kinds = ("pyramid",)
    backbone = "pyramid"

    def __init__(
        self,
        inputs: int,
        outputs: int,
        dims: int,
        *,
        channels: Sequence[int] = (16, 32, 64, 96, 128),
        width: int = 64,
        first: int = 2,
        bins: int = 12,
        depth: int = 1,
        encoder: str = "plain",
        blocks: int = 2,
        normalise: str = "",
    ) -> None:
        super().__init__()
        self.dims, self.outputs, self.bins = dims, outputs, bins
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
        self.edges = HeadTower(width, 2 * dims * bins, dims, depth=depth, normalise=normalise, bias=1.0)
        self.classes = HeadTower(width, outputs, dims, depth=depth, normalise=normalise, bias=prior_bias(dims))

    def forward(self, x: Tensor) -> Tensor:
        levels = self.pyramid(x)
        where = [element_centres(level, stride) for level, stride in zip(levels, self.pyramid.strides, strict=True)]
        size = [torch.full_like(w, stride) for w, stride in zip(where, self.pyramid.strides, strict=True)]
        edges = apply_head(levels, self.edges, 2 * self.dims * self.bins)
        classes = apply_head(levels, self.classes, self.outputs)
        return pack(torch.cat(where), torch.cat(size), [edges, classes])

    @staticmethod
    def decode(output: Tensor, *, dims: int, classes: int) -> tuple[Tensor, Tensor]:
        """Decode the output to the corners (b, n, 2 * dims) of all candidates and the probability of each class."""
        said = unpack(output, dims=dims, classes=classes)
        distance = expected_distance(said.shift, dims) * said.size.repeat(1, 1, 2)
        return corners_from_distances(said.centre, distance), said.logits.sigmoid()

    @staticmethod
    def loss(output: Tensor, target: dict[str, Tensor], *, classes: int) -> dict[str, Tensor]:
        """Give the losses of the classes, of the CIoU, and of the edge distributions."""
        truth, there = target["boxes"], valid_boxes(target)
        dims = truth.shape[-1] // 2
        said = unpack(output, dims=dims, classes=classes)
        corners, chance = YOLO.decode(output, dims=dims, classes=classes)
        kinds = target["classes"].clamp_min(0)
        with torch.no_grad():
            owner, share, quality = assign_candidates(said.centre, said.size, corners, chance, truth, kinds, there)
        wanted = torch.zeros_like(said.logits).scatter(2, kinds.gather(1, owner).unsqueeze(2), quality.unsqueeze(2))
        aim = gather_assigned(truth, owner)
        total = share.sum(1)
        naming = F.binary_cross_entropy_with_logits(said.logits, wanted, reduction="none").sum((1, 2))
        placing = ((1 - matched_overlap("ciou", corners, aim)) * share).sum(1)
        away = torch.cat([said.centre - aim[..., :dims], aim[..., dims:] - said.centre], dim=-1)
        edge = (distribution_focal_loss(said.shift, away / said.size.repeat(1, 1, 2), dims) * share).sum(1)
        terms = {"class": naming, "box": placing, "edge": edge}
        return {name: LOSS_WEIGHTS[name] * mean_over_samples(term, total) for name, term in terms.items()}


def expected_distance(shift: Tensor, dims: int) -> Tensor:
    """Give the mean of each edge's distribution (b, n, 2 * dims), in strides."""
    share = shift.unflatten(-1, (2 * dims, -1)).softmax(-1)
    return share @ torch.arange(share.shape[-1], device=share.device, dtype=share.dtype)


def corners_from_distances(centre: Tensor, distance: Tensor) -> Tensor:
    """Give the corners at a distance below and above each centre."""
    below, above = distance.chunk(2, dim=-1)
    return torch.cat([centre - below, centre + above], dim=-1)


def distribution_focal_loss(shift: Tensor, distance: Tensor, dims: int) -> Tensor:
    """Give the distribution focal loss: cross-entropy with the two bins next to the true distance, mean over edges."""
    share = shift.unflatten(-1, (2 * dims, -1)).log_softmax(-1)
    last = share.shape[-1] - 1
    distance = distance.clamp(0, last - 0.01)
    below = distance.floor()
    part = distance - below
    low = share.gather(-1, below.long().unsqueeze(-1)).squeeze(-1)
    high = share.gather(-1, below.long().unsqueeze(-1) + 1).squeeze(-1)
    return -(low * (1 - part) + high * part).mean(-1)


def assign_candidates(
    centre: Tensor,
    size: Tensor,
    corners: Tensor,
    probabilities: Tensor,
    truth: Tensor,
    classes: Tensor,
    is_object: Tensor,
) -> tuple[Tensor, Tensor, Tensor]:
    """Assign candidates (b, n) to objects (TOOD): the object, the weight (0 if negative), and the target class score.

    Among the candidates inside an object, those with the highest product of class probability and IoU are
    positive; the best has weight 1. The target class score is the weight times the best IoU of the object.
    """
    n = centre.shape[1]
    low, high = truth.chunk(2, dim=-1)
    middle, half = (low + high) / 2, (high - low) / 2
    room = torch.maximum(half, size.amin((1, 2), keepdim=True))
    inside = ((centre.unsqueeze(1) - middle.unsqueeze(2)).abs() < room.unsqueeze(2)).all(-1) & is_object.unsqueeze(2)
    overlap = iou(truth, corners).clamp(0, 1) * inside
    named = probabilities.gather(2, classes.unsqueeze(1).expand(-1, n, -1)).mT
    merit = named**SHARPNESS * overlap**FIT
    near = 1 / (1 + ((centre.unsqueeze(1) - middle.unsqueeze(2)) / room.unsqueeze(2)).square().sum(-1))
    ranked = (merit + 1e-9 * near) * inside
    best = ranked.topk(min(TOP, n), dim=2)
    chosen = torch.zeros_like(ranked).scatter(2, best.indices, best.values) > 0
    rival = torch.where(chosen, overlap + 1e-6 * near, -1.0)
    owner = rival.argmax(1)
    kept = chosen & (torch.arange(truth.shape[1], device=owner.device).view(1, -1, 1) == owner.unsqueeze(1))
    ranked = ranked * kept
    share = ranked / ranked.amax(2, keepdim=True).clamp_min(1e-12)
    return owner, share.amax(1), (share * (overlap * kept).amax(2, keepdim=True)).amax(1)


THIS = YOLO

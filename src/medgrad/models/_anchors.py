"""Anchor boxes at each location of a feature pyramid, and their assignment to objects."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import torch
import torch.nn.functional as F
from torch import Tensor

from ._pyramid import Candidates, encode_boxes, gather_assigned, mean_over_samples, valid_boxes
from .boxes.overlap import iou

NEAR, FAR = 0.5, 0.4
"""An anchor is for an object that it overlaps by ``NEAR`` or more, for none below ``FAR``; between, it is left out."""
RATIOS: dict[int, tuple[float, ...]] = {2: (1.0, 1.8), 3: (1.0,)}
ALPHA, GAMMA = 0.25, 2.0


def anchor_sizes(dims: int, scales: Sequence[float], ratios: Sequence[float]) -> Tensor:
    """Give the anchor sizes of one location (a, dims), in strides: each scale, stretched along each axis by each ratio.

    >>> anchor_sizes(2, (4,), (1, 2)).round().tolist()
    [[4.0, 4.0], [6.0, 3.0], [3.0, 6.0]]
    """
    found = []
    for scale, ratio in product(scales, ratios):
        for axis in range(1 if ratio == 1 else dims):
            stretch = torch.full((dims,), float(ratio) ** (-1 / dims))
            stretch[axis] = float(ratio) ** (1 - 1 / dims)
            found.append(scale * stretch)
    return torch.stack(found)


def assign(
    candidates: Candidates, target: dict[str, Tensor], *, match_iou: float = NEAR, background_iou: float = FAR
) -> tuple[Tensor, Tensor, Tensor]:
    """Assign each candidate (b, n) to the object that it overlaps most; also give whether it is positive and negative.

    The best candidate of an object is positive, however little they overlap.
    """
    truth, there = target["boxes"], valid_boxes(target)
    anchors = torch.cat([candidates.centre - candidates.size / 2, candidates.centre + candidates.size / 2], dim=-1)
    overlap = iou(truth, anchors) * there.unsqueeze(2)
    best, owner = overlap.max(1)
    top = overlap.amax(2, keepdim=True)
    forced = (overlap >= top - 1e-6) & (top > 1e-3)
    owner = torch.where(forced.any(1), forced.float().argmax(1), owner)
    return owner, (best >= match_iou) | forced.any(1), (best < background_iou) & ~forced.any(1)


def focal_loss(logits: Tensor, wanted: Tensor) -> Tensor:
    """Give the focal loss of binary classes. Lin et al., ICCV 2017."""
    chance = logits.sigmoid()
    plain = F.binary_cross_entropy_with_logits(logits, wanted, reduction="none")
    right = chance * wanted + (1 - chance) * (1 - wanted)
    return (ALPHA * wanted + (1 - ALPHA) * (1 - wanted)) * (1 - right) ** GAMMA * plain


def anchor_loss(candidates: Candidates, target: dict[str, Tensor], classes: Tensor) -> tuple[Tensor, Tensor]:
    """Give the focal loss of the classes and the smooth L1 loss of the box shifts."""
    owner, mine, nobodys = assign(candidates, target)
    ones = mine.unsqueeze(2).to(candidates.logits.dtype)
    wanted = torch.zeros_like(candidates.logits).scatter(2, classes.gather(1, owner).unsqueeze(2), ones)
    counted = (mine | nobodys).unsqueeze(2)
    naming = (focal_loss(candidates.logits, wanted) * counted).sum((1, 2))
    return mean_over_samples(naming, mine.sum(1)), shift_loss(candidates, target, owner, mine)


def shift_loss(candidates: Candidates, target: dict[str, Tensor], assigned: Tensor, is_positive: Tensor) -> Tensor:
    """Give the smooth L1 loss of the box shifts of positive candidates."""
    aim = gather_assigned(target["boxes"], assigned)
    right = torch.where(is_positive.unsqueeze(2), encode_boxes(candidates.centre, candidates.size, aim), 0.0)
    off = F.smooth_l1_loss(candidates.shift, right, beta=0.1, reduction="none").sum(-1)
    return mean_over_samples((off * is_positive).sum(1), is_positive.sum(1))

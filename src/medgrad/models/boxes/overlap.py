"""Box overlap: IoU, GIoU, DIoU and CIoU, in two and three dimensions.

Everything is computed axis by axis, so that no (n, m, axes) tensor is made, and in 32 bits at least. An empty
box has no volume and no overlap: its IoU is 0, and values and gradients are finite everywhere.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import combinations
from typing import Literal

import torch
from torch import Tensor

from ...data import box_overlap

Kind = Literal["iou", "giou", "diou", "ciou"]

MIN_SIDE = 1e-6


def volumes(boxes: Tensor) -> Tensor:
    """Give the area or the volume of boxes (..., 2 * dims), 0 for those that are empty.

    >>> volumes(torch.tensor([[0.0, 0.0, 2.0, 3.0], [1.0, 1.0, 0.0, 5.0]])).tolist()
    [6.0, 0.0]
    """
    found: Tensor = box_overlap.volumes(in_full(boxes), torch)
    return found


def iou(a: Tensor, b: Tensor) -> Tensor:
    """Give intersection over union of all boxes a (..., n, 2 * dims) with all b (..., m, 2 * dims), (..., n, m).

    >>> iou(torch.tensor([[0.0, 0.0, 2.0, 2.0]]), torch.tensor([[1.0, 0.0, 2.0, 2.0], [5.0, 5.0, 6.0, 6.0]])).tolist()
    [[0.5, 0.0]]
    """
    found: Tensor = box_overlap.iou(in_full(a), in_full(b), torch)
    return found


def giou(a: Tensor, b: Tensor) -> Tensor:
    """Give the generalised intersection over union of all pairs, (..., n, m), from -1 to 1."""
    return matched_overlap("giou", a.unsqueeze(-2), b.unsqueeze(-3))


def matched_overlap(kind: Kind, a: Tensor, b: Tensor) -> Tensor:
    """Give the overlap of each box of a with the box of b at the same index; both (..., 2 * dims).

    ``giou`` (Rezatofighi 2019) subtracts the share of the enclosing box that neither fills. ``diou`` (Zheng 2020)
    subtracts the squared distance of the centres over the squared diagonal of the enclosing box; ``ciou`` also a
    term for the proportions: the squared differences of the angles atan(side / other side), averaged over the
    three pairs of axes in 3D (in 2D there is one pair).
    """
    low_a, high_a = box_overlap.corners_by_axis(in_full(a))
    low_b, high_b = box_overlap.corners_by_axis(in_full(b))
    shared, union = box_overlap.intersection_and_union((low_a, high_a), (low_b, high_b), torch)
    plain: Tensor = shared / _nonzero_divisor(union)
    if kind == "iou":
        return plain
    around = _side_lengths(_map_axes(torch.minimum, low_a, low_b), _map_axes(torch.maximum, high_a, high_b))
    if kind == "giou":
        hull = _product(around)
        return plain - (hull - union) / _nonzero_divisor(hull)
    middles_a, middles_b = _map_axes(torch.add, low_a, high_a), _map_axes(torch.add, low_b, high_b)
    apart = _sum([(p - q) ** 2 / 4 for p, q in zip(middles_a, middles_b, strict=True)])
    near = plain - apart / _nonzero_divisor(_sum([s**2 for s in around]))
    if kind == "diou":
        return near
    if kind != "ciou":
        raise ValueError(f"{kind!r} is no measure of overlap. Choose iou, giou, diou or ciou.")
    return near - _aspect_ratio_term(plain, _side_lengths(low_a, high_a), _side_lengths(low_b, high_b))


def _aspect_ratio_term(plain: Tensor, sides_a: list[Tensor], sides_b: list[Tensor]) -> Tensor:
    """Give the term of ``ciou`` for proportions (Zheng 2020, equations 8 to 10); its weight bears no gradient."""
    pairs = list(combinations(range(len(sides_a)), 2))
    turned = [(_angle(sides_a[i], sides_a[j]) - _angle(sides_b[i], sides_b[j])) ** 2 for i, j in pairs]
    differ = 4 / math.pi**2 * _sum(turned) / len(pairs)
    weight = (differ / _nonzero_divisor(1 - plain + differ)).detach()
    return weight * differ


def _angle(side: Tensor, other: Tensor) -> Tensor:
    return torch.atan2(side.clamp_min(MIN_SIDE), other.clamp_min(MIN_SIDE))


def in_full(boxes: Tensor) -> Tensor:
    """Give boxes in 32 bits at least."""
    return boxes.to(torch.promote_types(boxes.dtype, torch.float32))


def _side_lengths(low: list[Tensor], high: list[Tensor]) -> list[Tensor]:
    return [(b - a).clamp_min(0) for a, b in zip(low, high, strict=True)]


def _map_axes(choose: Callable[[Tensor, Tensor], Tensor], p: list[Tensor], q: list[Tensor]) -> list[Tensor]:
    return [choose(a, b) for a, b in zip(p, q, strict=True)]


def _product(factors: list[Tensor]) -> Tensor:
    whole = factors[0]
    for factor in factors[1:]:
        whole = whole * factor
    return whole


def _sum(terms: list[Tensor]) -> Tensor:
    whole = terms[0]
    for term in terms[1:]:
        whole = whole + term
    return whole


def _nonzero_divisor(divisor: Tensor) -> Tensor:
    """Put 1 where a divisor is not above 0, so that nothing over nothing is nothing."""
    return torch.where(divisor > 0, divisor, 1.0)

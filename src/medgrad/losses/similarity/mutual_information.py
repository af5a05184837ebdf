"""Mutual information: how much knowing one image tells of the other, whatever the relation of their contrasts."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class MutualInformation:
    """The mutual information of both images in nats, negated, from a joint histogram of ``bins`` by ``bins``.

    Each image is scaled to its own range. An element of the fixed image falls into one bin, one of the moved image into
    four, by a cubic B-spline, so that the measure has a gradient (Mattes and others 2003, IEEE TMI 22(1), equation 5).
    """

    bins: int = 32

    def __call__(self, moved: Tensor, fixed: Tensor, weight: Tensor | None = None) -> Tensor:
        weights = torch.ones_like(fixed) if weight is None else weight.expand_as(fixed)
        return -histogram_information(
            self.joint_histogram(moved.flatten(1), fixed.flatten(1), weights.flatten(1))
        ).mean()

    def joint_histogram(self, moved: Tensor, fixed: Tensor, weight: Tensor) -> Tensor:
        """Give the joint histogram (b, bins of fixed, bins of moved), each of sum 1; images are (b, n)."""
        row = (scale_to_range(fixed) * self.bins).clamp(0, self.bins - 1).floor()
        at = scale_to_range(moved) * (self.bins - 4) + 1.5
        left = at.detach().floor()
        shares = torch.stack(cubic_bspline(at - left), dim=-1) * weight.unsqueeze(-1)  # (b, n, 4)
        column = (left - 1).unsqueeze(-1) + torch.arange(4, device=moved.device, dtype=left.dtype)
        place = (row.unsqueeze(-1) * self.bins + column.clamp(0, self.bins - 1)).long()
        counts = torch.zeros_like(shares[:, :1, 0]).repeat(1, self.bins**2)
        counts = counts.scatter_add(1, place.flatten(1), shares.flatten(1))
        return (counts / weight.sum(1, keepdim=True).clamp_min(1e-6)).unflatten(1, (self.bins, self.bins))


def scale_to_range(values: Tensor) -> Tensor:
    """Scale each row of (b, n) values to 0 up to 1; the range itself counts as given."""
    low, high = values.detach().amin(1, keepdim=True), values.detach().amax(1, keepdim=True)
    return (values - low) / (high - low).clamp_min(1e-6)


def cubic_bspline(t: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Give the four shares of a cubic B-spline at a place between two bins; they sum to 1."""
    u = 1 - t
    return u**3 / 6, (3 * t**3 - 6 * t**2 + 4) / 6, (3 * u**3 - 6 * u**2 + 4) / 6, t**3 / 6


def histogram_information(joint: Tensor) -> Tensor:
    """Give the mutual information of each joint histogram (b, rows, columns).

    >>> float(histogram_information(torch.eye(2)[None] / 2).mul(1000).round())
    693.0
    """
    apart = joint.sum(1, keepdim=True) * joint.sum(2, keepdim=True)
    small = 1e-9
    return (joint * ((joint + small) / (apart + small)).log()).sum((1, 2))


THIS = MutualInformation

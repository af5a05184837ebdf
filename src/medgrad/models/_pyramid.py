"""Shared by the detectors: the feature pyramid, and candidates with their location."""

from __future__ import annotations

from collections.abc import Sequence
from math import log
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ._blocks import CONV, ConvBlock, ResidualBlock, make_conv

PRIOR_PROBABILITY = {2: 0.01, 3: 0.001}
"""How likely a network holds any place to be an object before it has learned, by the axes: volumes have many places."""


class Candidates(NamedTuple):
    """The output of a detector by columns: centre, size, box shift and class logits of each candidate.

    ``centre`` and ``size`` are (b, n, dims), in elements of the input; ``shift`` (b, n, numbers); ``logits`` one
    a class.
    """

    centre: Tensor
    size: Tensor
    shift: Tensor
    logits: Tensor


def unpack(output: Tensor, *, dims: int, classes: int) -> Candidates:
    """Split a detector's output (b, n, columns) into its columns."""
    numbers = output.shape[-1] - 2 * dims - classes
    return Candidates(*output.split([dims, dims, numbers, classes], dim=-1))


class FeaturePyramid(nn.Module):
    """A feature pyramid network. Lin et al., CVPR 2017.

    ``channels`` has one width a level of the encoder, the first at full resolution. The output has the levels
    from ``first`` on, each ``width`` wide, with the strides in ``strides``.
    """

    def __init__(
        self,
        inputs: int,
        dims: int,
        *,
        channels: Sequence[int],
        width: int,
        first: int,
        encoder: str = "plain",
        blocks: int = 2,
        normalise: str = "",
    ) -> None:
        super().__init__()
        if not 0 < first < len(channels):
            raise ValueError(f"The first level of {len(channels)} that comes out is 1 to {len(channels) - 1}.")
        if encoder not in ("plain", "residual"):
            raise ValueError(f"An encoder is 'plain' or 'residual', not {encoder!r}.")
        kind = normalise or ("batch" if dims == 2 else "instance")
        make = ConvBlock if encoder == "plain" else ResidualBlock
        self.dims, self.first = dims, first
        self.strides = [2**level for level in range(first, len(channels))]
        self.down = nn.ModuleList()
        for level, wide in enumerate(channels):
            before = channels[level - 1] if level else inputs
            layers: list[nn.Module] = [ConvBlock(before, wide, dims, stride=2 if level else 1, normalise=kind)]
            layers += [make(wide, wide, dims, normalise=kind) for _ in range(blocks - 1 if level else 0)]
            self.down.append(nn.Sequential(*layers))
        self.side = nn.ModuleList(make_conv(wide, width, dims, kernel=1, bias=True) for wide in channels[first:])
        self.smooth = nn.ModuleList(ConvBlock(width, width, dims, normalise=kind) for _ in channels[first:])

    def forward(self, x: Tensor) -> list[Tensor]:
        kept = []
        for down in self.down:
            x = down(x)
            kept.append(x)
        levels: list[Tensor] = []
        for side, seen in zip(reversed(self.side), reversed(kept[self.first :]), strict=True):
            here = side(seen)
            if levels:
                here = here + F.interpolate(levels[-1], size=here.shape[2:], mode="nearest")
            levels.append(here)
        return [smooth(level) for smooth, level in zip(self.smooth, reversed(levels), strict=True)]


class HeadTower(nn.Module):
    """A detection head: a few layers and a last convolution, shared by all pyramid levels."""

    def __init__(
        self, width: int, outputs: int, dims: int, *, depth: int, normalise: str = "", bias: float = 0.0
    ) -> None:
        super().__init__()
        normalise = normalise or "group"  # of each image alone, since the levels differ in their statistics
        self.body = nn.Sequential(*(ConvBlock(width, width, dims, normalise=normalise) for _ in range(depth)))
        self.last = CONV[dims](width, outputs, 1)
        nn.init.normal_(self.last.weight, std=0.01)
        nn.init.constant_(self.last.bias, bias)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.body(x))


def prior_bias(dims: int) -> float:
    """Give the logit bias of the prior probability of an object."""
    return log(PRIOR_PROBABILITY[dims] / (1 - PRIOR_PROBABILITY[dims]))


def flatten_level(level: Tensor, n_columns: int) -> Tensor:
    """Turn (b, several * columns, *shape) into (b, places * several, columns)."""
    flat = level.flatten(2).movedim(1, 2)
    return flat.reshape(len(level), -1, n_columns)


def apply_head(levels: Sequence[Tensor], head: nn.Module, n_columns: int) -> Tensor:
    """Apply a head to every level and concatenate the rows."""
    return torch.cat([flatten_level(head(level), n_columns) for level in levels], dim=1)


def gather_assigned(truth: Tensor, assigned: Tensor) -> Tensor:
    """Gather for each candidate the box of the object (b, n) that it is assigned to, from (b, m, columns)."""
    return truth.gather(1, assigned.unsqueeze(2).expand(-1, -1, truth.shape[-1]))


def element_centres(level: Tensor, stride: int) -> Tensor:
    """Give the centre of each element of a level, (places, dims), in elements of the input."""
    lines = [
        torch.arange(s, device=level.device, dtype=torch.float32) * stride + (stride - 1) / 2 for s in level.shape[2:]
    ]
    return torch.stack(torch.meshgrid(*lines, indexing="ij"), dim=-1).flatten(0, -2)


def pack(centres: Tensor, sizes: Tensor, predictions: Sequence[Tensor]) -> Tensor:
    """Put centres and sizes (n, dims) before the predictions (b, n, ...): the output of a detector."""
    b = len(predictions[0])
    fixed = torch.cat([centres, sizes], dim=-1).to(torch.float32)
    return torch.cat([fixed.expand(b, *fixed.shape), *(s.float() for s in predictions)], dim=-1)


def decode_boxes(centre: Tensor, size: Tensor, shift: Tensor) -> Tensor:
    """Decode box shifts to corners: centres move by shares of the size, sizes scale by the exponential."""
    dims = centre.shape[-1]
    middle = centre + shift[..., :dims] * size
    half = size * shift[..., dims:].clamp(-4, 4).exp() / 2
    return torch.cat([middle - half, middle + half], dim=-1)


def encode_boxes(centre: Tensor, size: Tensor, corners: Tensor) -> Tensor:
    """Encode boxes as shifts from anchors: the inverse of ``decode_boxes``."""
    low, high = corners.chunk(2, dim=-1)
    extent = (high - low).clamp_min(1e-3)
    return torch.cat([((low + high) / 2 - centre) / size, (extent / size).log()], dim=-1)


def valid_boxes(target: dict[str, Tensor]) -> Tensor:
    """Tell which of the boxes (b, m, 2 * dims) of a target are real: those that have a class and a size."""
    low, high = target["boxes"].chunk(2, dim=-1)
    return (high > low).all(-1) & (target["classes"] >= 0)


def mean_over_samples(summed: Tensor, count: Tensor) -> Tensor:
    """Divide each sample's sum (b,) by its count, at least one, and average: every image counts the same."""
    return (summed / count.clamp_min(1)).mean()

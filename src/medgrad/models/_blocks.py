"""Building blocks shared by the networks, in two and three dimensions."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

CONV: dict[int, Any] = {2: nn.Conv2d, 3: nn.Conv3d}
UP: dict[int, Any] = {2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}
POOL = {2: nn.AdaptiveAvgPool2d, 3: nn.AdaptiveAvgPool3d}
MAX = {2: nn.MaxPool2d, 3: nn.MaxPool3d}
BATCH_NORM = {2: nn.BatchNorm2d, 3: nn.BatchNorm3d}

Size = int | Sequence[int]

CACHE_CHANNELS = 128
"""Fewer channels than half of these are slow in torch's batch norm, and are taken together with their neighbours'."""
EVEN_CHANNELS = 16
"""With a multiple of so many channels threads do not write into one line of the cache, and less is gained."""
MIN_ELEMENTS = {True: 2**19, False: 2**16}
"""From so many elements on this pays, of channels that are even so and of others."""
MIN_BFLOAT16_ELEMENTS = 2**18
"""The same in bfloat16, of others: all is done in float32, for the means would be rounded."""


class InstanceNorm(nn.Module):
    """Instance norm, computed as the batch norm of each sample alone.

    The same numbers as torch's, but torch's own kernel leaves the channels-last order and costs up to five times
    more on a processor. Splitting (not slicing) keeps the backward pass to one concatenation.
    """

    weight: nn.Parameter | None
    bias: nn.Parameter | None

    def __init__(self, channels: int, eps: float = 1e-5, *, affine: bool = True) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels)) if affine else None
        self.bias = nn.Parameter(torch.zeros(channels)) if affine else None
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        samples, _, *size = x.shape
        if torch.compiler.is_compiling() or torch.onnx.is_in_onnx_export() or prod(size) == 1:
            return F.instance_norm(x, weight=self.weight, bias=self.bias, eps=self.eps) if prod(size) > 1 else x
        normed = self.norm_sample_folded if is_folding_faster(x) else self.norm_sample
        return normed(x) if samples == 1 else torch.cat([normed(one) for one in x.split(1)])

    def norm_sample(self, x: Tensor) -> Tensor:
        """Norm one sample with torch's batch norm."""
        return F.batch_norm(x, None, None, self.weight, self.bias, True, 0.0, self.eps)

    def norm_sample_folded(self, x: Tensor) -> Tensor:
        """Normalise one sample in channels-last order, with neighbouring voxels folded into the channel axis.

        Their means and variances are computed apart and then pooled, which also loses fewer digits.
        """
        channels, voxels = x.shape[1], prod(x.shape[2:])
        times = voxels_per_fold(channels, voxels)
        wide = x.movedim(1, -1).view(voxels // times, times * channels)
        wide = wide.float() if x.dtype == torch.bfloat16 else wide
        means, variances = (s.view(times, channels) for s in torch.batch_norm_update_stats(wide, None, None, 0.0))
        mean = means.mean(0)
        slope = (variances.mean(0) + (means - mean).square().mean(0) + self.eps).rsqrt()
        if self.weight is not None:
            slope = slope * self.weight
        shift = -mean * slope if self.bias is None else self.bias - mean * slope
        out = torch.addcmul(shift.repeat(times), wide, slope.repeat(times)).to(x.dtype)
        return out.view(*x.shape[:1], *x.shape[2:], channels).movedim(-1, 1)


def voxels_per_fold(channels: int, voxels: int) -> int:
    """Choose how many neighbouring voxels to fold into the channel axis, to fill a processor's vector width.

    >>> voxels_per_fold(5, 40 * 56 * 40)
    16
    """
    times = 1
    while 2 * times * channels <= CACHE_CHANNELS and voxels % (2 * times) == 0:
        times *= 2
    return times


def is_folding_faster(x: Tensor) -> bool:
    """Tell whether torch's batch norm is slow for this input: few channels, many voxels, channels last, on a CPU.

    Only in inference: the statistics have no backward pass.
    """
    channels, voxels = x.shape[1], prod(x.shape[2:])
    if 2 * channels > CACHE_CHANNELS or channels * voxels < MIN_ELEMENTS[bool(channels % EVEN_CHANNELS == 0)]:
        return False
    if torch.is_grad_enabled() or x.device.type != "cpu":
        return False
    if x.dtype == torch.bfloat16 and (channels >= EVEN_CHANNELS or channels * voxels < MIN_BFLOAT16_ELEMENTS):
        return False
    return x.movedim(1, -1).is_contiguous()


def replace_instance_norms(network: nn.Module) -> nn.Module:
    """Replace the instance norms of a network by the faster one, in place; names and weights stay as they are."""
    for parent in list(network.modules()):
        for name, child in parent.named_children():
            if isinstance(child, (nn.InstanceNorm2d, nn.InstanceNorm3d)) and not child.track_running_stats:
                ours = InstanceNorm(child.num_features, child.eps, affine=child.affine)
                ours.weight, ours.bias = child.weight, child.bias
                setattr(parent, name, ours)
    return network


def make_norm(kind: str, channels: int, dims: int) -> nn.Module:
    """Make a normalisation by its name: ``instance``, ``batch``, ``group`` or ``none``."""
    if kind == "instance":
        return InstanceNorm(channels)
    if kind == "batch":
        return BATCH_NORM[dims](channels)
    if kind == "group":
        return nn.GroupNorm(max(g for g in (8, 4, 2, 1) if channels % g == 0), channels)
    if kind == "none":
        return nn.Identity()
    raise ValueError(f"A norm is 'instance', 'batch', 'group' or 'none', not {kind!r}.")


def make_conv(
    inputs: int, outputs: int, dims: int, *, kernel: Size = 3, stride: Size = 1, bias: bool = False
) -> nn.Module:
    """Make a convolution that keeps the size, but for the stride."""
    sizes = (kernel,) * dims if isinstance(kernel, int) else tuple(kernel)
    strides = (stride,) * dims if isinstance(stride, int) else tuple(stride)
    layer = CONV[dims](inputs, outputs, sizes, strides, tuple(k // 2 for k in sizes), bias=bias)
    nn.init.kaiming_normal_(layer.weight, a=0.01)
    return layer


class ConvBlock(nn.Sequential):
    """Convolution, norm, leaky rectifier."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        dims: int,
        *,
        kernel: Size = 3,
        stride: Size = 1,
        normalise: str = "instance",
        active: bool = True,
    ) -> None:
        super().__init__(
            make_conv(inputs, outputs, dims, kernel=kernel, stride=stride, bias=normalise == "none"),
            make_norm(normalise, outputs, dims),
            nn.LeakyReLU(0.01, inplace=True) if active else nn.Identity(),
        )


class SkipBlock(nn.Sequential):
    """Layers with a residual connection around them."""

    def forward(self, x: Tensor) -> Tensor:
        return x + super().forward(x)


class ResidualBlock(nn.Module):
    """A residual block: two layers and a skip connection."""

    def __init__(
        self, inputs: int, outputs: int, dims: int, *, kernel: Size = 3, stride: Size = 1, normalise: str = "instance"
    ) -> None:
        super().__init__()
        self.first = ConvBlock(inputs, outputs, dims, kernel=kernel, stride=stride, normalise=normalise)
        self.second = ConvBlock(outputs, outputs, dims, kernel=kernel, normalise=normalise, active=False)
        same = inputs == outputs and (stride == 1 or (not isinstance(stride, int) and set(stride) == {1}))
        self.around = (
            nn.Identity()
            if same
            else ConvBlock(inputs, outputs, dims, kernel=1, stride=stride, normalise=normalise, active=False)
        )
        self.active = nn.LeakyReLU(0.01, inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.active(self.second(self.first(x)) + self.around(x))


def add_to_image(image: Tensor, correction: Tensor) -> Tensor:
    """Add a correction to as many first channels of an image, or to their mean where it has fewer; in float32."""
    outputs = correction.shape[1]
    begun = image[:, :outputs] if image.shape[1] >= outputs else image.mean(1, keepdim=True)
    return begun.float() + correction.float()


def join_label(x: Tensor, label: Tensor | None = None) -> Tensor:
    """Give an image with one more channel for each number of a label (b, labels), the same everywhere."""
    if label is None:
        return x
    planes = label.to(x).reshape(*label.shape, *[1] * (x.ndim - 2)).expand(-1, -1, *x.shape[2:])
    return torch.cat([x, planes], dim=1)


class ClassifierHead(nn.Sequential):
    """Global average pooling and a linear layer that starts at zero."""

    def __init__(self, inputs: int, outputs: int, dims: int, *, dropout: float = 0.0) -> None:
        last = nn.Linear(inputs, outputs)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        super().__init__(POOL[dims](1), nn.Flatten(), nn.Dropout(dropout), last)

"""Convolutions on a CPU: workarounds for errors in torch, and faster forms of slow cases."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

CONVOLUTIONS = (F.conv2d, F.conv3d)


TRANSPOSED_CONVOLUTIONS = (F.conv_transpose2d, F.conv_transpose3d)

CHANNEL_BLOCK = 16
"""The most channels that a processor's kernels take at once."""


ONEDNN_MIN_ELEMENTS = 20480
"""Up to so many numbers along its first four axes torch takes one sample for too small for oneDNN, whatever follows."""

NEIGHBOUR_COUNTS = (4, 8)
"""The fewest neighbours that it pays to compute together, and the most."""

LARGE, CACHED = 2**16, 2**24
"""That pays from so many elements on, in up to so many bytes."""


class SafeConvolutions(TorchFunctionMode):
    """Replace convolutions on a CPU: two that torch 2.13 with oneDNN computes wrongly, and three that are slow.

    In bfloat16, where the image is shorter than the kernel, the gradient of the kernel reads and writes memory
    out of bounds: it is wrong, often not finite, and may end the process. These convolutions run in float32;
    they are tiny, so this costs nothing.

    With a kernel of one element, a stride and few channels, in channels-last order, the gradient of the kernel
    writes past its workspace (oneDNN's issue 6035). Such a convolution reads only every stride-th element:
    these are selected first, and the convolution then has no stride.

    For a single float32 volume with few channels, torch chooses code that is several times slower than oneDNN.
    At inference oneDNN is called directly. Transposed convolutions of one sample have the same problem. Where
    their stride equals their kernel size, the blocks do not overlap, so the convolution is a product of two
    matrices: two to eight times as fast, and the output is already channels-last.

    For a large volume with few channels, neighbouring elements are computed together at inference: up to twice
    as fast.
    """

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in TRANSPOSED_CONVOLUTIONS and is_blockwise_transposed(args, kwargs):
            return transposed_convolution_by_matmul(*cast_arguments(args))
        if func not in CONVOLUTIONS:
            return func(*args, **(kwargs or {}))
        inputs, kernel = args[0], args[1]
        if any(n < k for n, k in zip(inputs.shape[2:], kernel.shape[2:], strict=False)):
            with torch.autocast("cpu", enabled=False):
                return func(*[a.float() if isinstance(a, Tensor) else a for a in args], **(kwargs or {}))
        count = count_neighbours(inputs, kernel, args, kwargs)
        if count > 1:
            return fold_neighbours(*cast_arguments(args), n_neighbours=count)
        if needs_onednn(inputs, kernel, args, kwargs):
            return convolve_with_onednn(inputs, kernel, *args[2:])
        if is_strided_pointwise(kernel, args, kwargs):
            steps = per_axis(args[3], kernel.ndim - 2)
            strided_inputs = inputs[(slice(None), slice(None), *(slice(None, None, s) for s in steps))]
            return func(strided_inputs, *args[1:3])
        return func(*args, **(kwargs or {}))


def needs_onednn(inputs: Tensor, kernel: Tensor, args: Sequence[Any], kwargs: Any) -> bool:
    """Tell whether a convolution is 3D, float32, of one sample without gradients, so that oneDNN is called directly."""
    if kwargs or kernel.ndim != 5 or inputs.ndim != 5 or len(inputs) != 1 or torch.is_grad_enabled():
        return False
    plain = compute_dtype(inputs) == kernel.dtype == torch.float32
    strings = len(args) > 4 and isinstance(args[4], str)
    return plain and not strings and type(inputs) is Tensor and torch.backends.mkldnn.is_available()


def convolve_with_onednn(
    inputs: Tensor, kernel: Tensor, bias: Tensor | None = None, stride: Any = 1, padding: Any = 0, dilation: Any = 1,
    groups: int = 1,
) -> Tensor:  # fmt: skip
    """Convolve with oneDNN, whatever backend torch would choose."""
    paddings, strides, dilations = (per_axis(v, kernel.ndim - 2) for v in (padding, stride, dilation))
    return torch.mkldnn_convolution(inputs, kernel, bias, paddings, strides, dilations, groups)


def count_neighbours(inputs: Tensor, kernel: Tensor, args: Sequence[Any], kwargs: Any) -> int:
    """Count the neighbouring elements to compute together in a large volume; 1 where that is not faster.

    >>> volume = torch.zeros(1, 40, 56, 40, 8).movedim(-1, 1)
    >>> kernels = [torch.zeros(n, 8, 3, 3, 3) for n in (4, 5)]
    >>> with torch.no_grad():
    ...     [count_neighbours(volume, k, (volume, k, None, 1, 1), {}) for k in kernels]
    [4, 1]
    """
    if kwargs or torch.is_grad_enabled() or len(inputs) != 1 or (inputs.ndim, kernel.ndim) != (5, 5):
        return 1
    parameters: list[Any] = [*args[3:], *(1, 0, 1, 1)[max(0, len(args) - 3) :]]
    stride, padding, dilation, groups = parameters
    if isinstance(padding, str) or any(set(as_sequence(v)) != {1} for v in (stride, dilation, groups)):
        return 1
    if [2 * p + 1 for p in per_axis(padding, kernel.ndim - 2)] != list(kernel.shape[2:]):
        return 1
    if not LARGE <= prod(inputs.shape[2:]) <= CACHED // (inputs.shape[1] * compute_dtype(inputs).itemsize):
        return 1
    min_count, max_count = NEIGHBOUR_COUNTS
    fitting = [
        n for n in range(min_count, min(max_count, CHANNEL_BLOCK // len(kernel)) + 1) if inputs.shape[-1] % n == 0
    ]
    return max(fitting, default=1) if is_channels_last(inputs) else 1


def is_channels_last(inputs: Tensor) -> bool:
    """Tell whether a tensor is channels-last and of a dtype that oneDNN supports on this CPU."""
    known = type(inputs) is Tensor and torch.backends.mkldnn.is_available() and inputs.movedim(1, -1).is_contiguous()
    halves = known and compute_dtype(inputs) == torch.bfloat16 and torch.ops.mkldnn._is_mkldnn_bf16_supported()
    return bool(halves) or (known and compute_dtype(inputs) == torch.float32)


def compute_dtype(inputs: Tensor) -> torch.dtype:
    """Return the dtype in which a convolution of this input is computed, with autocast taken into account."""
    casts = torch.is_autocast_enabled("cpu") and inputs.dtype != torch.float64
    return torch.get_autocast_dtype("cpu") if casts else inputs.dtype


def cast_arguments(args: Sequence[Any]) -> tuple[Tensor, Tensor, Tensor | None]:
    """Cast inputs, kernel and bias (if any) to the dtype in which the convolution is computed."""
    bias, dtype = (args[2] if len(args) > 2 else None), compute_dtype(args[0])
    return args[0].to(dtype), args[1].to(dtype), None if bias is None else bias.to(dtype)


def fold_neighbours(inputs: Tensor, kernel: Tensor, bias: Tensor | None = None, *, n_neighbours: int) -> Tensor:
    """Convolve one channels-last sample, without a change of size, several neighbours along the last axis at once.

    A CPU kernel computes a block of channels for one element. Where few channels come out, most of each block
    is padding. Here the block is filled with the channels of neighbouring elements: the inputs are overlapping
    windows, and the kernel is repeated once per neighbour, each time shifted by one element.

    >>> line = torch.arange(6.0).view(1, 1, 1, 6)
    >>> fold_neighbours(line, torch.tensor([[[[1.0, 0.0, 0.5]]]]), n_neighbours=2).flatten().tolist()
    [0.5, 1.0, 2.5, 4.0, 5.5, 4.0]
    """
    channels, *sizes = kernel.shape[1:]
    *first_padding, last_padding = (size // 2 for size in sizes)
    rows = F.pad(inputs.movedim(1, -1), (0, 0, last_padding, last_padding))  # (1, *shape, channels)
    shape = (*inputs.shape[2:-1], inputs.shape[-1] // n_neighbours, (n_neighbours + 2 * last_padding) * channels)
    windows = (
        rows.as_strided((1, *shape), (*rows.stride()[:-2], n_neighbours * channels, 1)).contiguous().movedim(-1, 1)
    )
    flat = kernel.movedim(-1, 1).flatten(1, 2)  # (outputs, what one window of the kernel sees, ...)
    others = (0, 0) * (len(sizes) - 1)
    shifted = [F.pad(flat, (*others, n * channels, (n_neighbours - 1 - n) * channels)) for n in range(n_neighbours)]
    longer, each = torch.cat(shifted).unsqueeze(-1), bias if bias is None else bias.repeat(n_neighbours)
    output = torch.mkldnn_convolution(windows, longer, each, [*first_padding, 0], [1] * len(sizes), [1] * len(sizes), 1)
    return output.movedim(1, -1).reshape(1, *inputs.shape[2:], len(kernel)).movedim(-1, 1)


def is_blockwise_transposed(args: Sequence[Any], kwargs: Any) -> bool:
    """Tell whether a transposed convolution of one small sample has a stride equal to its kernel, so no blocks overlap.

    In bfloat16 the product of matrices is faster only at inference, and only with few output channels.
    """
    if kwargs or len(args) < 4 or type(args[0]) is not Tensor:
        return False
    inputs, kernel, stride = args[0], args[1], args[3]
    if len(inputs) != 1 or inputs.ndim != kernel.ndim or prod(inputs.shape[:4]) > ONEDNN_MIN_ELEMENTS:
        return False
    halves = compute_dtype(inputs) == torch.bfloat16
    if halves and (torch.is_grad_enabled() or kernel.shape[1] >= CHANNEL_BLOCK):
        return False
    usual = (0, 0, 1, 1)  # no padding, none of the output, one group, no dilation
    plain = all(set(as_sequence(v)) == {u} for v, u in zip(args[4:], usual, strict=False))
    return (
        plain
        and per_axis(stride, kernel.ndim - 2) == list(kernel.shape[2:])
        and (halves or compute_dtype(inputs) == kernel.dtype == torch.float32)
    )


def transposed_convolution_by_matmul(inputs: Tensor, kernel: Tensor, bias: Tensor | None = None) -> Tensor:
    """Compute a transposed convolution whose stride equals its kernel size as a product of two matrices.

    >>> transposed_convolution_by_matmul(torch.ones(1, 1, 1, 2), torch.tensor([[[[1.0, 2.0]]]]))
    tensor([[[[1., 2., 1., 2.]]]])
    """
    size, blocks, outputs = inputs.shape[2:], kernel.shape[2:], kernel.shape[1]
    rows, axes = inputs.movedim(1, -1).reshape(-1, len(kernel)), len(size)
    products = (rows @ kernel.movedim(1, -1).reshape(len(kernel), -1)).view(*size, *blocks, outputs)
    axis_order = [axis for n in range(axes) for axis in (n, axes + n)]
    output = products.permute(*axis_order, 2 * axes).reshape(
        1, *(s * b for s, b in zip(size, blocks, strict=True)), outputs
    )
    return (output if bias is None else output + bias).movedim(-1, 1)


def is_strided_pointwise(kernel: Tensor, args: Sequence[Any], kwargs: Any) -> bool:
    """Tell whether a convolution has a kernel of one element, a stride and few channels."""
    if kwargs or len(args) < 4 or kernel[0, 0].numel() != 1 or kernel.shape[1] >= CHANNEL_BLOCK:
        return False
    padding = args[4] if len(args) > 4 else 0
    groups = args[6] if len(args) > 6 else 1
    return (
        groups == 1 and not isinstance(padding, str) and not any(as_sequence(padding)) and max(as_sequence(args[3])) > 1
    )


def per_axis(value: int | Sequence[int], n_axes: int) -> list[int]:
    """Expand a convolution setting to one value per axis.

    >>> per_axis(2, 3), per_axis((1, 2), 2)
    ([2, 2, 2], [1, 2])
    """
    given = list(as_sequence(value))
    return given * (n_axes // len(given))


def as_sequence(value: int | Sequence[int]) -> Sequence[int]:
    """Return a convolution setting as a sequence of one value, or of one value per axis."""
    return (value,) if isinstance(value, int) else tuple(value)

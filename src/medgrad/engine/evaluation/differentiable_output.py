"""The output about a whole image with its graph: gradients at the input, through sliding windows."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import pad
from torch.utils.checkpoint import checkpoint

from ...errors import SettingError
from ...inference.predictor import average_over_flips
from ...inference.sliding_window import gaussian_weights, sum_window_weights, window_starts
from ...tasks import Inputs, Task
from ..compute.torch_ops import TORCH
from .infer import network_of


def differentiable_output(
    models: Sequence[nn.Module],
    task: Task,
    inputs: Inputs,
    *,
    patch: Sequence[int],
    overlap: float = 0.5,
    flips: Sequence[int] = (),
    recompute: bool = True,
) -> Tensor:
    """Give the mean output of networks about whole images, before decoding, with its graph.

    ``inputs`` are those of a batch, as ``stack_samples`` gives them; where one requires a gradient, it gets that of
    the whole output, for explanations and test-time descent. Windows are weighted as in prediction, and all are
    computed. With ``recompute`` each window is computed again in the backward pass: that takes a third more time and
    the memory of one window instead of all. The models are set to evaluation.
    """
    for model in models:
        model.eval()
    networks = [network_of(model) for model in models]
    shape = task.outputs.shape
    if shape == "pyramid":
        raise SettingError(
            f"{task.kind} answers each window with boxes, so there is no output about the whole image. "
            "Take the gradient of the output about one window."
        )

    def output_about(image: Tensor | None) -> Any:
        shown = inputs if image is None else {**inputs, "image": image}
        return average_over_flips(networks, shown, flips, TORCH)

    with torch.enable_grad():
        if shape == "pooled":
            return output_about(None)

        def predict_window(image: Tensor) -> Tensor:
            return checkpoint(output_about, image, use_reentrant=False) if recompute else output_about(image)

        return blend_windows(predict_window, inputs["image"], patch=patch, overlap=overlap)


def blend_windows(predict_window: Any, image: Tensor, *, patch: Sequence[int], overlap: float) -> Tensor:
    """Blend the outputs (b, classes, *patch) about the windows of an image (b, channels, *shape) by Gaussian weights.

    An image smaller than a window is centred in it.
    """
    shape, size = image.shape[2:], [max(p, 1) for p in patch]
    padded = [max(s, p) for s, p in zip(shape, size, strict=True)]
    before = [(r - s) // 2 for r, s in zip(padded, shape, strict=True)]
    margins = [(b, r - s - b) for b, r, s in zip(before, padded, shape, strict=True)]
    image = pad(image, [n for margin in reversed(margins) for n in margin])
    starts = [window_starts(s, p, overlap) for s, p in zip(padded, size, strict=True)]
    inside: tuple[Any, ...] = (..., *[slice(b, b + s) for b, s in zip(before, shape, strict=True)])
    if all(len(s) == 1 for s in starts):
        return predict_window(image)[inside]
    weight, sums = gaussian_weights(size, TORCH).to(image.device), None
    for start in product(*starts):
        window: tuple[Any, ...] = (..., *[slice(a, a + p) for a, p in zip(start, size, strict=True)])
        output = predict_window(image[window])
        if sums is None:
            sums = output.new_zeros(*output.shape[:2], *padded)
        sums = AddWindow.apply(sums, output * weight, window)
    assert sums is not None
    return (sums / sum_window_weights(starts, size, padded, TORCH).to(sums.device))[inside]


class AddWindow(torch.autograd.Function):
    """Add a window to sums, in place; the time of both passes is that of the window, whatever the sums' size."""

    @staticmethod
    def forward(ctx: Any, sums: Tensor, window: Tensor, at: Any) -> Tensor:
        ctx.at = at
        ctx.mark_dirty(sums)
        sums[at] += window
        return sums

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> tuple[Any, ...]:
        (gradient,) = gradients
        return gradient, gradient[ctx.at], None

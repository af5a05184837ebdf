"""The augmentation interface; each file of this folder ends in ``THIS = <a frozen dataclass of this kind>``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

RandomDraw = dict[str, NDArray[Any] | np.generic]
Targets = dict[str, Tensor]
MIN_BOX_DIVISOR = 3.0
"""A box of which less than one part in so many is left in the image is left out."""


class Augmentation(Protocol):
    """Settings of a random augmentation: draw the parameters of one sample, and apply those of a batch.

    ``draw`` gives arrays whose shapes depend on the settings and the sample's shape alone, so that they stack; it
    always takes the same number of draws from ``rng``. ``apply`` gets them stacked, on the device of the inputs
    (b, channels, *shape), and must not alter what it is given. ``moves`` says which targets follow the image, and
    how.
    """

    def draw(self, rng: np.random.Generator, shape: Sequence[int]) -> RandomDraw: ...

    def apply(
        self, inputs: Tensor, targets: Targets, drawn: Mapping[str, Tensor], spatial_kinds: Mapping[str, str]
    ) -> tuple[Tensor, Targets]: ...


def per_sample(values: Tensor, inputs: Tensor) -> Tensor:
    """Shape (b,) or (b, channels) values so that they multiply (b, channels, *shape) inputs."""
    channels = values if values.ndim == 2 else values.unsqueeze(1)
    return channels.view(*channels.shape, *[1] * (inputs.ndim - 2))


def clip_boxes(boxes: Tensor, shape: Sequence[int]) -> Tensor:
    """Clip (..., 2 * dims) boxes to an image; a box of which less than a third is left gets no size.

    Elements lie at whole numbers and reach half an element to each side. A box without a size does not count.
    """
    n = len(shape)
    most = torch.tensor(shape, device=boxes.device, dtype=boxes.dtype) - 0.5
    low, high = boxes[..., :n], boxes[..., n:]
    cut = torch.cat([low.clamp_min(-0.5).minimum(most), high.clamp_min(-0.5).minimum(most)], dim=-1)
    left, whole = (cut[..., n:] - cut[..., :n]).prod(-1), (high - low).prod(-1)
    return cut * (left > whole / MIN_BOX_DIVISOR).unsqueeze(-1)


def apply_to_rows(rows: Tensor, inputs: Tensor, change: Any) -> Tensor:
    """Apply ``change(inputs[rows], rows)`` to the selected rows of a batch; the others stay as they are."""
    chosen = rows.nonzero().flatten()
    if len(chosen) == 0:
        return inputs
    if len(chosen) == len(inputs):
        return change(inputs, chosen)
    return inputs.index_copy(0, chosen, change(inputs.index_select(0, chosen), chosen).to(inputs.dtype))


def stack_draws(drawn: Sequence[RandomDraw], device: torch.device) -> dict[str, Tensor]:
    """Stack the random parameters of the samples of a batch on a device."""
    return {k: torch.from_numpy(np.stack([d[k] for d in drawn])).to(device) for k in drawn[0]}

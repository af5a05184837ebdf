"""Rectified flow: a network of velocities carries noise to images, along lines that are as straight as can be."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ._blocks import join_label
from .unet import UNet


class Velocity(nn.Module):
    """A U-Net that tells where an image on its way from noise moves.

    The time, 0 to 1, is one more channel, and so is each number of a label.
    """

    def __init__(
        self, outputs: int, dims: int, channels: Sequence[int], strides: object, normalise: str, labels: int
    ) -> None:
        super().__init__()
        inputs = outputs + 1 + labels
        self.network = UNet(inputs, outputs, dims, channels=channels, strides=strides, normalise=normalise)  # type: ignore[arg-type]

    def forward(self, x: Tensor, time: Tensor, label: Tensor | None = None) -> Tensor:
        return self.network(join_label(join_label(x, time[:, None]), label))


class RectifiedFlow(nn.Module):
    """Answers noise with an image, by ``steps`` equal steps of Euler's method along the velocities.

    The first ``outputs`` channels of the input are the noise (their mean, where it has fewer). With ``labels`` it also
    takes the label of each image, one number for each of so many classes. The gradients ``diffused`` train it; settings
    are those of ``unet``. Liu, Gong and Liu, ICLR 2023; Lipman et al., ICLR 2023.
    """

    output_kinds = ("dense",)

    def __init__(
        self,
        inputs: int,
        outputs: int,
        dims: int,
        *,
        channels: Sequence[int] = (32, 64, 128),
        strides: Sequence[Sequence[int]] | None = None,
        normalise: str = "group",
        steps: int = 20,
        labels: int = 0,
    ) -> None:
        super().__init__()
        if steps < 1:
            raise ValueError(f"'steps' of rectified_flow is at least 1, but it is {steps}.")
        self.outputs, self.steps = outputs, steps
        self.has_enough = inputs >= outputs
        self.inputs = ("image", "label") if labels else ("image",)
        self.velocity = Velocity(outputs, dims, channels, strides, normalise, labels)

    def forward(self, x: Tensor, label: Tensor | None = None) -> Tensor:
        moving = (
            x[:, : self.outputs] if self.has_enough else x.mean(1, keepdim=True).expand(-1, self.outputs, *x.shape[2:])
        )
        for step in range(self.steps):
            time = torch.full((x.shape[0],), step / self.steps, device=x.device)
            moving = moving + self.velocity(moving, time, label) / self.steps
        return moving


THIS = RectifiedFlow

"""Two networks in one module: a generator that answers an image, and a critic that tells answers from true images."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ._blocks import CONV, join_label
from .unet import UNet


class Critic(nn.Module):
    """One number for every patch: how true an answer looks beside what the generator was shown.

    Halved at each of the ``channels``. Isola et al., CVPR 2017.
    """

    def __init__(self, inputs: int, dims: int, channels: Sequence[int]) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for before, width in zip([inputs, *channels[:-1]], channels, strict=True):
            layers += [CONV[dims](before, width, 3, 2, 1), nn.LeakyReLU(0.2, inplace=True)]
        self.layers = nn.Sequential(*layers, CONV[dims](channels[-1], 1, 1))

    def forward(self, shown: Tensor, answer: Tensor) -> Tensor:
        return self.layers(torch.cat([shown, answer], dim=1))


class AdversarialPair(nn.Module):
    """A U-Net that answers, and a critic of its answers, which only the gradients ``adversarial`` train.

    Settings are those of ``unet``; ``critic_channels`` are the widths of the critic. With ``labels`` both are shown
    the label of each image too, one channel for each of so many classes. Answers come from the U-Net alone.
    """

    output_kinds = ("dense",)
    training_only = ("critic",)

    def __init__(
        self,
        inputs: int,
        outputs: int,
        dims: int,
        *,
        channels: Sequence[int] = (16, 32, 64),
        strides: Sequence[Sequence[int]] | None = None,
        normalise: str = "batch",
        critic_channels: Sequence[int] = (16, 32, 64),
        labels: int = 0,
    ) -> None:
        super().__init__()
        self.inputs = ("image", "label") if labels else ("image",)
        inputs += labels
        self.generator = UNet(inputs, outputs, dims, channels=channels, strides=strides, normalise=normalise)
        self.critic = Critic(inputs + outputs, dims, critic_channels)

    def forward(self, x: Tensor, label: Tensor | None = None) -> Tensor | tuple[Tensor, ...]:
        return self.generator(join_label(x, label))


THIS = AdversarialPair

"""Autoencoder: the layers with which another network sees an image, and a linear map that gives the image back."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn

from .. import registry
from ..errors import SettingError
from ._blocks import UP

FEATURES = 16
"""How many numbers an element a network gives that answers element by element."""
PROBED_SIZE = 256
"""An image of this size, of which nothing is computed, tells by how much layers shrink it."""


class Autoencoder(nn.Module):
    """Learns from images alone what the network ``body`` begins with (``fit --init``), whose settings it takes too.

    Only the ``backbone`` of that network is learned: of one for whole images (``cnn``, ``resnet``, ``vgg``) the layers
    before its head, of a detector its pyramid, of ``unet`` all but the last. What it gives at one place is turned into
    a block of the image by a linear map; the blocks of several levels are added up. With the augmentation ``masked``
    it is a masked autoencoder. He et al., CVPR 2022.
    """

    output_kinds = ("dense",)
    inner = "network"

    def __init__(self, inputs: int, outputs: int, dims: int, *, body: str = "unet", **settings: Any) -> None:
        super().__init__()
        named = {k: v for k, v in self.inner_model({"body": body, **settings}).items() if k != "name"}
        whole = registry.find("models", body)(inputs, FEATURES, dims, **named)
        self.backbone: str = whole.backbone
        self.network: nn.Module = whole
        maps = [(FEATURES, 1)]
        if self.backbone:
            layers = whole.get_submodule(self.backbone)
            self.network = nn.ModuleDict({self.backbone: layers})
            maps = probe(layers, inputs, dims)
        self.blocks = nn.ModuleList(UP[dims](width, outputs, stride, stride) for width, stride in maps)

    @staticmethod
    def inner_model(settings: Mapping[str, Any]) -> dict[str, Any]:
        """Give the table of the network that begins with what was learned, or raise if it has no backbone."""
        table = {"name": settings.get("body", "unet"), **{k: v for k, v in settings.items() if k != "body"}}
        bodies = [name for name in registry.names("models") if hasattr(registry.find("models", name), "backbone")]
        if table["name"] not in bodies:
            raise SettingError(f"'body' of autoencoder is one of {', '.join(bodies)}, not {table['name']!r}.")
        registry.check_settings("models", table["name"], {k: v for k, v in table.items() if k != "name"})
        return table

    def forward(self, x: Tensor) -> Tensor:
        layers = self.network.get_submodule(self.backbone)
        window = (slice(None), slice(None), *(slice(size) for size in x.shape[2:]))
        levels = levels_of(layers(x))
        if levels[0].ndim != x.ndim:
            raise SettingError(
                "An autoencoder is built around a network that answers element by element, or a backbone."
            )
        images = [block(level)[window] for block, level in zip(self.blocks, levels, strict=False)]
        return torch.stack(images).float().sum(0)


def levels_of(seen: Any) -> list[Tensor]:
    """List the levels of features that a backbone gives: those of a pyramid, the finest of deep supervision, or one."""
    return [seen] if isinstance(seen, Tensor) else list(seen)


def probe(layers: nn.Module, inputs: int, dims: int) -> list[tuple[int, int]]:
    """Give the channels and the stride of each level of features that layers give, without computing any."""
    with torch.no_grad():
        image = torch.empty(1, inputs, *(PROBED_SIZE,) * dims, device="meta")
        seen = levels_of(deepcopy(layers).to("meta").eval()(image))
    return [(level.shape[1], PROBED_SIZE // level.shape[2]) for level in seen]


THIS = Autoencoder

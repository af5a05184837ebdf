"""Any network of MONAI, by its name there."""

from __future__ import annotations

from inspect import signature
from typing import Any

from torch import Tensor, nn

from ..errors import SettingError, require_package, suggest_name
from ._blocks import replace_instance_norms

ARGUMENT_NAMES = {
    "inputs": ("in_channels", "in_channel", "n_input_channels"),
    "outputs": ("out_channels", "num_classes", "out_channel"),
    "dims": ("spatial_dims", "dimensions"),
}


class Monai(nn.Module):
    """A network of ``monai.networks.nets``: ``network`` is its name, further settings are passed on to it.

    What the network calls its input channels, output channels and axes is found out; a list of outputs, as some give
    while training, becomes a tuple. Its instance norms run in our quicker way, and its weights keep their names, so
    they can be loaded into MONAI's own network.
    """

    output_kinds = ("dense", "pooled")
    backbone = ""

    def __init__(self, inputs: int, outputs: int, dims: int, *, network: str = "BasicUNet", **settings: Any) -> None:
        super().__init__()
        nets = require_package("monai.networks.nets", extra="monai")
        make = getattr(nets, network, None)
        if not (isinstance(make, type) and issubclass(make, nn.Module)):
            known = [n for n in dir(nets) if isinstance(getattr(nets, n), type)]
            raise SettingError(f"MONAI has no network {network!r}.{suggest_name(network, known)}")
        taken = signature(make).parameters
        given = {"inputs": inputs, "outputs": outputs, "dims": dims}
        for ours, theirs in ARGUMENT_NAMES.items():
            name = next((t for t in theirs if t in taken), None)
            if name is not None and name not in settings:
                settings[name] = given[ours]
        try:
            self.network = replace_instance_norms(make(**settings))
        except TypeError as reason:
            raise SettingError(f"MONAI's {network!r} could not be made: {reason}. Give it under [model].") from reason
        self.padding: list[Any] = [module for module in self.network.modules() if getattr(module, "is_pad", False)]

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, ...]:
        uneven = any(size % 2 ** len(self.padding) for size in x.shape[2:])
        for module in self.padding:  # BasicUNet pads at every level, and padding by nothing costs a tenth of a step
            module.is_pad = uneven
        out = self.network(x)
        if isinstance(out, (list, tuple)):
            return tuple(out) if self.training else out[0]
        return out


THIS = Monai

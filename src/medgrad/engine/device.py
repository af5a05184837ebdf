"""Where the numbers are crunched, and in which precision and order it is fast there."""

from __future__ import annotations

import ctypes
import sys
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import SettingError
from ..tasks._task import Batch

FAST_BFLOAT16 = ("amx_bf16", "avx512_bf16")


@dataclass(frozen=True)
class Place:
    """A device, the type that its convolutions run in, and whether channels come last."""

    device: str
    dtype: torch.dtype

    def model(self, model: nn.Module) -> nn.Module:
        """Bring a network here, in the order of memory that is fast."""
        model = model.to(self.device)
        for p in model.parameters():
            order = order_of(p)
            if order is not None:
                p.data = p.data.contiguous(memory_format=order)
        return model

    def batch(self, batch: Batch) -> Batch:
        """Bring a batch here, in the order of memory that is fast."""
        return batch.to(self.device, order_of(batch.inputs))


def order_of(inputs: Tensor) -> torch.memory_format | None:
    """Name the channels-last order for a tensor of this many axes, or None where there is none."""
    return {4: torch.channels_last, 5: torch.channels_last_3d}.get(inputs.ndim)


class Mixed(nn.Module):
    """A network run in a place's fast type, whose output comes back in float32.

    It shares the network's weights; save the network, not this.
    """

    def __init__(self, network: nn.Module, place: Place) -> None:
        super().__init__()
        self.network = network
        self.place = place

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, ...]:
        if self.place.dtype == torch.float32:
            return self.network(x)
        with torch.autocast(self.place.device.split(":")[0], self.place.dtype):
            out = self.network(x)
        return tuple(o.float() for o in out) if isinstance(out, tuple) else out.float()


def choose(precision: str = "auto", device: str | None = None) -> Place:
    """Choose the device (a GPU if there is one) and the precision: bfloat16 where the machine multiplies it faster."""
    device = usable(device) if device else ("cuda" if torch.cuda.is_available() else "cpu")
    types = {"float32": torch.float32, "bfloat16": torch.bfloat16}
    if precision == "auto":
        fast = torch.cuda.is_bf16_supported() if device.startswith("cuda") else has_fast_bfloat16()
        return Place(device, torch.bfloat16 if fast else torch.float32)
    if precision not in types:
        raise SettingError(f"A precision is 'auto', 'float32' or 'bfloat16', not {precision!r}.")
    return Place(device, types[precision])


def usable(device: str) -> str:
    """Give the name of a device, or raise if this machine has no such device or torch cannot use it."""
    try:
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as reason:
        raise SettingError(
            f"The device {device!r} cannot be used here. Give cpu, or cuda where there is one."
        ) from reason
    return device


@lru_cache
def has_fast_bfloat16() -> bool:
    """Tell whether this processor multiplies bfloat16 faster than float32."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    flags = set(text.split())
    return any(flag in flags for flag in FAST_BFLOAT16)


@lru_cache
def keep_memory() -> bool:
    """Let glibc keep freed tensors instead of giving each back to the kernel; a third off a training step.

    Called once by the command line. It changes nothing where there is no glibc.
    """
    if sys.platform != "linux":
        return False
    try:
        mallopt: Any = ctypes.CDLL("libc.so.6").mallopt
    except (OSError, AttributeError):
        return False
    trim, threshold, largest = -1, -3, 1 << 30
    return bool(mallopt(trim, largest)) and bool(mallopt(threshold, largest))

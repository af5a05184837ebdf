"""Where the numbers are crunched, and in which precision and order it is fast there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor, nn

from ...errors import SettingError
from ...machine.allocator import keep_memory as keep_memory
from ...machine.cores import count as cores_allowed
from ...tasks import Batch
from .convolutions import SafeConvolutions

FAST_BFLOAT16 = ("amx_bf16", "avx512_bf16")


def seed_generators(seed: int) -> None:
    """Seed torch's generators: as ``torch.manual_seed``, which takes a stack trace a call where there is no device."""
    if torch.accelerator.is_available():
        torch.manual_seed(seed)
    else:
        torch.default_generator.manual_seed(seed)


@dataclass(frozen=True)
class Compute:
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
        batch = batch.to(self.device)
        return batch._replace(inputs=in_order(batch.inputs))


def order_of(inputs: Tensor) -> torch.memory_format | None:
    """Name the channels-last order for a tensor of this many axes, or None where there is none."""
    return {4: torch.channels_last, 5: torch.channels_last_3d}.get(inputs.ndim)


def in_order(inputs: Tensor) -> Tensor:
    """Put a batch (b, channels, *shape) into channels-last order.

    With one channel both orders are the same memory and only the strides tell them apart, so they are set: torch
    would take the plain order, and the whole first level of a network would run in it.
    """
    order = order_of(inputs)
    if order is None:
        return inputs
    if inputs.shape[1] == 1:
        return inputs.contiguous().squeeze(1).unsqueeze(-1).movedim(-1, 1)
    return inputs.contiguous(memory_format=order)


class AutocastModule(nn.Module):
    """A network run in a place's fast type, whose output comes back in float32.

    It shares the network's weights; save the network, not this.
    """

    def __init__(self, network: nn.Module, place: Compute) -> None:
        super().__init__()
        self.network = network
        self.place = place

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, ...]:
        kind = self.place.device.split(":")[0]
        sound = SafeConvolutions() if kind == "cpu" else nullcontext()
        if self.place.dtype == torch.float32:
            with sound:
                return self.network(x)
        with torch.autocast(kind, self.place.dtype), sound:
            out = self.network(x)
        return tuple(o.float() for o in out) if isinstance(out, tuple) else out.float()


def choose(precision: str = "auto", device: str | None = None) -> Compute:
    """Choose the device (a GPU if there is one) and the precision: bfloat16 where the machine multiplies it faster.

    On a processor, this process keeps the memory of its arrays from here on.
    """
    device = usable(device) if device else ("cuda" if torch.cuda.is_available() else "cpu")
    if device == "cpu":
        keep_memory()
    types = {"float32": torch.float32, "bfloat16": torch.bfloat16}
    if precision == "auto":
        fast = torch.cuda.is_bf16_supported() if device.startswith("cuda") else has_fast_bfloat16()
        return Compute(device, torch.bfloat16 if fast else torch.float32)
    if precision not in types:
        raise SettingError(f"A precision is 'auto', 'float32' or 'bfloat16', not {precision!r}.")
    return Compute(device, types[precision])


def usable(device: str) -> str:
    """Give the name of a device, or raise if this machine has no such device or torch cannot use it."""
    try:
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as reason:
        raise SettingError(
            f"The device {device!r} cannot be used here. Give cpu, or cuda where there is one."
        ) from reason
    return device


def use_threads(count: int) -> int:
    """Use so many of the processor's threads for one operation, and give how many they are.

    0 uses one a core that this process may run on.
    """
    cores = cores_allowed()
    threads = min(count, cores) if count else min(cores, torch.get_num_threads())
    torch.set_num_threads(threads)
    return threads


@contextmanager
def threads_kept() -> Iterator[None]:
    """Put back at the end how many threads there were: one training must not decide how the next one is computed."""
    before = torch.get_num_threads()
    try:
        yield
    finally:
        torch.set_num_threads(before)


def thread_counts() -> list[int]:
    """The numbers of threads worth a try: all, half, and one."""
    most = torch.get_num_threads()
    return sorted({most, max(1, most // 2), 1}, reverse=True)


@lru_cache
def has_fast_bfloat16() -> bool:
    """Tell whether this processor multiplies bfloat16 faster than float32."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    flags = set(text.split())
    return any(flag in flags for flag in FAST_BFLOAT16)

"""Device, precision and memory format of a computation."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ...errors import SettingError
from ...machine.allocator import keep_freed_memory as keep_freed_memory
from ...machine.cores import count_cores as cores_allowed
from ...tasks import Batch, Inputs, input_names
from .cpu_convolutions import SafeConvolutions

BFLOAT16_CPU_FLAGS = ("amx_bf16", "avx512_bf16")


def seed_generators(seed: int) -> None:
    """Seed torch's random generators, without the overhead of ``torch.manual_seed`` where there is no accelerator."""
    if torch.accelerator.is_available():
        torch.manual_seed(seed)
    else:
        torch.default_generator.manual_seed(seed)


@dataclass(frozen=True)
class Compute:
    """Device, dtype of the computation, and conversion to channels-last memory."""

    device: str
    dtype: torch.dtype

    def move_model(self, network: nn.Module) -> nn.Module:
        """Move a network to the device, with its weights in channels-last memory format."""
        network = network.to(self.device)
        for p in network.parameters():
            order = channels_last_format(p)
            if order is not None:
                p.data = p.data.contiguous(memory_format=order)
        return network

    def move_batch(self, batch: Batch) -> Batch:
        """Move a batch to the device, with its inputs in channels-last memory format."""
        batch = batch.to(self.device)
        return replace(batch, inputs=order_image(batch.inputs))


def order_image(inputs: Inputs) -> Inputs:
    """Give the inputs of a batch with the image, if there is one, in channels-last memory format."""
    return {**inputs, "image": to_channels_last(inputs["image"])} if "image" in inputs else inputs


def channels_last_format(inputs: Tensor) -> torch.memory_format | None:
    """Return the channels-last memory format for a tensor's number of axes, or None where there is none."""
    return {4: torch.channels_last, 5: torch.channels_last_3d}.get(inputs.ndim)


def to_channels_last(inputs: Tensor) -> Tensor:
    """Convert a batch (b, channels, *shape) to channels-last memory format.

    With one channel both formats are the same memory and differ only in their strides, so the strides are set:
    torch would otherwise choose the contiguous format, and the whole first level of a network would run in it.
    """
    order = channels_last_format(inputs)
    if order is None:
        return inputs
    if inputs.shape[1] == 1:
        return inputs.contiguous().squeeze(1).unsqueeze(-1).movedim(-1, 1)
    return inputs.contiguous(memory_format=order)


class AutocastModule(nn.Module):
    """A network that runs under autocast in the chosen dtype, with its output cast back to float32.

    It shares the network's weights; save the network, not this. It takes the inputs that the network takes, and other
    attributes are those of the network. A part of the network runs as the whole does:
    ``AutocastModule(network, compute).generator`` is ``network.generator`` under autocast. So a gradient rule calls a
    part by its name, whether it is given the network or this.
    """

    def __init__(self, network: nn.Module, compute: Compute) -> None:
        super().__init__()
        self.network = network
        self.compute = compute

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            found = getattr(super().__getattr__("network"), name)
        return AutocastModule(found, self.compute) if isinstance(found, nn.Module) else found

    @property
    def inputs(self) -> tuple[str, ...]:
        """The names of the network's inputs."""
        return input_names(self.network)

    def forward(self, *inputs: Tensor) -> Tensor | tuple[Tensor, ...]:
        kind = self.compute.device.split(":")[0]
        convolutions = SafeConvolutions() if kind == "cpu" else nullcontext()
        if self.compute.dtype == torch.float32:
            with convolutions:
                return self.network(*inputs)
        with torch.autocast(kind, self.compute.dtype), convolutions:
            out = self.network(*inputs)
        return tuple(o.float() for o in out) if isinstance(out, tuple) else out.float()


def choose_device(precision: str = "auto", device: str | None = None) -> Compute:
    """Choose the device (a GPU if there is one) and the precision (bfloat16 where the hardware multiplies it faster).

    On a CPU, this process keeps the memory of freed arrays from then on.
    """
    device = ensure_usable_device(device) if device else ("cuda" if torch.cuda.is_available() else "cpu")
    if device == "cpu":
        keep_freed_memory()
    types = {"float32": torch.float32, "bfloat16": torch.bfloat16}
    if precision == "auto":
        fast = torch.cuda.is_bf16_supported() if device.startswith("cuda") else has_fast_bfloat16()
        return Compute(device, torch.bfloat16 if fast else torch.float32)
    if precision not in types:
        raise SettingError(f"A precision is 'auto', 'float32' or 'bfloat16', not {precision!r}.")
    return Compute(device, types[precision])


def ensure_usable_device(device: str) -> str:
    """Return the name of a device, or raise if this machine has no such device or torch cannot use it."""
    try:
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as reason:
        raise SettingError(
            f"The device {device!r} cannot be used here. Give cpu, or cuda where there is one."
        ) from reason
    return device


def set_threads(n_threads: int) -> int:
    """Set the number of CPU threads for one operation, and return it.

    0 uses one per core that this process may run on.
    """
    cores = cores_allowed()
    threads = min(n_threads, cores) if n_threads else min(cores, torch.get_num_threads())
    torch.set_num_threads(threads)
    return threads


@contextmanager
def restore_threads() -> Iterator[None]:
    """Restore torch's number of threads at the end, so that one training does not affect the next."""
    before = torch.get_num_threads()
    try:
        yield
    finally:
        torch.set_num_threads(before)


def thread_counts_to_try() -> list[int]:
    """List the numbers of threads to time: all, half, and one."""
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
    return any(flag in flags for flag in BFLOAT16_CPU_FLAGS)

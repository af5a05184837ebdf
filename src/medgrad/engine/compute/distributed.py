"""Distributed training: several processes started by ``torchrun`` train one model; alone, a group of one process."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from ...errors import SettingError


@dataclass(frozen=True)
class ProcessGroup:
    """Rank, size and device of this process in its group. Only rank 0 prints, writes files and evaluates."""

    rank: int = 0
    size: int = 1
    device: str | None = None

    @property
    def is_main(self) -> bool:
        return self.rank == 0

    def broadcast(self, value: Any) -> Any:
        """Broadcast the value of rank 0 to every process (anything that JSON can hold)."""
        if self.size == 1:
            return value
        where = self.device or "cpu"
        content = list(json.dumps(value).encode()) if self.is_main else []
        length = torch.tensor([len(content)], device=where)
        dist.broadcast(length, 0)
        text = torch.tensor(content, dtype=torch.uint8, device=where)
        if not self.is_main:
            text = torch.empty(int(length), dtype=torch.uint8, device=where)
        dist.broadcast(text, 0)
        return json.loads(bytes(text.tolist()))

    def batch_slice(self, batch_size: int) -> slice:
        """Return this process's slice of a batch."""
        if batch_size % self.size:
            raise SettingError(
                f"A batch of {batch_size} cannot be shared evenly by {self.size} processes. Change [training]."
            )
        each = batch_size // self.size
        return slice(self.rank * each, (self.rank + 1) * each)


def join_process_group() -> ProcessGroup:
    """Join the process group that ``torchrun`` started, or return a group of one process."""
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        return ProcessGroup()
    device = None
    if torch.cuda.is_available():
        device = f"cuda:{os.environ.get('LOCAL_RANK', '0')}"
        torch.cuda.set_device(device)
    if not dist.is_initialized():
        dist.init_process_group("nccl" if device else "gloo")
    return ProcessGroup(dist.get_rank(), size, device)


def leave_process_group(processes: ProcessGroup) -> None:
    """Wait for all processes, then destroy the process group."""
    if processes.size > 1:
        dist.barrier()
        dist.destroy_process_group()


class SyncBatchNorm(nn.modules.batchnorm._BatchNorm):
    """Batch norm over the batches of all processes, equal to one process with the whole batch."""

    def _check_input_dim(self, input: Tensor) -> None:  # noqa: A002  (torch's name)
        del input

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002  (torch's name)
        if not self.training:
            return super().forward(input)
        from torch.distributed.nn.functional import all_reduce

        x = input.float()
        axes = [0, *range(2, x.ndim)]
        count = x.numel() // x.shape[1] * dist.get_world_size()
        sums = all_reduce(torch.stack([x.sum(axes), x.square().sum(axes)]))
        mean, var = sums[0] / count, (sums[1] / count - (sums[0] / count).square()).clamp_min(0)
        with torch.no_grad():
            assert self.running_mean is not None  # the networks here track their statistics
            assert self.running_var is not None
            assert self.momentum is not None
            self.running_mean.lerp_(mean.detach(), self.momentum)
            self.running_var.lerp_(var.detach() * count / max(count - 1, 1), self.momentum)
            if self.num_batches_tracked is not None:
                self.num_batches_tracked.add_(1)
        shape = (1, -1, *[1] * (x.ndim - 2))
        scale = self.weight * (var + self.eps).rsqrt()
        return (x * scale.view(shape) + (self.bias - mean * scale).view(shape)).to(input.dtype)


def convert_sync_batchnorm(network: nn.Module, processes: ProcessGroup) -> nn.Module:
    """Replace a network's batch norms by synchronised ones; weights and their names stay the same."""
    if processes.size == 1:
        return network
    for name, child in network.named_children():
        if isinstance(child, nn.modules.batchnorm._BatchNorm):
            norm = SyncBatchNorm(child.num_features, child.eps, child.momentum or 0.1)
            norm.load_state_dict(child.state_dict())
            setattr(network, name, norm)
        else:
            convert_sync_batchnorm(child, processes)
    return network

"""Build the torch module that is exported: ensemble, calibration and box decoding included."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ..engine.compute.device import AutocastModule, Compute
from ..engine.compute.torch_ops import TORCH
from ..engine.runs.run import TrainedRun
from ..errors import SettingError
from ..inference.predictor import average_over_flips
from ..tasks import Inputs, Task, full_resolution, run_network
from ._target import ExportModule

N_EXAMPLES = 3
"""So many made-up windows stand in an artefact, so that an engine can be tried."""

FLOAT32 = Compute("cpu", torch.float32)


class Ensemble(nn.Module):
    """Average the outputs of several networks, and of flips of the input along ``flips``."""

    def __init__(self, networks: Sequence[nn.Module], tta_flips: Sequence[int] = ()) -> None:
        super().__init__()
        self.networks, self.flips = nn.ModuleList(networks), tuple(tta_flips)

    def forward(self, x: Tensor) -> Tensor:
        networks = [partial(finest_output, network) for network in self.networks]
        mean: Tensor = average_over_flips(networks, {"image": x}, self.flips, TORCH)
        return mean


def finest_output(network: nn.Module, inputs: Inputs) -> Tensor:
    """Give the output of a network at full resolution."""
    return full_resolution(run_network(network, inputs))


def unwrap_network(model: nn.Module) -> nn.Module:
    """Return the float32 network without its autocast wrapper."""
    return (model.network if isinstance(model, AutocastModule) else model).float().eval()


def float32_networks(trained: TrainedRun) -> tuple[nn.Module, ...]:
    """Return the networks of a run in float32, which an artefact must agree with."""
    return tuple(AutocastModule(unwrap_network(m), FLOAT32).eval() for m in trained.networks)


def build_export_module(trained: TrainedRun, n_channels: int, manifest: Mapping[str, Any]) -> ExportModule:
    """Build the module of a run that is exported: that of the task, around the mean of its networks."""
    task, flips = trained.task, trained.recipe.inference.tta_flips
    networks = [unwrap_network(m) for m in trained.networks]
    if task.outputs.shape == "pyramid" and len(networks) > 1:
        raise SettingError(
            f"This run has {len(networks)} folds, and the boxes of several networks have no mean that one network "
            "could give. Export one of them: medgrad export RUN/fold-0."
        )
    module = task.exported(Ensemble(networks, flips if task.outputs.shape == "pooled" else ()))
    inputs = torch.from_numpy(make_example_inputs(task, n_channels, trained.recipe.training.patch)[0])
    return ExportModule(module.eval(), inputs, task.answer_kind.outputs, task.outputs.shape, manifest)


def make_example_inputs(task: Task, n_channels: int, patch: Sequence[int]) -> list[NDArray[np.float32]]:
    """Make synthetic windows (1, planes, *patch) from the task's example, at the scale of prepared images.

    They are rounded to the precision in which they are stored.
    """
    made = []
    for seed in range(N_EXAMPLES):
        array = next(iter(task.example(seed).images.values())).channels_first[0].astype(np.float32)
        array = (array - array.mean()) / max(float(array.std()), 1e-6)
        shape = tuple(patch) or array.shape
        room = [(0, max(0, n - s)) for n, s in zip(shape, array.shape, strict=True)]
        array = np.pad(array, room, mode="wrap")[tuple(slice(n) for n in shape)]
        noise = np.random.default_rng(seed).normal(0, 0.1, (n_channels, *shape))
        made.append((array + noise)[None].astype(np.float16).astype(np.float32))
    return made

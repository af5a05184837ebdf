"""Build the torch module that is exported: ensemble, calibration and box decoding included."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from .. import registry
from ..answers.scores import class_probabilities
from ..engine.compute.device import AutocastModule, Compute
from ..engine.compute.torch_ops import TORCH
from ..engine.runs.run import TrainedRun
from ..errors import SettingError
from ..inference.predictor import average_over_flips
from ..tasks import Inputs, Task, full_resolution, run_network
from ..tasks.classification import Classification
from ..tasks.detection import Detection
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


class CalibratedClassifier(nn.Module):
    """A classifier that returns calibrated probabilities."""

    def __init__(self, network: nn.Module, task: Classification) -> None:
        super().__init__()
        self.logits, self.exclusive, self.temperature = network, task.exclusive, task.temperature
        self.register_buffer("shift", torch.tensor(task.shift or (0.0,) * len(task.labels)))

    def forward(self, x: Tensor) -> Tensor:
        probabilities: Tensor = class_probabilities(
            self.logits(x),
            exclusive=self.exclusive,
            temperature=self.temperature,
            shift=self.shift,
            functions=torch.special,
        )
        return probabilities


class DetectorWithBoxes(nn.Module):
    """A detector that returns the corners of candidate boxes, and the probability of each class."""

    def __init__(self, network: nn.Module, task: Detection) -> None:
        super().__init__()
        self.network = network
        self.decode_boxes = registry.find("models", task.detector).decode
        self.dims, self.classes = task.dims, len(task.labels)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.decode_boxes(full_resolution(self.network(x)), dims=self.dims, classes=self.classes)


def unwrap_network(model: nn.Module) -> nn.Module:
    """Return the float32 network without its autocast wrapper."""
    return (model.network if isinstance(model, AutocastModule) else model).float().eval()


def float32_networks(trained: TrainedRun) -> tuple[nn.Module, ...]:
    """Return the networks of a run in float32, which an artefact must agree with."""
    return tuple(AutocastModule(unwrap_network(m), FLOAT32).eval() for m in trained.networks)


def build_export_module(trained: TrainedRun, n_channels: int, manifest: Mapping[str, Any]) -> ExportModule:
    """Build the module of a run that is exported."""
    task = trained.task
    networks = [unwrap_network(m) for m in trained.networks]
    if isinstance(task, Detection):
        if len(networks) > 1:
            raise SettingError(
                f"This run has {len(networks)} folds, and the boxes of several networks have no mean that one network "
                "could give. Export one of them: medgrad export RUN/fold-0."
            )
        module: nn.Module = DetectorWithBoxes(networks[0], task)
    elif isinstance(task, Classification):
        module = CalibratedClassifier(Ensemble(networks, trained.recipe.inference.tta_flips), task)
    else:
        module = Ensemble(networks)
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

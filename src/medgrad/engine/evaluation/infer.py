"""Inference with torch: prepare a case, run the networks, decode, and restore the answer to the original grid."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import prod
from typing import Any

import torch
from torch import Tensor, nn

from ...answers import kind_named
from ...data import Case
from ...errors import SettingError
from ...inference.predictor import Network, Predictor
from ...prepare import Step
from ...tasks import Inputs, Task, full_resolution, run_network
from ..compute.device import Compute, order_image
from ..compute.torch_ops import TORCH
from ..runs.recipe import Inference
from ..runs.run import TrainedRun


def predictor(
    models: Sequence[nn.Module],
    task: Task,
    *,
    patch: Sequence[int],
    place: Compute,
    how: Inference | None = None,
    steps: Sequence[Step] = (),
    channels: int = 1,
) -> Predictor:
    """Make a predictor of networks; several (folds) answer together: their outputs are averaged, or their answers.

    ``channels`` counts those of the inputs, which only tells how much memory a window takes.
    """
    how = how or Inference()
    for model in models:
        model.eval()
    outputs, settings = task.outputs, task.settings()
    return Predictor(
        networks=[network_of(model) for model in models],
        encode=lambda case: {name: x.to(place.device) for name, x in task.encode(case).inputs.items()},
        decode=task.decode,
        output=outputs.shape,
        kind=outputs.answer,
        patch=tuple(patch),
        steps=steps,
        images=task.channels,
        channels=channels,
        classes=outputs.channels if outputs.shape == "dense" else 0,
        merge_windows=task.merge_windows,
        ensemble=task.ensemble,
        finish=lambda value, case: task.answer_kind.finish(value, case, settings),
        overlap=how.overlap,
        flips=() if outputs.shape == "pyramid" else how.tta_flips,
        coarse_to_fine=how.coarse_to_fine and kind_named(outputs.answer).has_background,
        first_pass_stride=how.first_pass_stride,
        ops=TORCH,
        context=torch.inference_mode,
    )


def network_of(model: nn.Module) -> Network:
    """Show a batch to a module, and give what it says at full resolution in float32."""

    def network(inputs: Inputs) -> Tensor:
        return full_resolution(run_network(model, order_image(inputs))).float()

    return network


def predictor_of(trained: TrainedRun, *, file_format: str = "", how: Inference | None = None) -> Predictor:
    """Make the predictor of a run; with their maps where a format asks for probabilities."""
    task, patch = trained.task, trained.recipe.training.patch
    made = predictor(
        trained.networks,
        task,
        patch=patch,
        place=trained.compute,
        how=how or trained.recipe.inference,
        steps=trained.prepare_steps,
        channels=channels_of(trained, patch),
    )
    return with_probabilities(made, task) if file_format in kind_named("probability_maps").formats else made


def with_probabilities(made: Predictor, task: Task) -> Predictor:
    """Give the predictor that answers with the probability of each label.

    Every window is looked at, since a probability is asked for where nothing was found as well.
    """
    if task.outputs.answer != "label_map":
        raise SettingError(f"A run of the task {task.kind!r} gives no probabilities of labels. Leave --format out.")
    maps, settings = kind_named("probability_maps"), task.settings()

    def decode(output: Any, grid: Any) -> Any:
        return maps.decode([output], grid, settings)

    return replace(made, decode=decode, finish=lambda value, _: value, kind=maps.name, coarse_to_fine=False)


def channels_of(trained: TrainedRun, patch: Sequence[int]) -> int:
    """Count the channels that a network takes, by the shape of its first weights."""
    first = next((p for p in trained.networks[0].parameters() if p.ndim > 1), None)
    if first is None:
        return 1
    return max(1, first.shape[1] // (prod(patch) if first.ndim == 2 else 1))


def answer_case(trained: TrainedRun, case: Case) -> Any:
    """Answer about one case, on its original grid. Several models (folds) are an ensemble: their outputs are averaged.

    The truth of the case is not used. The sums over windows take at most so many bytes (0: no limit).
    """
    return predictor_of(trained).answer(case)

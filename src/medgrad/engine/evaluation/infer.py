"""From a case to its answer: prepared, shown to the network, decoded, and brought back to where it came from."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from itertools import product
from typing import Any

import torch
from torch import Tensor, nn

from ...data import Case
from ...inference import sliding_window as windows
from ...inference.coarse_to_fine import sliding_window_coarse_to_fine
from ...inference.sliding_window import LEAST, without_truth
from ...inference.sliding_window import slide as slide
from ...inference.sliding_window import window_starts as window_starts
from ...prepare import Step, prepare, restore
from ...tasks import Task, full_resolution
from ..compute.device import Compute, in_order
from ..runs.recipe import Answering

TOGETHER = 1 << 19
"""So many numbers, of several cases, are shown to a network at a time; one case may have more."""


@torch.inference_mode()
def answer(
    models: Sequence[nn.Module],
    task: Task,
    case: Case,
    *,
    steps: Sequence[Step],
    patch: Sequence[int],
    place: Compute,
    how: Answering | None = None,
    sums: int = 0,
) -> Any:
    """Answer about one case, on its own grid. Several models (folds) answer together: their outputs are averaged.

    The case may carry its truth; nobody looks at it. The sums over windows may take so many bytes (0: no bound).
    """
    prepared, grids = prepare(without_truth(case), steps)
    said = answer_prepared(models, task, prepared, patch=patch, place=place, how=how, sums=sums)
    return restore(said, steps, grids)


def answer_prepared(
    models: Sequence[nn.Module],
    task: Task,
    case: Case,
    *,
    patch: Sequence[int],
    place: Compute,
    how: Answering | None = None,
    sums: int = 0,
) -> Any:
    """Answer about a case that is prepared already, on the prepared grid."""
    return next(answers_prepared(models, task, [case], patch=patch, place=place, how=how, sums=sums))


@torch.inference_mode()
def answers_prepared(
    models: Sequence[nn.Module],
    task: Task,
    cases: Iterable[Case],
    *,
    patch: Sequence[int],
    place: Compute,
    how: Answering | None = None,
    sums: int = 0,
) -> Iterator[Any]:
    """Answer about cases that are prepared already, one after another, each on its prepared grid.

    Cases that are shown to the network whole are shown several at a time, where they are small and of one shape. The
    sums over the windows of a case may take so many bytes (0: no bound).
    """
    how = how or Answering()
    for model in models:
        model.eval()
    if task.outputs.shape == "dense":
        for case in cases:
            yield dense(models, task, without_truth(case), patch=patch, place=place, how=how, sums=sums)
        return
    if task.outputs.shape == "pyramid":
        for case in cases:
            said = [
                detect_by_window(model, task, without_truth(case), patch=patch, place=place, how=how)
                for model in models
            ]
            yield task.ensemble(said) if len(said) > 1 else said[0]
        return
    for group in group_by_shape((without_truth(case), task.encode(without_truth(case)).inputs) for case in cases):
        outputs = forward(models, torch.stack([inputs for _, inputs in group]), place, how.flips)
        for (case, _), output in zip(group, outputs, strict=True):
            yield task.decode(output, case.grid)


def group_by_shape(encoded: Iterable[tuple[Case, Tensor]]) -> Iterator[list[tuple[Case, Tensor]]]:
    """Put inputs of one shape that follow one another together, as many as ``TOGETHER`` allows."""
    group: list[tuple[Case, Tensor]] = []
    for case, inputs in encoded:
        if group and (inputs.shape != group[0][1].shape or (len(group) + 1) * inputs.numel() > TOGETHER):
            yield group
            group = []
        group.append((case, inputs))
    if group:
        yield group


def forward(models: Sequence[nn.Module], inputs: Tensor, place: Compute, flips: Sequence[int]) -> Tensor:
    """Show inputs (b, channels, *shape) to every model, mirrored in every way asked for, and average what they say."""
    inputs = inputs.to(place.device)
    total: Tensor | None = None
    ways = list(product(*[(False, True)] * len(flips)))
    for way in ways:
        axes = [a + 2 for a, on in zip(flips, way, strict=True) if on]
        turned = in_order(inputs.flip(axes) if axes else inputs)
        for model in models:
            said = full_resolution(model(turned)).float()
            said = said.flip(axes) if axes and said.ndim == inputs.ndim else said
            total = said if total is None else total + said
    assert total is not None  # there is at least one model
    count = len(ways) * len(models)
    return total / count if count > 1 else total


def dense(
    models: Sequence[nn.Module],
    task: Task,
    case: Case,
    *,
    patch: Sequence[int],
    place: Compute,
    how: Answering,
    sums: int = 0,
) -> Any:
    """Answer window by window. Only one slab of the output exists at any time; each is decoded when it is complete."""
    blocks = windows.blocks_within(case.grid.shape, patch, task.outputs.channels, sums)

    def look(box: Case) -> Tensor:
        return forward(models, task.encode(box).inputs[None], place, how.flips)[0]

    way: Any = windows.sliding_window
    if how.sparing and task.kind == "segmentation":
        way = partial(sliding_window_coarse_to_fine, coarse=how.coarse)
    return way(look, task.decode, case, patch=patch, overlap=how.overlap, arrays=TENSORS, blocks=blocks)


def detect_by_window(
    model: nn.Module, task: Task, case: Case, *, patch: Sequence[int], place: Compute, how: Answering
) -> Any:
    """Answer about each window, and put the answers together once; an axis that is a little longer is shown whole."""

    def say(box: Case) -> Any:
        return task.decode(forward([model], task.encode(box).inputs[None], place, ())[0], box.grid)

    said, grids = windows.each_window(say, case, patch=patch, overlap=how.overlap)
    return task.merge_windows(said, grids, case.grid) if len(said) > 1 else said[0]


class Tensors:
    """Arrays of torch, wherever they are."""

    def line(self, size: int) -> Tensor:
        """Give the weights of a window along one axis."""
        at = (torch.arange(size) - (size - 1) / 2) / (size / 8)
        return torch.exp(-0.5 * at**2).clamp_min(LEAST)

    def zeros(self, *shape: int, like: Tensor | None = None) -> Tensor:
        """Give zeros, of the type and on the device of another tensor."""
        return torch.zeros(shape) if like is None else like.new_zeros(shape)

    def near(self, array: Tensor, like: Tensor) -> Tensor:
        """Bring a tensor to the device of another."""
        return array.to(like.device)

    def add(self, sums: Tensor, said: Tensor, weight: Tensor) -> None:
        """Add what is said, weighted, in place."""
        sums.addcmul_(said, weight)


TENSORS = Tensors()


def slabs(
    look: Any, shape: Sequence[int], patch: Sequence[int], *, overlap: float = 0.5
) -> Iterator[tuple[int, Tensor]]:
    """Blend the outputs of overlapping windows as tensors, slab by slab: see ``runtime.windows.slabs``."""
    return windows.slabs(look, shape, patch, overlap=overlap, arrays=TENSORS)


def gaussian_weights(patch: Sequence[int]) -> Tensor:
    """Give a Gaussian weight for each element of a window, an eighth of its size wide; a product over the axes."""
    return windows.gaussian_weights(patch, TENSORS)

"""From a case to its answer: prepared, shown to the network, decoded, and brought back to where it came from."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import product
from typing import Any

import torch
from torch import Tensor, nn

from ..data import Case, join
from ..prepare._step import Step, prepare, restore
from ..tasks._task import Task, finest
from .device import Place, in_order
from .recipe import Answering
from .sample import part

TOGETHER = 1 << 19
"""So many numbers, of several cases, are shown to a network at a time; one case may have more."""

WHOLE = 1.5
"""An image whose answer is made of boxes is shown whole up to so many times the length of a patch."""


@torch.inference_mode()
def answer(
    models: Sequence[nn.Module],
    task: Task,
    case: Case,
    *,
    steps: Sequence[Step],
    patch: Sequence[int],
    place: Place,
    how: Answering | None = None,
) -> Any:
    """Answer about one case, on its own grid. Several models (folds) answer together: their outputs are averaged.

    The case may carry its truth; nobody looks at it.
    """
    prepared, grids = prepare(blind(case), steps)
    return restore(answer_prepared(models, task, prepared, patch=patch, place=place, how=how), steps, grids)


def answer_prepared(
    models: Sequence[nn.Module],
    task: Task,
    case: Case,
    *,
    patch: Sequence[int],
    place: Place,
    how: Answering | None = None,
) -> Any:
    """Answer about a case that is prepared already, on the prepared grid."""
    return next(answers_prepared(models, task, [case], patch=patch, place=place, how=how))


@torch.inference_mode()
def answers_prepared(
    models: Sequence[nn.Module],
    task: Task,
    cases: Iterable[Case],
    *,
    patch: Sequence[int],
    place: Place,
    how: Answering | None = None,
) -> Iterator[Any]:
    """Answer about cases that are prepared already, one after another, each on its prepared grid.

    Cases that are shown to the network whole are shown several at a time, where they are small and of one shape.
    """
    how = how or Answering()
    for model in models:
        model.eval()
    if task.outputs.shape == "dense":
        for case in cases:
            yield dense(models, task, blind(case), patch=patch, place=place, how=how)
        return
    if task.outputs.shape == "pyramid":
        for case in cases:
            said = [in_windows(model, task, blind(case), patch=patch, place=place, how=how) for model in models]
            yield task.agree(said) if len(said) > 1 else said[0]
        return
    for group in together((blind(case), task.encode(blind(case)).inputs) for case in cases):
        outputs = ask(models, torch.stack([inputs for _, inputs in group]), place, how.flips)
        for (case, _), output in zip(group, outputs, strict=True):
            yield task.decode(output, case.grid)


def together(encoded: Iterable[tuple[Case, Tensor]]) -> Iterator[list[tuple[Case, Tensor]]]:
    """Put inputs of one shape that follow one another together, as many as ``TOGETHER`` allows."""
    group: list[tuple[Case, Tensor]] = []
    for case, inputs in encoded:
        if group and (inputs.shape != group[0][1].shape or (len(group) + 1) * inputs.numel() > TOGETHER):
            yield group
            group = []
        group.append((case, inputs))
    if group:
        yield group


def blind(case: Case) -> Case:
    """Give the case without its truth and its region."""
    return Case(case.id, case.images, None, case.patient, None, case.notes)


def ask(models: Sequence[nn.Module], inputs: Tensor, place: Place, flips: Sequence[int]) -> Tensor:
    """Show inputs (b, channels, *shape) to every model, mirrored in every way asked for, and average what they say."""
    inputs = inputs.to(place.device)
    total: Tensor | None = None
    ways = list(product(*[(False, True)] * len(flips)))
    for way in ways:
        axes = [a + 2 for a, on in zip(flips, way, strict=True) if on]
        turned = in_order(inputs.flip(axes) if axes else inputs)
        for model in models:
            said = finest(model(turned)).float()
            said = said.flip(axes) if axes and said.ndim == inputs.ndim else said
            total = said if total is None else total + said
    assert total is not None  # there is at least one model
    count = len(ways) * len(models)
    return total / count if count > 1 else total


def dense(
    models: Sequence[nn.Module], task: Task, case: Case, *, patch: Sequence[int], place: Place, how: Answering
) -> Any:
    """Answer window by window. Only one slab of the output exists at any time; each is decoded when it is complete."""
    size = [max(p, 1) for p in patch]
    shape = case.grid.shape
    room = [max(s, p) for s, p in zip(shape, size, strict=True)]
    before = [(r - s) // 2 for r, s in zip(room, shape, strict=True)]

    def look(start: Sequence[int]) -> Tensor:
        box = part(case, [a - b for a, b in zip(start, before, strict=True)], size)
        return ask(models, task.encode(box).inputs[None], place, how.flips)[0]

    pieces = []
    inner = tuple(slice(b, b + s) for b, s in zip(before[1:], shape[1:], strict=True))
    for first, slab in slabs(look, room, size, overlap=how.overlap):
        low, high = max(first, before[0]), min(first + slab.shape[1], before[0] + shape[0])
        if low < high:
            kept = slab[(slice(None), slice(low - first, high - first), *inner)]
            begin = [low - before[0], *[0] * (len(shape) - 1)]
            pieces.append(task.decode(kept, case.grid.crop(begin, kept.shape[1:])))
    return pieces[0] if len(pieces) == 1 else join(pieces, case.grid)


def in_windows(model: nn.Module, task: Task, case: Case, *, patch: Sequence[int], place: Place, how: Answering) -> Any:
    """Answer about each window, and put the answers together once; an axis that is a little longer is shown whole."""
    shape = case.grid.shape
    size = [s if s <= WHOLE * p else p for s, p in zip(shape, patch, strict=True)]
    starts = list(product(*[window_starts(s, p, how.overlap) for s, p in zip(shape, size, strict=True)]))
    boxes = [part(case, start, size) for start in starts]
    said = [task.decode(ask([model], task.encode(box).inputs[None], place, ())[0], box.grid) for box in boxes]
    return task.gather(said, [box.grid for box in boxes], case.grid) if len(said) > 1 else said[0]


def slabs(
    look: Any, shape: Sequence[int], patch: Sequence[int], *, overlap: float = 0.5
) -> Iterator[tuple[int, Tensor]]:
    """Blend the outputs of overlapping windows, and yield each slab along the first axis as soon as it is complete.

    ``look(start)`` gives the output (channels, *patch) of the window that begins there. Windows are weighted by a
    Gaussian, so that their middles count more than their edges. Yields where the slab begins, and the slab; it is
    lent until the next one is asked for, since all slabs are made in the memory of one row of windows.
    """
    starts = [window_starts(s, p, overlap) for s, p in zip(shape, patch, strict=True)]
    if all(len(s) == 1 for s in starts):
        yield 0, look([s[0] for s in starts])
        return
    weight = bell(patch)
    plane = total_weight(starts[1:], patch[1:], shape[1:])
    line = total_weight(starts[:1], patch[:1], shape[:1])
    sums: Tensor | None = None
    for first, after in zip(starts[0], [*starts[0][1:], shape[0]], strict=True):
        for start in product(*starts[1:]):
            said = look([first, *start])
            if sums is None:
                sums, weight = said.new_zeros(len(said), patch[0], *shape[1:]), weight.to(said.device)
            where = (slice(None), slice(None), *[slice(a, a + p) for a, p in zip(start, patch[1:], strict=True)])
            sums[where].addcmul_(said, weight)
        assert sums is not None  # every axis has at least one window
        for at in range(first, after):
            sums[:, at - first] /= (line[at] * plane).to(sums.device)
        yield first, sums[:, : after - first]
        slide(sums, after - first)


def slide(sums: Tensor, by: int) -> None:
    """Move planes (channels, planes, ...) towards the first, in place, and begin the last ones with zero."""
    for plane in range(sums.shape[1]):
        sums[:, plane] = sums[:, plane + by] if plane + by < sums.shape[1] else 0


def window_starts(size: int, patch: int, overlap: float) -> list[int]:
    """Spread windows evenly along an axis, overlapping by at least a share.

    >>> window_starts(10, 4, 0.5)
    [0, 2, 4, 6]
    """
    if size <= patch:
        return [0]
    step = max(1, round(patch * (1 - overlap)))
    count = -(-(size - patch) // step) + 1
    return [round(i * (size - patch) / (count - 1)) for i in range(count)]


def bell(patch: Sequence[int]) -> Tensor:
    """Give a Gaussian weight for each element of a window, an eighth of its size wide; a product over the axes."""
    weight = torch.ones(())
    for axis, size in enumerate(patch):
        at = (torch.arange(size) - (size - 1) / 2) / (size / 8)
        line = torch.exp(-0.5 * at**2).clamp_min(1e-3)
        weight = weight.unsqueeze(-1) * line if axis else line
    return weight


def total_weight(starts: Sequence[Sequence[int]], patch: Sequence[int], shape: Sequence[int]) -> Tensor:
    """Sum the weights of all windows over a plane: a product over its axes, like the weights themselves."""
    total = torch.ones(())
    for axis, (begins, size, whole) in enumerate(zip(starts, patch, shape, strict=True)):
        line = torch.zeros(whole)
        for begin in begins:
            line[begin : begin + size] += bell([size])
        total = total.unsqueeze(-1) * line if axis else line
    return total

"""From a case to its answer, by whatever can show a window to a network: prepared, shown, decoded, brought back.

A run and an exported network differ only in ``networks``, ``encode`` and ``ops``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from itertools import product
from math import prod
from typing import Any, Literal

from ..answers import restore
from ..data import Case, Grid
from ..prepare import Memo, Step, prepare
from .array_ops import NUMPY, ArrayOps
from .coarse_to_fine import sliding_window_coarse_to_fine
from .sliding_window import answer_each_window, choose_block_count, sliding_window, without_truth

Network = Callable[[Mapping[str, Any]], Any]
"""Gives the output about a batch of inputs, by name: one array, or several for boxes."""

Inputs = Mapping[str, Any]
"""The arrays that are shown to a network, by name; the ``image`` alone has the axes of the patient."""

BATCH_SIZE = 1 << 19
"""So many numbers, of several cases, are shown to a network at a time; one case may have more."""


@dataclass(frozen=True)
class Predictor:
    """All that it takes to answer about a case.

    ``encode`` gives the inputs of a case by name, ``image`` (channels, *shape) among them, ``decode`` the answer of an
    output about one sample. ``output`` says how the network answers: about every element, about the whole, or by
    candidate boxes; ``kind`` names the kind of answer. ``images`` names the images of a case (empty: as they come),
    ``channels`` counts those of the input image, ``classes`` those of a dense output. ``merge_windows`` puts the
    answers about windows of one image together, ``ensemble`` those of several networks. ``finish`` makes a dense
    answer of what was decoded and the prepared case. ``context`` is entered while a network is at work.
    """

    networks: Sequence[Network]
    encode: Callable[[Case], Inputs]
    decode: Callable[[Any, Grid], Any]
    output: Literal["dense", "pooled", "pyramid"]
    kind: str
    patch: tuple[int, ...]
    steps: Sequence[Step] = ()
    images: tuple[str, ...] = ()
    channels: int = 1
    classes: int = 0
    merge_windows: Callable[[Sequence[Any], Sequence[Grid], Grid], Any] | None = None
    ensemble: Callable[[Sequence[Any]], Any] | None = None
    finish: Callable[[Any, Case], Any] = lambda answer, _: answer
    overlap: float = 0.5
    flips: tuple[int, ...] = ()
    coarse_to_fine: bool = False
    first_pass_stride: int = 1
    ops: ArrayOps = field(default=NUMPY)
    context: Callable[[], AbstractContextManager[Any]] = nullcontext

    def answer(self, case: Case) -> Any:
        """Answer about a case, on its own grid. The case may carry its truth; nobody looks at it."""
        prepared, memos = prepare(without_truth(case), self.steps)
        return self.restore(self.predict(prepared), memos)

    def restore(self, answer: Any, memos: Sequence[Memo]) -> Any:
        """Bring an answer back to the grid and the unit that its case came with."""
        return restore(answer, self.steps, memos)

    def predict(self, case: Case, *, sums: int = 0) -> Any:
        """Answer about a prepared case, on its prepared grid; sums over windows may take so many bytes (0: any)."""
        case = without_truth(case)
        with self.context():
            if self.output == "dense":
                return self.finish(self.by_elements(case, sums), case)
            if self.output == "pooled":
                return self.decode(self.average(one_sample(self.encode(case)))[0], case.grid)
            answers = [self.by_windows(network, case) for network in self.networks]
            if len(answers) == 1:
                return answers[0]
            assert self.ensemble is not None
            return self.ensemble(answers)

    def predict_many(self, cases: Iterable[Case]) -> Iterator[Any]:
        """Answer about prepared cases, one after another.

        Cases that are shown to the network whole are shown several at a time, where they are small and of one shape.
        """
        if self.output != "pooled":
            for case in cases:
                yield self.predict(case)
            return
        blind = (without_truth(case) for case in cases)
        for group in group_by_shape((case, self.encode(case)) for case in blind):
            with self.context():
                outputs = self.average(self.stack([inputs for _, inputs in group]))
                answers = [self.decode(output, case.grid) for (case, _), output in zip(group, outputs, strict=True)]
            yield from answers

    def stack(self, samples: Sequence[Inputs]) -> Inputs:
        """Put the inputs of samples side by side."""
        return {name: self.ops.stack([inputs[name] for inputs in samples]) for name in samples[0]}

    def average(self, inputs: Inputs) -> Any:
        """Give the mean output of all networks about a batch of inputs and its mirror images."""
        return average_over_flips(self.networks, inputs, self.flips, self.ops)

    def by_elements(self, case: Case, sums: int) -> Any:
        """Answer window by window. Only one slab of the output exists at any time; each is decoded when complete."""
        window: Any = sliding_window
        if self.coarse_to_fine:
            window = partial(sliding_window_coarse_to_fine, first_pass_stride=self.first_pass_stride)
        return window(
            lambda box: self.average(one_sample(self.encode(box)))[0],
            self.decode,
            case,
            patch=self.patch,
            overlap=self.overlap,
            ops=self.ops,
            n_blocks=choose_block_count(case.grid.shape, self.patch, self.classes, sums),
        )

    def by_windows(self, network: Network, case: Case) -> Any:
        """Answer about each window, and merge the answers once; an axis that is a little longer is shown whole."""

        def answer_about(box: Case) -> Any:
            output = network(one_sample(self.encode(box)))
            one = tuple(o[0] for o in output) if isinstance(output, (list, tuple)) else output[0]
            return self.decode(one, box.grid)

        answers, windows = answer_each_window(answer_about, case, patch=self.patch, overlap=self.overlap)
        if len(answers) == 1:
            return answers[0]
        assert self.merge_windows is not None
        return self.merge_windows(answers, windows, case.grid)


def one_sample(inputs: Inputs) -> Inputs:
    """Give the batch of the inputs of one sample."""
    return {name: array[None] for name, array in inputs.items()}


def average_over_flips(networks: Sequence[Network], inputs: Inputs, flips: Sequence[int], ops: ArrayOps = NUMPY) -> Any:
    """Show a batch of inputs to every network, its image mirrored in every way along the axes ``flips``.

    An output that has the axes of the image is mirrored back. Inputs without an image are shown once. Gives the mean of
    all.
    """
    total: Any = None
    flips = flips if "image" in inputs else ()
    choices = list(product(*[(False, True)] * len(flips)))
    for choice in choices:
        axes = [axis + 2 for axis, is_mirrored in zip(flips, choice, strict=True) if is_mirrored]
        shown = {**inputs, "image": ops.flip(inputs["image"], axes)} if axes else inputs
        for network in networks:
            output = network(shown)
            output = ops.flip(output, axes) if axes and output.ndim == inputs["image"].ndim else output
            total = output if total is None else total + output
    count = len(choices) * len(networks)
    return total / count if count > 1 else total


def group_by_shape(encoded: Iterable[tuple[Case, Inputs]]) -> Iterator[list[tuple[Case, Inputs]]]:
    """Put inputs of one shape that follow one another together, as many as ``BATCH_SIZE`` allows."""
    group: list[tuple[Case, Inputs]] = []
    for case, inputs in encoded:
        is_full = (len(group) + 1) * sum(prod(array.shape) for array in inputs.values()) > BATCH_SIZE
        if group and (shapes_of(inputs) != shapes_of(group[0][1]) or is_full):
            yield group
            group = []
        group.append((case, inputs))
    if group:
        yield group


def shapes_of(inputs: Inputs) -> dict[str, tuple[int, ...]]:
    """Give the shape of each input."""
    return {name: tuple(array.shape) for name, array in inputs.items()}

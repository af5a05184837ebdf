"""The one abstraction that the rest of the package leans on."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

from .. import registry
from ..answers import AnswerKind, kind_named
from ..data import Case, Grid, LabelMap
from ..inference.encode import stacked

Output = Tensor | tuple[Tensor, ...]
Moves = Literal["values", "labels", "points", "vectors", "boxes"]


class Outputs(NamedTuple):
    """What the network must give, its shape and its number of channels, and the kind of answer in which that ends."""

    shape: Literal["dense", "pooled", "pyramid"]
    channels: int
    answer: str


class Sample(NamedTuple):
    """One case as tensors: inputs (channels, *shape), and targets of fixed shapes, so that samples stack."""

    inputs: Tensor
    target: dict[str, Tensor]
    grid: Grid


class Batch(NamedTuple):
    """Samples side by side: inputs (b, channels, *shape)."""

    inputs: Tensor
    target: dict[str, Tensor]
    grids: list[Grid]

    def to(self, device: torch.device | str, memory_format: torch.memory_format | None = None) -> Batch:
        """Give the batch on another device, its inputs in the order that the device is fast with."""
        inputs = self.inputs.to(device, non_blocking=True)
        if memory_format is not None:
            inputs = inputs.contiguous(memory_format=memory_format)
        return Batch(inputs, {k: v.to(device, non_blocking=True) for k, v in self.target.items()}, self.grids)


def stack(samples: Sequence[Sample]) -> Batch:
    """Put samples side by side."""
    target = {k: torch.stack([s.target[k] for s in samples]) for k in samples[0].target}
    return Batch(torch.stack([s.inputs for s in samples]), target, [s.grid for s in samples])


@dataclass(frozen=True)
class Task(ABC):
    """A problem, told in seven verbs. It holds settings, never weights or state.

    ``dims`` is 2 or 3; ``channels`` names the images of a case in the order in which the network takes them (empty: as
    they come).
    """

    dims: int = 3
    channels: tuple[str, ...] = ()

    @property
    @abstractmethod
    def outputs(self) -> Outputs:
        """What the network must give."""

    @property
    def spatial_kinds(self) -> Mapping[str, Moves]:
        """How each target follows when the image is moved; one that is not named stays as it is."""
        return {}

    @property
    def is_mappable(self) -> bool:
        """Whether the loss of a batch is the mean of its samples' losses."""
        return True

    @abstractmethod
    def example(self, seed: int = 0) -> Case:
        """Make a small case with its truth: for tests, for export, for documentation."""

    @abstractmethod
    def encode(self, case: Case) -> Sample:
        """Turn numbers into tensors. Without a truth in the case, the target is empty."""

    @abstractmethod
    def loss(self, output: Output, target: dict[str, Tensor]) -> dict[str, Tensor]:
        """Name each term; what is minimised is their sum."""

    @property
    def answer_kind(self) -> AnswerKind:
        """The kind of its answers."""
        return kind_named(self.outputs.answer)

    def decode(self, output: Tensor, grid: Grid) -> Any:
        """Turn one sample's tensors (no batch axis) into the answer, in the form in which an expert would draw it."""
        return self.answer_kind.decode([in_numpy(full_resolution(output))], grid, self.settings())

    def check_export(self) -> None:  # noqa: B027
        """Raise if a network of this task cannot answer without torch."""

    def for_model(self, model: str) -> Task:
        """Give the task for a network of this name, where how an output is read depends on who gave it."""
        del model
        return self

    def merge_windows(self, answers: Sequence[Any], windows: Sequence[Grid], grid: Grid) -> Any:
        """Put the answers about the windows of one image together, where they are not elements of one output."""
        return self.answer_kind.join(answers, windows, grid, self.settings())

    def ensemble(self, answers: Sequence[Any]) -> Any:
        """Put the answers of several networks about one image together, where their outputs have no mean."""
        raise NotImplementedError(f"{self.kind} does not put the answers of networks together.")

    @abstractmethod
    def judge(self, truth: Any, answer: Any, *, region: LabelMap | None = None, quick: bool = False) -> dict[str, Any]:
        """Compare one answer with the truth: one row of plain numbers; None where a number does not apply.

        Only what lies in the ``region`` counts. With ``quick``, only what the aim needs.
        """

    @abstractmethod
    def failed_row(self, truth: Any, *, region: LabelMap | None = None) -> dict[str, Any]:
        """Give the row of a case that could not be answered: the worst of everything, so that it counts."""

    @abstractmethod
    def summarise(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, float | None]:
        """Turn the rows of a whole set into the few numbers that are reported."""

    def summarise_many(self, rows: Sequence[Mapping[str, Any]], weights: Any) -> Mapping[str, Any] | None:
        """Summarise many resamples at once, or None where a task has no quick way.

        ``weights`` (b, rows) says how often each row counts in each; each figure is then an array (b,).
        """
        del rows, weights
        return None

    def distillation_loss(self, output: Tensor, taught: Tensor, *, temperature: float = 1.0) -> Tensor:
        """How far an output is from a teacher's: the mean square, or what the task says of it."""
        del temperature
        return (output.float() - taught.float()).square().mean()

    @property
    @abstractmethod
    def primary_metric(self) -> str:
        """The one of those numbers by which a model is chosen; larger is better."""

    @abstractmethod
    def score(self, output: Tensor, about: int) -> Tensor:
        """One number a sample that an explanation may differentiate."""

    @property
    def kind(self) -> str:
        """The name of the task: that of its file."""
        return type(self).__module__.rpartition(".")[2]

    def settings(self) -> dict[str, Any]:
        """What a saved model must remember to answer again."""
        return {"kind": self.kind, **asdict(self)}


def metrics_on(what: str) -> list[str]:
    """List the metrics that are computed on labels, or on scores."""
    return [name for name in registry.names("metrics") if registry.find("metrics", name).on == what]


def tensor_of(case: Case, channels: Sequence[str]) -> Tensor:
    """Stack the images of a case into (channels, *shape) float32."""
    return torch.from_numpy(stacked(case, channels))


def divergence(output: Tensor, taught: Tensor, *, temperature: float = 1.0) -> Tensor:
    """How far what an output says of the classes is from what a teacher says, both softened by ``temperature``.

    The square of ``temperature`` keeps its gradient as large as that of the truth.
    """
    said = (output.float() / temperature).log_softmax(1)
    known = (taught.float() / temperature).log_softmax(1)
    return (known.exp() * (known - said)).sum(1).mean() * temperature**2


def full_resolution(output: Output) -> Tensor:
    """Give the output itself, or the finest of several."""
    return output if isinstance(output, Tensor) else output[0]


def in_numpy(output: Tensor) -> Any:
    """Give a tensor of the CPU as an array of float32, in its own memory where it can; another as it is."""
    output = output.detach()
    return output.float().numpy() if output.device.type == "cpu" else output

"""The interface of a task, on which the rest of the package builds."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from .. import registry
from ..answers import AnswerKind, kind_named
from ..data import Case, Grid, LabelMap
from ..errors import SettingError
from ..inference.encode import stack_channels
from ..survey.dataset_facts import DatasetFacts
from ._plans import Budget, Tables, plan_by_output

Output = Tensor | tuple[Tensor, ...]
SpatialKind = Literal["values", "labels", "points", "vectors", "boxes"]


class OutputSpec(NamedTuple):
    """What the network must give, its shape and its number of channels, and the kind of answer in which that ends."""

    shape: Literal["dense", "pooled", "pyramid"]
    channels: int
    answer: str


Inputs = Mapping[str, Tensor]
"""What a network may take, by name: ``image`` (channels, *shape), ``table``, ``tokens``, ``nodes``, ``edges``, ..."""


@dataclass(frozen=True)
class Sample:
    """One case as tensors: inputs and targets of fixed shapes, so that samples stack.

    An image is the input ``image`` (channels, *shape); it alone is augmented and cut into windows. The ``owner`` is the
    patient of the case, known wherever samples are drawn.
    """

    inputs: Inputs
    target: dict[str, Tensor]
    grid: Grid
    owner: str = ""


@dataclass(frozen=True)
class Batch:
    """Samples side by side: each input and target with one more axis, (b, ...). ``owners`` are their patients."""

    inputs: Inputs
    target: dict[str, Tensor]
    grids: list[Grid]
    owners: tuple[str, ...] = ()

    @property
    def size(self) -> int:
        """The number of samples."""
        return len(next(iter(self.inputs.values())))

    def part(self, at: slice) -> Batch:
        """Give the batch of some of its samples."""
        inputs, target = ({k: v[at] for k, v in tensors.items()} for tensors in (self.inputs, self.target))
        return Batch(inputs, target, self.grids[at], self.owners[at])

    def to(self, device: torch.device | str) -> Batch:
        """Give the batch on another device."""
        inputs, target = (
            {k: v.to(device, non_blocking=True) for k, v in tensors.items()} for tensors in (self.inputs, self.target)
        )
        return replace(self, inputs=inputs, target=target)


def stack_samples(samples: Sequence[Sample]) -> Batch:
    """Put samples side by side."""
    inputs = {k: torch.stack([s.inputs[k] for s in samples]) for k in samples[0].inputs}
    target = {k: torch.stack([s.target[k] for s in samples]) for k in samples[0].target}
    return Batch(inputs, target, [s.grid for s in samples], tuple(s.owner for s in samples))


def input_names(network: nn.Module) -> tuple[str, ...]:
    """Name the inputs that a network takes, in the order of its arguments: those that it declares, else the image."""
    names = getattr(network, "inputs", None)
    return names if isinstance(names, tuple) else ("image",)


def network_arguments(network: nn.Module, inputs: Inputs) -> tuple[Tensor, ...]:
    """Give the tensors that a network takes, in the order of its arguments."""
    names = input_names(network)
    missing = [name for name in names if name not in inputs]
    if missing:
        raise SettingError(
            f"{type(network).__name__} takes {', '.join(names)}, but the task gives {', '.join(inputs)}. "
            "Choose a model that takes what the task gives."
        )
    return tuple(inputs[name] for name in names)


def run_network(network: nn.Module, inputs: Inputs) -> Any:
    """Give the output of a network about a batch of inputs."""
    return network(*network_arguments(network, inputs))


class Calibration(NamedTuple):
    """A task whose answers are calibrated, the rows of its validation cases as they are now, and what was found."""

    task: Task
    rows: Sequence[Mapping[str, Any]]
    report: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Task(ABC):
    """A task: how cases become tensors, what the loss is, and how outputs become answers that are judged.

    It holds settings, never weights or state. ``dims`` is 2 or 3; ``channels`` names the images of a case in the
    order in which the network takes them (empty: as they come).
    """

    dims: int = 3
    channels: tuple[str, ...] = ()

    @property
    @abstractmethod
    def outputs(self) -> OutputSpec:
        """The output shape and the number of output channels of the network."""

    @property
    def truth(self) -> str:
        """The kind of truth that it learns from, as a cohort names it: that of its answers by default."""
        return self.outputs.answer

    @property
    def spatial_kinds(self) -> Mapping[str, SpatialKind]:
        """How each target follows a spatial transform of the image; one that is not named stays as it is."""
        return {}

    @property
    def depends_on_spacing(self) -> bool:
        """Whether it must not answer about elements much longer or shorter than those it learned from."""
        return False

    @property
    def judges_degraded(self) -> bool:
        """Whether an image that is its own truth is degraded before it is judged, as it is in training."""
        return True

    def cases_from(self, case: Case, *, is_judged: bool) -> Sequence[Case]:
        """Give the cases that are learned from, or judged on, of one that was read: itself by default."""
        del is_judged
        return (case,)

    @property
    def is_mappable(self) -> bool:
        """Whether the loss of a batch is the mean of its samples' losses."""
        return True

    @abstractmethod
    def example(self, seed: int = 0) -> Case:
        """Make a small case with its truth: for tests, for export, for documentation."""

    def propose(self, facts: DatasetFacts, budget: Budget, *, has_gpu: bool = False, model: str = "") -> Tables:
        """Give the tables of a recipe that suit a data set, by the output that the task needs of a network.

        ``model`` is the network that the user chose, if any. A network that the task brings is the default.
        """
        del budget
        chosen = "" if model == self.kind else model
        tables = plan_by_output(self.outputs.shape, facts, has_gpu=has_gpu, model=chosen)
        if self.brings_network() and not chosen:
            tables |= {"model": {"name": self.kind}, "solver": {}}
        return {"task": self.settings_from(facts), **tables}

    def settings_from(self, facts: DatasetFacts, **more: Any) -> dict[str, Any]:
        """Give the table of the task for a data set; what is no setting of this task is left out."""
        known = {"dims": facts.dims, "channels": facts.channels, "labels": facts.labels, "exclusive": facts.exclusive}
        own = {f.name for f in fields(self)}
        return {"kind": self.kind, **{k: v for k, v in (known | more).items() if k in own}}

    def network(self, inputs: int, *args: Any, **settings: Any) -> nn.Module:
        """Build the network that the task brings, for a number of input channels; few tasks bring one.

        A recipe chooses it by the name of the task, and gives the keywords of this method as settings of the model.
        """
        del inputs, args, settings
        raise SettingError(
            f"The task {self.kind!r} brings no network. Name one of {', '.join(registry.names('models'))}."
        )

    @classmethod
    def brings_network(cls) -> bool:
        """Whether the task brings a network."""
        return cls.network is not Task.network

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

    def check_export(self) -> None:
        """Raise if a network of this task cannot answer without torch."""
        missing = [name for name in self.answer_kind.settings if name not in self.settings()]
        if missing:
            raise SettingError(
                f"The task {self.kind!r} is not exported: without torch its answers are decoded by the settings "
                f"{', '.join(missing)}, which it does not have."
            )

    def exported(self, network: nn.Module) -> nn.Module:
        """Give the module that is exported, which gives what the kind of answer is decoded from.

        ``network`` gives the output at full resolution.
        """
        return network

    def check_predict(self) -> None:  # noqa: B027
        """Raise if the task does not answer about one image at a time."""

    def noise_case(self, name: str, seed: Sequence[int], label: str = "") -> Case:
        """Make the case of which a generative task makes an image: noise by a seed; other tasks raise.

        ``label`` names what the image is to be of, where the task was told labels; without it, chance chooses.
        """
        del name, seed, label
        raise SettingError(f"The task {self.kind!r} answers about images, and makes none. Give a run of generation.")

    @classmethod
    def makes_images(cls) -> bool:
        """Whether the task makes images of noise."""
        return cls.noise_case is not Task.noise_case

    def for_model(self, model: str) -> Task:
        """Give the task for a network of this name, where decoding depends on the network."""
        del model
        return self

    def merge_windows(self, answers: Sequence[Any], windows: Sequence[Grid], grid: Grid) -> Any:
        """Merge the answers of sliding windows, where they are not elements of one output."""
        return self.answer_kind.join(answers, windows, grid, self.settings())

    def ensemble(self, answers: Sequence[Any]) -> Any:
        """Merge the answers of several networks about one image, where their outputs cannot be averaged."""
        raise NotImplementedError(f"{self.kind} does not put the answers of networks together.")

    @abstractmethod
    def judge(self, truth: Any, answer: Any, *, region: LabelMap | None = None, quick: bool = False) -> dict[str, Any]:
        """Compare one answer with the truth: one row of plain numbers; None where a number does not apply.

        Only what lies in the ``region`` counts. With ``quick``, only what the aim needs.
        """

    def judge_shown(self, case: Case) -> dict[str, Any]:
        """Give the figures of what a case showed to the network, beside which those of its answer are read; or none."""
        del case
        return {}

    @abstractmethod
    def failed_row(self, truth: Any, *, region: LabelMap | None = None) -> dict[str, Any]:
        """Give the row of a case without an answer: the worst value of every figure."""

    @abstractmethod
    def summarise(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, float | None]:
        """Summarise the rows of a data set in the figures that are reported."""

    def summarise_many(self, rows: Sequence[Mapping[str, Any]], weights: Any) -> Mapping[str, Any] | None:
        """Summarise many resamples at once; None where a task has no fast way.

        ``weights`` (b, rows) says how often each row counts in each; each figure is then an array (b,).
        """
        del rows, weights
        return None

    def judge_set(self, pairs: Iterable[tuple[Any, Any]]) -> dict[str, float | None]:
        """Give the figures that only a whole set has, such as the distance of two distributions.

        ``pairs`` are truth and answer of every case that was answered, and are kept only for tasks that override this.
        The figures are reported without an interval.
        """
        del pairs
        return {}

    @classmethod
    def judges_sets(cls) -> bool:
        """Whether the task has figures of a whole set."""
        return cls.judge_set is not Task.judge_set

    def without_calibration(self) -> Task:
        """Give the task without what was fitted on validation cases."""
        return self

    def with_priors(self, oversampling: Mapping[str, float]) -> Task:
        """Give the task for a network that saw each class so many times as often as it occurs."""
        del oversampling
        return self

    def calibrated(self, rows: Sequence[Mapping[str, Any]]) -> Calibration:
        """Fit the calibration of the answers on the rows of validation cases, at least one; by default there is none.

        The rows come back in the same order, as the calibrated task would have given them.
        """
        return Calibration(self, rows)

    def details(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """Give what a report shows of the rows beside the figures, such as a ``calibration`` curve."""
        del rows
        return {}

    def binary_problems(self, truths: Sequence[Any]) -> dict[str, NDArray[np.float64]]:
        """Give the problems of two sides by which a solver parts the cases: by name, the signs (n,) of the truths."""
        del truths
        raise SettingError(f"A solver parts classes, but the task is {self.kind!r}. Take [solver] out.")

    @property
    def can_distill(self) -> bool:
        """Whether the outputs of two networks about one input can be compared."""
        return True

    def distillation_loss(self, output: Tensor, teacher_output: Tensor, *, temperature: float = 1.0) -> Tensor:
        """Give the distance of an output from a teacher's: the mean square by default."""
        del temperature
        return (output.float() - teacher_output.float()).square().mean()

    @property
    @abstractmethod
    def primary_metric(self) -> str:
        """The figure by which models are selected; larger is better."""

    @property
    def headline_metrics(self) -> tuple[str, ...]:
        """The figures that head a report, which shows the first three of them that the evaluation has."""
        return (self.primary_metric,)

    @property
    def label_noun(self) -> str:
        """What a report calls one of the labels, in the singular."""
        return "label"

    @abstractmethod
    def score(self, output: Tensor, index: int) -> Tensor:
        """Give one number a sample, for gradient-based explanations."""

    @property
    def kind(self) -> str:
        """The name of the task: that of its file."""
        return type(self).__module__.rpartition(".")[2]

    def settings(self) -> dict[str, Any]:
        """Give the settings that a saved model needs to decode its outputs."""
        return {"kind": self.kind, **asdict(self)}


def metrics_for(input_kind: str) -> list[str]:
    """List the metrics for one kind of input, such as labels or scores."""
    return [name for name in registry.names("metrics") if registry.find("metrics", name).input_kind == input_kind]


def images_to_tensor(case: Case, channels: Sequence[str]) -> Tensor:
    """Stack the images of a case into (channels, *shape) float32."""
    return torch.from_numpy(stack_channels(case, channels))


def softened_divergence(output: Tensor, teacher_output: Tensor, *, temperature: float = 1.0) -> Tensor:
    """Give the distillation loss of class logits: the KL divergence, both softened by ``temperature``.

    The square of ``temperature`` keeps the gradient as large as that of the truth.
    """
    log_student = (output.float() / temperature).log_softmax(1)
    log_teacher = (teacher_output.float() / temperature).log_softmax(1)
    return (log_teacher.exp() * (log_teacher - log_student)).sum(1).mean() * temperature**2


def full_resolution(output: Output) -> Tensor:
    """Give the full-resolution output of a network with deep supervision."""
    return output if isinstance(output, Tensor) else output[0]


def in_numpy(output: Tensor) -> Any:
    """Give a tensor of the CPU as an array of float32, in its own memory where it can; another as it is."""
    output = output.detach()
    return output.float().numpy() if output.device.type == "cpu" else output

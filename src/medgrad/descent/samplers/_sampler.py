"""The sampler interface, what a sampler knows of the training cases, and the order of an epoch."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from ...data import Case, Scores


@dataclass(frozen=True)
class CaseDraw:
    """A case that was drawn for a batch: its index, and the seed of its patch and augmentation."""

    case: int
    seed: tuple[int, ...]


@dataclass(frozen=True)
class SamplerCase:
    """What a sampler knows of a training case: its patient, and its class if it has exactly one."""

    patient: str
    label: str | None = None


class Sampler(ABC):
    """Which cases are in the next batch. It is made once, of the training cases and its settings.

    A draw depends on the step, the batch size and the seed alone, so a resumed run draws the same. ``batches_vary``
    says that batches differ in size, and may be empty: an empty batch is a step as well, with the gradient 0.
    """

    batches_vary: ClassVar[bool] = False

    @abstractmethod
    def draw(self, step: int, batch_size: int, seed: int) -> list[CaseDraw]:
        """Draw the cases of one training step. No two draws of a run have the same seed."""

    @property
    def oversampling(self) -> Mapping[str, float]:
        """How much more often each class is drawn than it occurs; empty if classes are drawn as they occur."""
        return {}


def sampler_cases(cases: Iterable[Case]) -> list[SamplerCase]:
    """Gather what a sampler may know of cases. A case without a patient is its own."""
    return [SamplerCase(case.patient or case.id, label_of(case.truth)) for case in cases]


def label_of(truth: object) -> str | None:
    """Return the class of a truth of mutually exclusive classes, else None."""
    return truth.top_class if isinstance(truth, Scores) and truth.exclusive else None


def positions(step: int, batch_size: int, n: int) -> Iterator[tuple[int, int]]:
    """Yield epoch and position in the epoch of each sample of a step, where an epoch has ``n`` samples.

    >>> list(positions(1, 2, 3))
    [(0, 2), (1, 0)]
    """
    for position in range(step * batch_size, (step + 1) * batch_size):
        yield divmod(position, n)


def draw_epochs(
    step: int, batch_size: int, seed: int, *, n: int, order: Callable[[int], NDArray[np.int64]]
) -> list[CaseDraw]:
    """Draw the next items of epochs of ``n``, each in the order that ``order(epoch)`` gives."""
    orders: dict[int, NDArray[np.int64]] = {}
    chosen = []
    for epoch, place in positions(step, batch_size, n):
        if epoch not in orders:
            orders[epoch] = order(epoch)
        chosen.append(CaseDraw(int(orders[epoch][place]), (seed, 1, epoch, place)))
    return chosen


def shuffle(n: int, seed: int, epoch: int) -> NDArray[np.int64]:
    """Return the random order of an epoch of ``n``."""
    return np.random.default_rng((seed, 0, epoch)).permutation(n)


def group_by_patient(cases: Sequence[SamplerCase]) -> list[list[int]]:
    """List the indices of each patient's cases, patients in the order in which they first come.

    >>> group_by_patient([SamplerCase("a"), SamplerCase("b"), SamplerCase("a")])
    [[0, 2], [1]]
    """
    groups: dict[str, list[int]] = {}
    for index, case in enumerate(cases):
        groups.setdefault(case.patient, []).append(index)
    return list(groups.values())


def patient_oversampling(cases: Sequence[SamplerCase]) -> dict[str, float]:
    """Compute how much more often each class is drawn than it occurs, if patients are equally likely.

    >>> patient_oversampling([SamplerCase("a", "ill"), SamplerCase("a", "ill"), SamplerCase("b", "well")])
    {'ill': 0.75, 'well': 1.5}
    """
    labels = [case.label for case in cases]
    known = [label for label in labels if label is not None]
    if len(known) != len(labels):
        return {}
    groups = group_by_patient(cases)
    drawn = dict.fromkeys(sorted(set(known)), 0.0)
    for group in groups:
        for index in group:
            drawn[known[index]] += 1 / (len(group) * len(groups))
    found = {label: share * len(known) / known.count(label) for label, share in drawn.items()}
    return found if any(abs(ratio - 1) > 1e-9 for ratio in found.values()) else {}

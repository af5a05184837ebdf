"""Class-balanced sampling: rare classes are drawn more often than they occur."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from ...errors import SettingError
from ._sampler import CaseDraw, Sampler, SamplerCase, draw_epochs, shuffle


class Balanced(Sampler):
    """Draw rare classes more often: with ``class_balance`` 0 every case is equally likely, with 1 every class.

    An epoch has as many draws as there are cases, stratified so that repeats are rare. Without mutually exclusive
    classes every epoch visits each case once, in random order.
    """

    def __init__(self, cases: Sequence[SamplerCase], *, class_balance: float = 0.5) -> None:
        if not 0 <= class_balance <= 1:
            raise SettingError(f"'class_balance' in [sampler] is from 0 to 1, but it is {class_balance}.")
        self.n_cases = len(cases)
        self.probabilities, self.ratios = balance_classes([case.label for case in cases], class_balance)

    @property
    def oversampling(self) -> Mapping[str, float]:
        return self.ratios

    def draw(self, step: int, batch_size: int, seed: int) -> list[CaseDraw]:
        def order(epoch: int) -> NDArray[np.int64]:
            if self.probabilities is None:
                return shuffle(self.n_cases, seed, epoch)
            return stratified_order(self.probabilities, seed, epoch)

        return draw_epochs(step, batch_size, seed, n=self.n_cases, order=order)


def stratified_order(probabilities: NDArray[np.float64], seed: int, epoch: int) -> NDArray[np.int64]:
    """Return the cases of an epoch, drawn by probability in strata, so that repeats are rare."""
    n = len(probabilities)
    rng = np.random.default_rng((seed, 0, epoch))
    start = rng.random()
    at = (start + np.arange(n)) / n
    picked = np.searchsorted(np.cumsum(probabilities[(mixed := rng.permutation(n))]), at, side="right")
    return rng.permutation(mixed[np.minimum(picked, n - 1)])


def balance_classes(
    labels: Sequence[str | None], class_balance: float
) -> tuple[NDArray[np.float64] | None, dict[str, float]]:
    """Compute the probability of each case, and how much more often each class is drawn than it occurs."""
    classes = [label for label in labels if label is not None]
    if len(classes) != len(labels) or not class_balance or len(set(classes)) < 2:
        return None, {}
    count = {c: classes.count(c) for c in set(classes)}
    weight = {c: (len(classes) / (len(count) * n)) ** class_balance for c, n in count.items()}
    total = sum(weight[c] for c in classes)
    shares = np.array([weight[c] / total for c in classes])
    return shares, {c: weight[c] * len(classes) / total for c in count}


THIS = Balanced

"""Learning rate range test: one short training in which the rate rises from far too low to far too high."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ...descent.stopping import loss_in
from ...errors import Diverged, SettingError
from .step_log import line_of
from .trainer import Trainer

SMOOTH = 0.9
"""The memory of the moving mean that is read."""
BLOWN = 3.0
"""How many times its lowest value the loss may reach before the rest is not worth the time."""


@dataclass(frozen=True)
class RateFound:
    """The tested rates, the smoothed loss at each, and the suggested rate: a tenth of that with the lowest loss."""

    rates: tuple[float, ...]
    losses: tuple[float, ...]
    rate: float

    @property
    def lowest(self) -> float:
        """The rate with the lowest loss; above it, training diverges."""
        return self.rates[self.losses.index(min(self.losses))]


def find_rate(learner: Trainer, *, low: float = 1e-6, high: float = 10.0, steps: int = 100) -> RateFound:
    """Run a learning rate range test: the rate rises by the same factor at each step. Smith, WACV 2017.

    The trainer is reset afterwards. The result holds only for its optimiser.
    """
    learner.begin()
    for group in learner.optimiser.param_groups:
        group["lr"] = group["base_rate"] = low
    learner.schedule = lambda done: (high / low) ** done
    rates: list[float] = []
    losses: list[float] = []
    mean, weight = 0.0, 0.0
    try:
        for step in learner.steps(lambda: steps, progress=lambda number: number / steps):
            loss = loss_in(line_of(step))
            if loss is None or not math.isfinite(loss):
                break
            mean, weight = SMOOTH * mean + (1 - SMOOTH) * loss, SMOOTH * weight + (1 - SMOOTH)
            rates.append(step.rate)
            losses.append(mean / weight)
            if len(losses) > 10 and losses[-1] > BLOWN * max(min(losses), 1e-6):
                break
    except Diverged:
        pass
    learner.begin()
    if len(rates) < 10:
        raise SettingError(
            f"The loss was no number from the first steps on, at rates of {low:g}. Look at the data first."
        )
    found = RateFound(tuple(rates), tuple(losses), 0.0)
    return RateFound(found.rates, found.losses, float(f"{found.lowest / 10:.1e}"))

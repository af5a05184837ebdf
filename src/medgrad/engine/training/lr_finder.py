"""Learning rate range test: one short training in which the rate rises from far too low to far too high."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ...descent.stopping import step_loss
from ...errors import Diverged, SettingError
from .step_log import step_to_line
from .trainer import Trainer

SMOOTHING = 0.9
"""The memory of the moving mean that is read."""
DIVERGENCE_FACTOR = 3.0
"""How many times its lowest value the loss may reach before the rest is not worth the time."""


@dataclass(frozen=True)
class RateFinderResult:
    """The tested rates, the smoothed loss at each, and the suggested rate: a tenth of that with the lowest loss."""

    rates: tuple[float, ...]
    losses: tuple[float, ...]
    rate: float

    @property
    def rate_of_lowest_loss(self) -> float:
        """The rate with the lowest loss; above it, training diverges."""
        return self.rates[self.losses.index(min(self.losses))]


def find_rate(
    trainer: Trainer, *, lowest_rate: float = 1e-6, highest_rate: float = 10.0, n_steps: int = 100
) -> RateFinderResult:
    """Run a learning rate range test: the rate rises by the same factor at each step. Smith, WACV 2017.

    The trainer is reset afterwards. The result holds only for its optimiser.
    """
    trainer.reset()
    for group in trainer.optimiser.param_groups:
        group["lr"] = group["base_rate"] = lowest_rate
    trainer.schedule = lambda done: (highest_rate / lowest_rate) ** done
    rates: list[float] = []
    losses: list[float] = []
    mean, weight = 0.0, 0.0
    try:
        for step in trainer.run_steps(lambda: n_steps, schedule_position=lambda number: number / n_steps):
            if not step.terms:  # its batch was empty
                continue
            loss = step_loss(step_to_line(step))
            if loss is None or not math.isfinite(loss):
                break
            mean, weight = SMOOTHING * mean + (1 - SMOOTHING) * loss, SMOOTHING * weight + (1 - SMOOTHING)
            rates.append(step.rate)
            losses.append(mean / weight)
            if len(losses) > 10 and losses[-1] > DIVERGENCE_FACTOR * max(min(losses), 1e-6):
                break
    except Diverged:
        pass
    trainer.reset()
    if len(rates) < 10:
        raise SettingError(
            f"The loss was no number from the first steps on, at rates of {lowest_rate:g}. Look at the data first."
        )
    found = RateFinderResult(tuple(rates), tuple(losses), 0.0)
    return RateFinderResult(found.rates, found.losses, float(f"{found.rate_of_lowest_loss / 10:.1e}"))

"""Stop when a statistical test shows that the loss no longer falls."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import special

from ._rule import Line, Rule, step_loss

N_BLOCKS = 20


def plateau(*, share: float = 0.01, window: int = 200, level: float = 0.95) -> Rule:
    """The loss falls by less than a ``share`` in ``window`` steps, and the data are enough to be sure of that.

    A test of equivalence, not the absence of a finding: it asks whether the one-sided upper limit of the fall, at this
    ``level``, lies below the share. So scatter makes it wait, where a test that only looks for a fall would end a run
    that still gets on. A line is fitted to the latter half of the run, to means of neighbours, which are alike.
    """
    losses: list[float] = []

    def rule(line: Line) -> str:
        loss = step_loss(line)
        if loss is None:
            return ""
        losses.append(loss)
        if len(losses) < 2 * window or len(losses) % window:
            return ""
        late = np.array(losses[len(losses) // 2 :])
        is_flat = max_fall(late, level) * window < share * abs(float(late.mean()))
        return f"the loss falls by less than {share:.1%} in {window} steps, by a test at {level:.0%}" if is_flat else ""

    return rule


def max_fall(losses: NDArray[np.float64], level: float) -> float:
    """Give the upper limit of the fall a step, one-sided, from a straight line through block means.

    >>> round(max_fall(np.linspace(3.0, 1.0, 201), 0.95), 4)
    0.01
    """
    parts = np.array_split(np.arange(len(losses)), N_BLOCKS)
    at = np.array([p.mean() for p in parts])
    means = np.array([losses[p].mean() for p in parts])
    x, y = at - at.mean(), means - means.mean()
    slope = (x @ y) / (x @ x)
    rest = y - slope * x
    error = np.sqrt(rest @ rest / (N_BLOCKS - 2) / (x @ x))
    return float(-slope + special.stdtrit(N_BLOCKS - 2, level) * error)


THIS = plateau

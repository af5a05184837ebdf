"""Stop when the relative decrease of the loss is small."""

from __future__ import annotations

from collections import deque

import numpy as np

from ._rule import Line, Rule, step_loss


def relative_decrease(*, share: float = 0.001, window: int = 100) -> Rule:
    """The mean loss of the last ``window`` steps is lower than that of the ``window`` before by less than a ``share``.

    (before - now) / |before| < share. For a loss that crosses zero, use ``plateau``.
    """
    kept: deque[float] = deque(maxlen=2 * window)
    since = 0

    def rule(line: Line) -> str:
        nonlocal since
        loss = step_loss(line)
        if loss is None:
            return ""
        kept.append(loss)
        since += 1
        if since < 2 * window or since % window:
            return ""
        before, now = np.mean(np.reshape(kept, (2, window)), axis=1)
        is_flat = before - now < share * abs(before)
        return f"the loss fell by less than {share:.2%} in {window} steps" if is_flat else ""

    return rule


THIS = relative_decrease

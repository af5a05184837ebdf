"""Linear warm-up before another schedule."""

from collections.abc import Callable, Mapping
from typing import Any

from ... import registry
from ..stopping import Line


class WarmUp:
    """The rate rises from nothing over a ``share`` of the budget; the schedule ``then`` has the rest as its whole.

    >>> schedule = WarmUp(share=0.1, then={"name": "polynomial", "power": 1.0})
    >>> schedule(0.05), round(schedule(0.55), 9)
    (0.5, 0.5)
    """

    def __init__(self, *, share: float = 0.05, then: Mapping[str, Any] | None = None) -> None:
        then = then or {"name": "constant"}
        settings = {k: v for k, v in then.items() if k != "name"}
        self.share = share
        self.then: Callable[[float], float] = registry.find("descent.schedules", then["name"])(**settings)

    def __call__(self, done: float) -> float:
        if done < self.share:
            return max(done, 1e-4) / self.share
        return self.then((done - self.share) / max(1e-9, 1 - self.share))

    def observe(self, line: Line) -> None:
        """Pass a line on to a schedule that listens."""
        if hasattr(self.then, "observe"):
            self.then.observe(line)


THIS = WarmUp

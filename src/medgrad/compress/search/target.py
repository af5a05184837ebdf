"""The target of pruning: shares of the parent's costs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import ceil, log
from typing import TYPE_CHECKING, Final

from ...errors import SettingError

if TYPE_CHECKING:
    from .parents import Costly

TIME: Final = "milliseconds"
"""What is measured; all else that a network costs is counted."""
WHAT = {"flops": "flops", "parameters": "parameters", "size": "bytes", "bytes": "bytes", "latency": TIME}
"""What a target may be about, as it is typed."""
NOISY = 1.1
"""Times are noisy, so a tenth more will do."""
QUICKER = 0.6
"""The power of the share of the multiply-adds by which time is wished for: 0.25 of it where they are 0.1."""


@dataclass(frozen=True)
class Target:
    """How small: the shares that may be left of what the parent costs; a network is cut for all of them together.

    The share of the time that is ``wished`` for is aimed at as well, as far as it costs little else.

    >>> Target.of("flops=0.1, size=0.2")
    Target(shares={'flops': 0.1, 'bytes': 0.2}, wished=1.0)
    """

    shares: Mapping[str, float]
    wished: float = 1.0

    @classmethod
    def of(cls, text: str) -> Target:
        """Parse a target as it is typed."""
        shares = {}
        for each in text.split(","):
            what, _, number = (part.strip() for part in each.partition("="))
            try:
                share = float(number)
            except ValueError:
                share = 0.0
            if what not in WHAT or not 0 < share < 1 or WHAT[what] in shares:
                raise SettingError(
                    f"A target is {', '.join(WHAT)} and a share below 1, as in flops=0.1, or several of them with "
                    f"commas between, not {text!r}."
                )
            shares[WHAT[what]] = share
        return cls(shares)

    @property
    def first(self) -> str:
        """The first cost that is named."""
        return next(iter(self.shares))

    def quick(self) -> Target:
        """Give the goal that wishes for time as well, where multiply-adds are aimed at and no time is named.

        >>> round(Target.of("flops=0.1").quick().wished, 2), Target.of("size=0.1").quick().wished
        (0.25, 1.0)
        """
        if TIME in self.shares or "flops" not in self.shares:
            return self
        return replace(self, wished=self.shares["flops"] ** QUICKER)

    def at(self, down: float) -> Target:
        """Give the goal so far on the way down: 0 is the parent, 1 is this one.

        >>> Target({"flops": 0.25}).at(0.5)
        Target(shares={'flops': 0.5}, wished=1.0)
        """
        return Target({what: share**down for what, share in self.shares.items()}, self.wished**down)

    def stages(self, stride: float) -> int:
        """Count the stages to this goal, each of which costs at least a ``stride`` of the one before.

        >>> Target({"flops": 0.1}).stages(0.4)
        3
        """
        return max(1, ceil(log(min(self.shares.values())) / log(stride)))

    def rungs(self, stride: float) -> list[Target]:
        """Give the goals on the way, each at least a ``stride`` of the one before, the last being this one.

        >>> [f"{goal.shares['flops']:.3g}" for goal in Target({"flops": 0.1}).rungs(0.4)]
        ['0.464', '0.215', '0.1']
        """
        count = self.stages(stride)
        return [self.at((number + 1) / count) for number in range(count)]

    def reached(self, small: Costly, whole: Costly) -> bool:
        """Tell whether a network meets the target."""
        return all(cost(small, w) <= (NOISY if w == TIME else 1.0) * s * cost(whole, w) for w, s in self.shares.items())

    def as_of(self, small: Costly, whole: Costly) -> Target:
        """Give the goal to be as small as some network in what this one is about; as fast only if it is about no more.

        Which layers are quick is another question than which channels matter.
        """
        about = [what for what in self.shares if what != TIME] or [TIME]
        return Target({what: min(0.999, cost(small, what) / cost(whole, what)) for what in about})

    def __str__(self) -> str:
        """Say it in words."""
        return " and ".join(f"{share:.1%} of the {what}" for what, share in self.shares.items())


def cost(costly: Costly, what: str) -> float:
    """Read one cost of a network by its name."""
    return float(costly.milliseconds if what == TIME else getattr(costly.cost, what))

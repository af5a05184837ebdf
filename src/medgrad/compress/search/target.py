"""The target of pruning: shares of the parent's costs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import ceil, log
from typing import TYPE_CHECKING, Final

from ...errors import SettingError

if TYPE_CHECKING:
    from .parents import HasCost

TIME: Final = "milliseconds"
"""What is measured; all else that a network costs is counted."""
COST_NAMES = {"flops": "flops", "parameters": "parameters", "size": "bytes", "bytes": "bytes", "latency": TIME}
"""What a target may be about, as it is typed."""
TIMING_TOLERANCE = 1.1
"""Times are noisy, so a tenth more will do."""
TIME_POWER = 0.6
"""The power of the share of the multiply-adds by which time is wished for: 0.25 of it where they are 0.1."""


@dataclass(frozen=True)
class Target:
    """How small: the shares that may be left of what the parent costs; a network is cut for all of them together.

    The share of the time that is ``soft_time_share`` for is aimed at as well, as far as it costs little else.

    >>> Target.parse("flops=0.1, size=0.2")
    Target(shares={'flops': 0.1, 'bytes': 0.2}, soft_time_share=1.0)
    """

    shares: Mapping[str, float]
    soft_time_share: float = 1.0

    @classmethod
    def parse(cls, text: str) -> Target:
        """Parse a target as it is typed."""
        shares = {}
        for each in text.split(","):
            what, _, number = (part.strip() for part in each.partition("="))
            try:
                share = float(number)
            except ValueError:
                share = 0.0
            if what not in COST_NAMES or not 0 < share < 1 or COST_NAMES[what] in shares:
                raise SettingError(
                    f"A target is {', '.join(COST_NAMES)} and a share below 1, as in flops=0.1, or "
                    "several of them with "
                    f"commas between, not {text!r}."
                )
            shares[COST_NAMES[what]] = share
        return cls(shares)

    @property
    def primary_cost(self) -> str:
        """The first cost that is named."""
        return next(iter(self.shares))

    def with_soft_time(self) -> Target:
        """Give the goal that wishes for time as well, where multiply-adds are aimed at and no time is named.

        >>> [round(Target.parse(t).with_soft_time().soft_time_share, 2) for t in ("flops=0.1", "size=0.1")]
        [0.25, 1.0]
        """
        if TIME in self.shares or "flops" not in self.shares:
            return self
        return replace(self, soft_time_share=self.shares["flops"] ** TIME_POWER)

    def at_fraction(self, fraction: float) -> Target:
        """Give the goal at a fraction of the way: 0 is the parent, 1 is this one.

        >>> Target({"flops": 0.25}).at_fraction(0.5)
        Target(shares={'flops': 0.5}, soft_time_share=1.0)
        """
        return Target({what: share**fraction for what, share in self.shares.items()}, self.soft_time_share**fraction)

    def count_stages(self, ratio: float) -> int:
        """Count the stages to this goal, each of which costs at least a ``ratio`` of the one before.

        >>> Target({"flops": 0.1}).count_stages(0.4)
        3
        """
        return max(1, ceil(log(min(self.shares.values())) / log(ratio)))

    def stage_targets(self, ratio: float) -> list[Target]:
        """Give the goals on the way, each at least a ``ratio`` of the one before, the last being this one.

        >>> [f"{goal.shares['flops']:.3g}" for goal in Target({"flops": 0.1}).stage_targets(0.4)]
        ['0.464', '0.215', '0.1']
        """
        count = self.count_stages(ratio)
        return [self.at_fraction((number + 1) / count) for number in range(count)]

    def is_reached(self, candidate: HasCost, parent: HasCost) -> bool:
        """Tell whether a network meets the target."""
        return all(
            read_cost(candidate, w) <= (TIMING_TOLERANCE if w == TIME else 1.0) * s * read_cost(parent, w)
            for w, s in self.shares.items()
        )

    def matching(self, candidate: HasCost, parent: HasCost) -> Target:
        """Give the goal to be as small as some network in what this one is about; as fast only if it is about no more.

        Which layers are quick is another question than which channels matter.
        """
        about = [what for what in self.shares if what != TIME] or [TIME]
        return Target({what: min(0.999, read_cost(candidate, what) / read_cost(parent, what)) for what in about})

    def __str__(self) -> str:
        """Say it in words."""
        return " and ".join(f"{share:.1%} of the {what}" for what, share in self.shares.items())


def read_cost(network: HasCost, cost_name: str) -> float:
    """Read one cost of a network by its name."""
    return float(network.milliseconds if cost_name == TIME else getattr(network.cost, cost_name))

"""Shuffled sampling: every epoch visits each case once, in random order."""

from __future__ import annotations

from collections.abc import Sequence

from ._sampler import CaseDraw, Sampler, SamplerCase, draw_epochs, shuffle


class Shuffled(Sampler):
    """Every epoch visits each case once, in random order.

    >>> sorted(d.case for d in Shuffled([SamplerCase(p) for p in "abc"]).draw(0, 3, 0))
    [0, 1, 2]
    """

    def __init__(self, cases: Sequence[SamplerCase]) -> None:
        self.n_cases = len(cases)

    def draw(self, step: int, batch_size: int, seed: int) -> list[CaseDraw]:
        return draw_epochs(
            step, batch_size, seed, n=self.n_cases, order=lambda epoch: shuffle(self.n_cases, seed, epoch)
        )


THIS = Shuffled

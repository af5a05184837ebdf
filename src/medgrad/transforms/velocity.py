"""Velocity: a smooth way that can be undone, put together out of small steps."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ..regularity.gaussian import smoothed
from ._warp import compose, resized


class Velocity(nn.Module):
    """A displacement at knots ``every`` so many elements, and the velocity with which it goes on.

    The weights are the velocity: smoothed by a Gaussian of ``smooth`` knots, it is one small step, which comes before
    the way gone so far. ``settle`` takes that step and begins anew, as greedy diffeomorphic registration does
    (Yushkevich and others 2016). Steps well below the distance of the knots leave no folds. ``firm`` is a Gaussian, in
    knots, that smooths the whole way after each step: none for fluids, some for what springs back.
    """

    way: Tensor

    def __init__(
        self,
        shape: Sequence[int],
        *,
        spacing: Sequence[float] | None = None,
        count: int = 1,
        every: float = 2.0,
        smooth: float = 1.0,
        firm: float = 0.0,
    ) -> None:
        super().__init__()
        del spacing
        self.smooth, self.firm = smooth, firm
        self.knots = tuple(min(n, max(3, round((n - 1) / every) + 1)) for n in shape)
        self.velocity = nn.Parameter(torch.zeros(count, len(self.knots), *self.knots))
        self.register_buffer("way", torch.zeros(count, len(self.knots), *self.knots))

    def whole(self) -> Tensor:
        """Give the displacement at the knots (count, dims, *knots), in knots, with the step that is being taken."""
        return compose(smoothed(self.velocity, self.smooth), self.way)

    def forward(self, inputs: Tensor) -> Tensor:
        """Give the displacement (b, dims, *shape), in elements of the inputs."""
        return resized(self.whole(), inputs.shape[2:]).expand(len(inputs), -1, *inputs.shape[2:])

    @torch.no_grad()
    def settle(self) -> None:
        """Take the step, and let the velocity begin at nothing again."""
        self.way.copy_(smoothed(self.whole(), self.firm))
        self.velocity.zero_()

    @torch.no_grad()
    def begin(self, displacement: Tensor) -> None:
        """Begin with a displacement (count, dims, *shape) that is known, in its own elements."""
        self.way.copy_(resized(displacement, self.knots))


THIS = Velocity

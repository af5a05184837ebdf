"""Local normalised cross-correlation of two volumes of 96 voxels a side, forward and backward: ours beside MONAI's.

Bound: at least 2 times as fast on one thread, values equal to 1e-5 and gradients to 1e-4 of the largest.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from _race import Side, compared, race, serve, settings, told

SHAPE, WIDTH, BOUND, ROUNDS = (96, 96, 96), 9, 2.0, 9


def measure(side: str) -> Callable[[Any, Any], Any]:
    """Give one side's measure, as one that is best at 0."""
    if side == "ours":
        from medgrad.losses.similarity.lncc import LNCC

        return LNCC(WIDTH)
    from monai.losses import LocalNormalizedCrossCorrelationLoss

    theirs = LocalNormalizedCrossCorrelationLoss(spatial_dims=3, kernel_size=WIDTH)
    return lambda moved, fixed: 1 + theirs(moved, fixed)


def step_of(side: str) -> Callable[[], list[float]]:
    """Give one evaluation with its gradient: the value, and the gradient at some elements."""
    import torch

    from medgrad.engine.compute.device import keep_freed_memory

    keep_freed_memory()
    torch.set_num_threads(1)
    made = torch.Generator().manual_seed(0)
    moved, fixed = (torch.rand(1, 1, *SHAPE, generator=made) for _ in range(2))
    moved.requires_grad_()
    cost = measure(side)

    def step() -> list[float]:
        moved.grad = None
        value = cost(moved, fixed)
        value.backward()
        assert moved.grad is not None
        return [float(value.detach()), *moved.grad.flatten()[::9973].tolist()]

    return step


def run(threads: int = 1, rounds: int = 0) -> dict[str, Any]:
    """Race both; ``held`` tells whether the bound does."""
    found = race({s: Side(__file__, s, threads=threads) for s in ("ours", "theirs")}, rounds or ROUNDS)
    figures = compared(found, threads)
    one, other = (found[s][0]["value"] for s in ("ours", "theirs"))
    apart = abs(one[0] - other[0])
    largest = max(abs(v) for v in other[1:])
    slope = max(abs(a - b) for a, b in zip(one[1:], other[1:], strict=True)) / largest
    row = {
        "what": "LNCC, k = 9, 96^3",
        "ours s": figures["ours_cpu"],
        "MONAI s": figures["theirs_cpu"],
        "ratio": figures["ratio"],
        "values apart": apart,
        "gradients apart": slope,
    }
    held = figures["ratio"] >= BOUND and apart <= 1e-5 and slope <= 1e-4
    return {"rows": [row], "bound": BOUND, "claim": f"at least {BOUND:g} times as fast, and equal", "held": held}


if __name__ == "__main__":
    given = settings(__doc__ or "")
    if given.side:
        serve(step_of(given.side[0]))
    else:
        sys.exit(told(run(given.threads, given.rounds)))

"""FireANTs on the CPU as a side: an affine registration, then a greedy one, by local correlation.

Its CPU path runs as it is. What it prints while it is imported is sent aside, since a side answers on standard output.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from contextlib import redirect_stdout
from typing import Any

import numpy as np

STEPS = {"fireants": (100, 10), "fireants_quick": (50, 5)}
"""On half the resolution, where the affine part takes 30 before, and on the whole."""
WINDOW, RATE, SMOOTHED = 5, 1.0, 2.0


def by_fireants(fixed: Any, moving: Any, steps: tuple[int, int]) -> Callable[[Any], tuple[Any, float]]:
    """Register two cubes, and give what moves labels and tells the folding."""
    logging.disable(logging.WARNING)
    with redirect_stdout(sys.stderr):
        from fireants.io.image import BatchedImages
        from fireants.io.image import Image as Read
        from fireants.registration.affine import AffineRegistration
        from fireants.registration.greedy import GreedyRegistration
        from SimpleITK import GetImageFromArray

        one, other = (
            BatchedImages([Read(GetImageFromArray(np.float32(a / np.quantile(a, 0.999))), device="cpu")])
            for a in (fixed, moving)
        )
        said: dict[str, Any] = {"cc_kernel_size": WINDOW, "progress_bar": False}
        affine = AffineRegistration([2], [30], one, other, optimizer="Adam", optimizer_lr=3e-3, **said)
        affine.optimize()
        greedy = GreedyRegistration(
            [2, 1],
            list(steps),
            one,
            other,
            optimizer="Adam",
            optimizer_lr=RATE,
            smooth_grad_sigma=SMOOTHED,
            smooth_warp_sigma=0.5,
            init_affine=affine.get_affine_matrix().detach(),
            **said,
        )
        greedy.optimize()
        places = greedy.get_warped_coordinates(one, other).detach()

    def move(labels: Any) -> tuple[Any, float]:
        import torch

        array = torch.from_numpy(labels.astype("float32"))[None, None]
        moved = torch.nn.functional.grid_sample(array, places, mode="nearest", align_corners=True)
        return moved[0, 0].numpy(), folded(places[0].numpy())

    return move


def folded(places: Any) -> float:
    """Give the share of a cube's elements at which places (z, y, x, 3), in x, y, z from -1 to 1, fold."""
    at = places[..., ::-1] * (np.array(places.shape[:-1]) - 1) / 2
    slopes = np.stack([np.stack(np.gradient(at[..., i]), axis=-1) for i in range(3)], axis=-2)
    return float((np.linalg.det(slopes) <= 0).mean())

"""Rigid registration from anywhere: turns up to 60 degrees and shifts up to 40 mm of a synthetic chest, all by seed.

The moving image is the fixed one turned about its middle, shifted, and scanned anew with other noise. An end counts as
found where the mean error over the body is below 1 mm.

Bound: at least 99 % are found.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
from _race import settings, told

STARTS = 500
DEGREES, SHIFT_MM, NOISE, FOUND_MM = 60.0, 40.0, 0.02, 1.0


def chest() -> Any:
    """Give the image of a synthetic patient."""
    from medgrad.data.cohorts.phantom import Phantom, make_patient, to_cases

    return next(iter(to_cases(make_patient(Phantom(seed=0), 0))[0].images.values()))


def drawn(image: Any, seed: int) -> Any:
    """Draw a rigid matrix about the middle of an image, in world mm: any axis, any direction."""
    from scipy.spatial.transform import Rotation

    rng = np.random.default_rng(seed)
    axis, way = (v / np.linalg.norm(v) for v in rng.normal(size=(2, 3)))
    turn = Rotation.from_rotvec(np.deg2rad(rng.uniform(0, DEGREES)) * axis).as_matrix()
    middle = image.grid.to_world((np.array(image.grid.shape) - 1) / 2)
    matrix = np.eye(4)
    matrix[:3, :3] = turn
    matrix[:3, 3] = middle - turn @ middle + rng.uniform(0, SHIFT_MM) * way
    return matrix


def scanned(image: Any, matrix: Any, seed: int) -> Any:
    """Give the image as it looks after the patient has moved by the inverse of a matrix, with noise of its own."""
    from dataclasses import replace

    from medgrad.data.transform import Transform, warp_image

    back = tuple(map(tuple, np.linalg.inv(matrix)))
    moved = warp_image(image, Transform(back, image.grid))
    spread = float(np.ptp(image.array))
    noise = np.random.default_rng(seed).normal(0, NOISE * spread, moved.array.shape)
    return replace(moved, array=(moved.array + noise).astype(np.float32))


def error_mm(image: Any, matrix: Any, found: Any) -> float:
    """Give the mean distance between where both matrices take the points of the body."""
    from medgrad.data.transform import apply_affine, voxel_positions

    points = voxel_positions(image.grid)[image.array > np.percentile(image.array, 50)][::97]
    return float(np.linalg.norm(apply_affine(np.array(found), points) - apply_affine(matrix, points), axis=1).mean())


def run(threads: int = 1, rounds: int = 0) -> dict[str, Any]:
    """Register from every start; ``held`` tells whether enough are found."""
    import torch

    from medgrad.registration.register import register

    torch.set_num_threads(threads)
    image = chest()
    errors = []
    for seed in range(rounds or STARTS):
        matrix = drawn(image, seed)
        moving = scanned(image, matrix, seed)
        errors.append(error_mm(image, matrix, register(image, moving, kind="rigid").transform.matrix))
    found = float((np.array(errors) < FOUND_MM).mean())
    row = {
        "starts": len(errors),
        "found": found,
        "median mm": float(np.median(errors)),
        "95th percentile mm": float(np.quantile(errors, 0.95)),
        "worst mm": max(errors),
    }
    return {"rows": [row], "claim": f"at least 99 % end within {FOUND_MM:g} mm", "held": found >= 0.99}


if __name__ == "__main__":
    given = settings(__doc__ or "")
    sys.exit(told(run(given.threads, given.rounds)))

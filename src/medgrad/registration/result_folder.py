"""The result folder of a registration: transform, moved image, pictures and figures."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ..data import Grid, Image
from ..data.formats import read_field, write, write_field, write_matrix
from ..data.grid import matrix_to_tuples
from ..data.transform import Transform, apply_affine, jacobian_determinant, voxel_positions, warp_image
from ..errors import FormatError
from ..machine.threads import run_together
from .register import RegistrationResult

FILE = "registration.json"
FIELD = "displacement.nii.gz"
CHECKERBOARD_SQUARES = 8


def write_result(
    folder: Path,
    result: RegistrationResult,
    fixed: Image,
    moving: Image,
    *,
    requested_kind: str,
    metrics: Mapping[str, Any],
) -> dict[str, str]:
    """Write the moved image, the transform for ITK, pictures and figures; return the paths by name."""
    folder.mkdir(parents=True, exist_ok=True)
    whole = result.transform.to_deformation()
    moved = warp_image(moving, result.transform)
    ending = ".png" if fixed.grid.dims == 2 and moved.array.dtype in (np.uint8, np.uint16) else ".nii.gz"

    def write_jacobian() -> Path:
        volume_change = jacobian_determinant(whole.field, whole.grid).astype(np.float32)
        return write(folder / "jacobian.nii.gz", Image(volume_change, whole.grid))

    writers: dict[str, Callable[[], Path]] = {
        "displacement": partial(write_field, folder / FIELD, whole),
        "moved": partial(write, folder / f"moved{ending}", moved),
        "transform": partial(write_matrix, folder / "transform.txt", result.transform.matrix),
        "jacobian": write_jacobian,
    }
    written = run_together([*writers.values()], n_threads=torch.get_num_threads())
    files = dict(zip(writers, written, strict=True))
    for name, picture in draw_comparison(fixed, moved).items():
        flat = Image(picture, Grid.from_shape(picture.shape, has_spacing=False))
        files[name] = write(folder / f"{name}.png", flat)
    table = {
        "kind": result.kind,
        "asked": requested_kind,
        "similarity": result.similarity,
        "smoothness": result.smoothness,
        "told": list(result.messages),
        "matrix": result.transform.matrix,
        "fixed": grid_to_dict(fixed.grid),
        "moving": grid_to_dict(moving.grid),
        "metrics": dict(metrics),
        "threads": torch.get_num_threads(),
    }
    (folder / FILE).write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8")
    return {name: str(path) for name, path in files.items()}


def grid_to_dict(grid: Grid) -> dict[str, Any]:
    """Give a grid as plain values."""
    return {"shape": grid.shape, "affine": grid.affine, "measured": grid.has_spacing}


def read_transform(folder: Path) -> tuple[Transform, Grid]:
    """Read the transform of a result folder, and the grid of the moving image."""
    path = folder / FILE
    if not path.is_file():
        raise FormatError(f"{str(folder)!r} holds no {FILE}. Give the folder that 'medgrad register' wrote.")
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
        fixed, moving = (
            Grid(
                tuple(told[k]["shape"]), matrix_to_tuples(np.array(told[k]["affine"], float)), bool(told[k]["measured"])
            )
            for k in ("fixed", "moving")
        )
        matrix = matrix_to_tuples(np.array(told["matrix"], float))
        kind = str(told["kind"])
    except (ValueError, KeyError, TypeError) as reason:
        raise FormatError(f"{str(path)!r} is damaged: {reason}. Register again.") from reason
    if np.array(matrix).shape != (fixed.dims + 1,) * 2 or abs(np.linalg.det(np.array(matrix))) < 1e-9:
        raise FormatError(f"{str(path)!r} holds a matrix that is none for its grid. Register again.")
    if kind != "deformable":
        return Transform(matrix, fixed), moving
    return Transform(matrix, fixed, read_deformation(folder / FIELD, matrix, fixed)), moving


def read_deformation(path: Path, matrix: tuple[tuple[float, ...], ...], grid: Grid) -> NDArray[np.float32]:
    """Read the displacement that a field adds to a matrix."""
    found = read_field(path)
    if found.grid.shape != grid.shape:
        raise FormatError(f"{str(path)!r} has the shape {found.grid.shape}, but the fixed image has {grid.shape}.")
    points = voxel_positions(grid)
    back = apply_affine(np.linalg.inv(np.array(matrix)), points + found.field) - points
    return back.astype(np.float32)


def draw_comparison(fixed: Image, moved: Image) -> dict[str, NDArray[np.uint8]]:
    """Draw both images as a checkerboard and as their difference, through the middle along every axis."""
    one, other = (rescale_intensities(i.channels_first.astype(np.float32).mean(axis=0)) for i in (fixed, moved))
    board = np.indices(one.shape) // np.maximum(np.array(one.shape) // CHECKERBOARD_SQUARES, 1).reshape(
        -1, *[1] * one.ndim
    )
    mixed = np.where(board.sum(axis=0) % 2 == 0, one, other)
    return {
        "checkerboard": join_middle_planes(np.round(255 * mixed).astype(np.uint8)),
        "difference": join_middle_planes(np.round(127.5 * (1 + one - other)).astype(np.uint8)),
    }


def rescale_intensities(array: NDArray[np.float32]) -> NDArray[np.float32]:
    """Scale to 0 up to 1, from the 0.5th to the 99.5th percentile."""
    low, high = np.percentile(array, [0.5, 99.5])
    return np.clip((array - low) / max(float(high - low), 1e-6), 0, 1).astype(np.float32)


def join_middle_planes(array: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Join the middle planes of a volume in one picture, upright for a standing patient; a picture stays as it is."""
    if array.ndim == 2:
        return array
    planes = [np.take(array, array.shape[a] // 2, axis=a).T[::-1] for a in range(3)]
    tall = max(p.shape[0] for p in planes)
    return np.concatenate([np.pad(p, ((0, tall - p.shape[0]), (0, 0))) for p in planes], axis=1)

"""Register two images with a trained network."""

from __future__ import annotations

import numpy as np

from ..data import Case, Deformation, Image
from ..data.cohorts.pair_truth import align_centres, grid_centre
from ..data.grid import matrix_to_tuples
from ..data.transform import Transform, voxel_positions
from ..engine.evaluation.infer import answer_case
from ..engine.runs.run import TrainedRun
from ..errors import SettingError
from ..tasks.registration import Registration


def register_with_network(trained: TrainedRun, fixed: Image, moving: Image) -> Transform:
    """Ask a run where each point of the fixed image lies in the moving one; on the grid of the fixed image.

    A run that has learned from images laid centre on centre gets these two in the same way.
    """
    task = trained.task
    if not isinstance(task, Registration):
        raise SettingError(f"This run was made for {task.kind}. Give one that fit made with --task registration.")
    if fixed.grid.dims != task.dims or moving.grid.dims != task.dims:
        raise SettingError(f"The run registers images of {task.dims} axes.")
    shift = grid_centre(moving.grid) - grid_centre(fixed.grid) if task.centre_aligned else np.zeros(task.dims)
    aligned = align_centres(moving, moving.grid, fixed.grid) if task.centre_aligned else moving
    names = task.channels or ("fixed", "moving")
    case = Case("pair", dict(zip(names, (fixed, aligned), strict=True)))
    deformation = answer_case(trained, case)
    assert isinstance(deformation, Deformation)
    whole = Transform.from_deformation(deformation)
    ends = whole.to_moving(voxel_positions(fixed.grid))
    bend = ends - voxel_positions(fixed.grid)
    matrix = np.eye(task.dims + 1)
    matrix[: task.dims, task.dims] = shift
    return Transform(matrix_to_tuples(matrix), fixed.grid, bend.astype(np.float32))

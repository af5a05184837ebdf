"""Register two images with a trained network."""

from __future__ import annotations

import numpy as np

from ..data import Case, Deformation, Image
from ..data.cohorts.pair_truth import centre_aligned, centre_of
from ..data.grid import as_rows
from ..data.transform import Transform, voxels
from ..engine.evaluation.infer import answer
from ..engine.runs.run import Trained
from ..errors import SettingError
from ..tasks.registration import Registration


def register_with_network(trained: Trained, fixed: Image, moving: Image) -> Transform:
    """Ask a run where each point of the fixed image lies in the moving one; on the grid of the fixed image.

    A run that has learned from images laid centre on centre gets these two in the same way.
    """
    task = trained.task
    if not isinstance(task, Registration):
        raise SettingError(f"This run was made for {task.kind}. Give one that fit made with --task registration.")
    if fixed.grid.dims != task.dims or moving.grid.dims != task.dims:
        raise SettingError(f"The run registers images of {task.dims} axes.")
    shift = centre_of(moving.grid) - centre_of(fixed.grid) if task.centred else np.zeros(task.dims)
    laid = centre_aligned(moving, moving.grid, fixed.grid) if task.centred else moving
    names = task.channels or ("fixed", "moving")
    case = Case("pair", dict(zip(names, (fixed, laid), strict=True)))
    said = answer(trained, case)
    assert isinstance(said, Deformation)
    whole = Transform.of(said)
    ends = whole.to_moving(voxels(fixed.grid))
    bend = ends - voxels(fixed.grid)
    matrix = np.eye(task.dims + 1)
    matrix[: task.dims, task.dims] = shift
    return Transform(as_rows(matrix), fixed.grid, bend.astype(np.float32))

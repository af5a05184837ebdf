"""Pictures of volumes lie as radiologists lay them, however the volume was stored."""

import numpy as np
import pytest

from medgrad.answers import best_plane
from medgrad.data import Grid, Image
from medgrad.data.display import plane_at, upright
from medgrad.data.grid import matrix_to_tuples

SIGN = {"R": (0, 1), "L": (0, -1), "A": (1, 1), "P": (1, -1), "S": (2, 1), "I": (2, -1)}


def volume(orientation):
    """Give a volume that is 1 on the patient's right, 10 at the front, 11 at both, and 0 elsewhere."""
    matrix = np.eye(4)
    matrix[:3, :3] = 0
    for axis, letter in enumerate(orientation):
        world, sign = SIGN[letter]
        matrix[world, axis] = sign
    grid = Grid((6, 6, 6), matrix_to_tuples(matrix))
    places = grid.to_world(np.moveaxis(np.indices(grid.shape), 0, -1))
    middle = grid.to_world((2.5, 2.5, 2.5))
    return Image(((places - middle)[..., 0] > 0) + 10 * ((places - middle)[..., 1] > 0), grid)


@pytest.mark.parametrize("orientation", ["LPS", "RAS", "LAS", "RPI", "PSR", "SAL", "ALI"])
def test_the_patients_right_is_on_the_left_and_the_front_on_top(orientation):
    image = volume(orientation)
    plane, _ = best_plane(image, None)
    flat = upright(image.array[plane], image.grid)
    assert flat[0, 0] == 11
    assert flat[0, -1] == 10
    assert flat[-1, 0] == 1
    assert flat[-1, -1] == 0


@pytest.mark.parametrize("orientation", ["LPS", "PSR", "SAL", "ALI"])
def test_the_rows_are_as_far_apart_as_they_lie_from_front_to_back(orientation):
    matrix = volume(orientation).grid.matrix * [[2.0], [3.0], [5.0], [1.0]]  # mm to the right, to the front, up
    grid = Grid((6, 6, 6), matrix_to_tuples(matrix))
    assert [grid.spacing[axis] for axis in plane_at(grid)[1]] == [3.0, 2.0]

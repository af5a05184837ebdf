"""Surface distances: against all pairs, by hand, and on grids of every kind."""

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from medgrad import metrics
from medgrad.data.grid import Grid
from medgrad.data.types import LabelMap
from medgrad.metrics import _surface, hd95

SHEAR = [[1.0, 0.4, 0], [0, 1.0, 0.2], [0, 0, 2.0]]
TURNED = [[0.6, -0.8, 0], [0.8, 0.6, 0], [0, 0, 3.0]]
MATRICES = {
    "even": np.eye(3),
    "thick": np.diag([0.7, 0.7, 3.0]),
    "thick first": np.diag([4.0, 0.5, 0.5]),
    "all different": np.diag([0.5, 1.0, 2.0]),
    "sheared": np.array(SHEAR),
    "turned": np.array(TURNED),
    "flat": np.eye(2),
    "flat, uneven": np.diag([0.4, 1.3]),
}


def by_all_pairs(a, b, matrix):
    first, second = (np.argwhere(_surface.surface_mask(m)) @ matrix.T for m in (a, b))
    table = cdist(first, second)
    return np.sort(table.min(axis=1)), np.sort(table.min(axis=0))


@pytest.mark.parametrize("kind", MATRICES)
@pytest.mark.parametrize("apart", [0, 1, 6, 18])
def test_distances_are_those_of_all_pairs(kind, apart):
    matrix = MATRICES[kind]
    rng = np.random.default_rng(apart)
    a, b = np.zeros((2, *(30, 20, 12)[: len(matrix)]), bool)
    a[2:8, 3:12] = rng.random(a[2:8, 3:12].shape) > 0.3
    b[2 + apart : 9 + apart, 4:11] = rng.random(b[2 + apart : 9 + apart, 4:11].shape) > 0.3
    first, second = _surface.surfaces(a, b, matrix)
    wanted = by_all_pairs(a, b, matrix)
    assert np.sort(_surface.surface_distances(first, second)) == pytest.approx(wanted[0], abs=1e-9)
    assert np.sort(_surface.surface_distances(second, first)) == pytest.approx(wanted[1], abs=1e-9)


@pytest.mark.parametrize("reach", _surface.SWEEP_REACHES)
def test_a_sweep_finds_all_that_is_within_its_reach_and_nothing_else(reach):
    goal = np.zeros((3, 100, 100), bool)
    goal[1, 50, 50] = True
    start = np.ones_like(goal)
    surface = _surface.Surface(goal, np.flatnonzero(goal), np.eye(3))
    near, known = _surface.sweep_distances(np.flatnonzero(start), surface, reach)
    wanted = np.linalg.norm(np.argwhere(start) - [1, 50, 50], axis=1)
    assert np.array_equal(near, wanted <= reach)
    assert known == pytest.approx(wanted[near], abs=1e-12)


def test_the_surface_is_the_mask_minus_its_erosion():
    from scipy.ndimage import binary_erosion

    mask = np.random.default_rng(0).random((9, 8, 7)) > 0.2
    assert np.array_equal(_surface.surface_mask(mask), mask & ~binary_erosion(mask))


def test_the_worst_twentieth_is_left_out():
    truth = np.zeros((1, 101), np.uint8)
    truth[0, :100] = 1
    answer = truth.copy()
    answer[0, 100] = 1
    grid = Grid.from_shape((1, 101), spacing=(1, 2))
    row = metrics.judge(["hd95", "assd"], LabelMap(truth, grid, {1: "a"}), LabelMap(answer, grid, {1: "a"}))
    assert row["hd95/a"] == 0.0
    assert row["assd/a"] == pytest.approx(2 / 201)


def test_two_points_lie_as_far_apart_as_the_affine_says():
    grid = Grid((4, 4, 4), ((2, 0, 0, 9), (0, 0, -3, 9), (0, 1, 0, 9), (0, 0, 0, 1)))
    truth, answer = np.zeros((2, 4, 4, 4), np.uint8)
    truth[0, 0, 0], answer[2, 3, 0] = 1, 1
    row = metrics.judge(["hd95"], LabelMap(truth, grid, {1: "a"}), LabelMap(answer, grid, {1: "a"}))
    assert row["hd95/a"] == pytest.approx(5.0)


def test_a_shift_by_the_tolerance_is_right_and_by_more_is_wrong():
    truth, near, far = np.zeros((3, 20, 20), np.uint8)
    truth[5], near[6], far[7] = 1, 1, 1
    grid = Grid.from_shape((20, 20), has_spacing=False)
    maps = [LabelMap(m, grid, {1: "a"}) for m in (truth, near, far)]
    assert metrics.judge(["nsd"], maps[0], maps[1])["nsd/a"] == 1.0
    assert metrics.judge(["nsd"], maps[0], maps[2])["nsd/a"] == 0.0


def test_a_pair_far_apart_in_a_large_flat_image_is_judged():
    truth, answer = np.zeros((2, 900, 900), np.uint8)
    truth[:3, :3], answer[-3:, -3:] = 1, 1
    grid = Grid.from_shape((900, 900), has_spacing=False)
    row = metrics.judge(["hd95"], LabelMap(truth, grid, {1: "a"}), LabelMap(answer, grid, {1: "a"}))
    assert row["hd95/a"] == pytest.approx(897 * 2**0.5, rel=0.01)


@pytest.mark.peer
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (0.8, 0.8, 2.5), (0.5, 0.9, 2.0)])
def test_distances_are_those_of_monai(spacing):
    import torch
    from monai.metrics import compute_average_surface_distance, compute_hausdorff_distance, compute_surface_dice

    rng = np.random.default_rng(3)
    masks = np.zeros((2, 24, 24, 16), np.uint8)
    for m in masks:
        corner = rng.integers(2, 8, 3)
        m[tuple(slice(c, c + 8) for c in corner)] = rng.random((8, 8, 8)) > 0.1
    maps = [LabelMap(m, Grid.from_shape(m.shape, spacing=spacing), {1: "a"}) for m in masks]
    row = metrics.judge(["hd95", "assd", "nsd"], *maps)
    one, two = (torch.from_numpy(m)[None, None].float() for m in masks)
    known = {"include_background": True, "spacing": spacing}
    theirs = compute_hausdorff_distance(two, one, percentile=95, **known)
    assert row["hd95/a"] == pytest.approx(float(theirs), abs=1e-6)
    theirs = compute_average_surface_distance(two, one, symmetric=True, **known)
    assert row["assd/a"] == pytest.approx(float(theirs), abs=1e-6)
    theirs = compute_surface_dice(two, one, [1.0], **known)
    assert row["nsd/a"] == pytest.approx(float(theirs), abs=1e-6)


@pytest.mark.peer
def test_the_plain_hausdorff_distance_is_that_of_simpleitk():
    import SimpleITK

    masks = [np.zeros((20, 20, 20), np.uint8) for _ in range(2)]
    masks[0][4:10, 4:10, 4:10], masks[1][5:14, 4:10, 6:10] = 1, 1
    grid = Grid.from_shape((20, 20, 20), spacing=(1.0, 1.0, 2.0))
    pair = metrics._labels.MaskPair("a", masks[0] > 0, masks[1] > 0, grid)
    images = [SimpleITK.GetImageFromArray(m.transpose(2, 1, 0)) for m in masks]
    for image in images:
        image.SetSpacing(grid.spacing)
    measure = SimpleITK.HausdorffDistanceImageFilter()
    measure.Execute(*images)
    assert hd95.hd95(pair, percent=100) == pytest.approx(measure.GetHausdorffDistance(), abs=1e-5)

"""The pairs that registration is measured on: the same by seed, and their truth is what was done to the image."""

import sys
from pathlib import Path

import numpy as np
import pytest

from medgrad.data import Grid
from medgrad.data.transform import Transform, interpolate, voxel_positions, warp_image

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(scope="module")
def pairs():
    sys.path.insert(0, str(BENCHMARKS))
    try:
        import _registration_pairs
    finally:
        sys.path.pop(0)
    return _registration_pairs


@pytest.fixture
def spots(pairs, monkeypatch):
    """Have one more kind, of smooth spots on oblique, uneven voxels."""

    def drawn(rng, _):
        affine = np.diag([-2.0, -1.5, 3.0, 1.0])
        affine[:2, :2] = affine[:2, :2] @ [[0.8, -0.8], [0.6, 0.45]]
        shape = (26, 32, 18)
        array = np.clip(0.5 + 2.0 * pairs.ndimage.gaussian_filter(rng.normal(size=shape), 2.0), 0, 1)
        return pairs.Original(array, Grid(shape, tuple(map(tuple, affine))), array > 0.3, 0.0)

    monkeypatch.setitem(pairs.KINDS, "spots", drawn)
    monkeypatch.setattr(pairs, "NOISE", (0.0, 0.0))
    monkeypatch.setattr(pairs, "BIAS", 0.0)
    monkeypatch.setattr(pairs, "GAMMA", (1.0, 1.0))


@pytest.mark.usefixtures("spots")
def test_a_seed_gives_the_same_pair_again(pairs):
    for one, other in zip(pairs.pair("spots", 4), pairs.pair("spots", 4), strict=True):
        np.testing.assert_array_equal(getattr(one, "array", one), getattr(other, "array", other))


@pytest.mark.usefixtures("spots")
@pytest.mark.parametrize("seed", [0, 2])
def test_the_moving_image_seen_through_the_truth_is_the_fixed_one(pairs, seed):
    fixed, moving, truth, inside = pairs.pair("spots", seed)
    still = Transform(tuple(map(tuple, np.eye(4))), fixed.grid)
    seen = warp_image(moving, Transform(still.matrix, fixed.grid, truth), order=3).array
    np.testing.assert_allclose(seen[inside].clip(0, 1), fixed.array[inside], atol=1e-4)
    assert np.abs(warp_image(moving, still).array - fixed.array)[inside].mean() > 0.01


@pytest.mark.usefixtures("spots")
def test_what_counts_is_body_inside_the_moving_image(pairs):
    _, moving, truth, inside = pairs.pair("spots", 6)
    ends = voxel_positions(moving.grid)[inside] + truth[inside]
    assert interpolate(moving.array, moving.grid, ends, fill_value=-1.0).min() >= 0
    assert inside.mean() > 0.3

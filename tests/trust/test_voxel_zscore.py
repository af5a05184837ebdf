"""The plain z-score: of single elements where images lie on each other, else of all values."""

import numpy as np
import pytest

from medgrad.trust.voxel_zscore import fit_voxel_zscore


def images(n=40, shape=(12, 10), seed=0):
    rng = np.random.default_rng(seed)
    ramp = np.arange(shape[0], dtype=float)[:, None] * 2
    return [(rng.normal(0, 1, shape) + ramp)[None] for _ in range(n)]


def fitted(made):
    return fit_voxel_zscore(made, [one.shape[1:] for one in made])


def test_elements_are_held_to_their_own_place():
    found = fitted(images()).of(images(seed=1)[0])
    assert found.std() == pytest.approx(1, abs=0.15)
    assert np.abs(found).max() < 5


def test_few_images_are_held_to_all_values():
    made = images(3)
    every = np.stack(made)
    np.testing.assert_allclose(fitted(made).of(made[0]), (made[0] - every.mean()) / every.std())


def test_images_of_other_sizes_lie_on_each_other_by_their_middles():
    made = [one[:, 1:-1] if number % 2 else one for number, one in enumerate(images())]
    score = fitted(made)
    assert np.abs(score.of(images(seed=1)[0])[0, 1:-1]).max() < 5
    assert np.abs(score.of(images(seed=1)[0][:, 1:-1])).max() < 5


def test_what_is_the_same_everywhere_is_not_divided_by_nothing():
    made = [np.pad(one[:, 1:-1], ((0, 0), (1, 1), (0, 0))) for one in images()]
    score = fitted(made)
    assert np.isfinite(score.of(made[0])).all()
    assert (score.of(made[0])[0, 0] == 0).all()


def test_an_image_of_another_shape_is_held_to_all_values():
    score, other = fitted(images()), images(shape=(30, 30))[0]
    np.testing.assert_allclose(score.of(other), (other - score.overall_mean[0]) / score.overall_deviation[0])


def test_no_image_is_refused():
    with pytest.raises(ValueError, match="no images"):
        fit_voxel_zscore([], [])

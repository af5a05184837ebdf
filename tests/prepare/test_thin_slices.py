"""Thin slices: where they lie, what they average to, and what a run may add to them."""

from dataclasses import replace

import numpy as np
import pytest

from medgrad.data import Case, Grid, Image, LabelMap
from medgrad.errors import SettingError
from medgrad.prepare import build_steps
from medgrad.prepare.thin_slices import ThinSlices, group_means, with_means_of

THICK = Grid((10, 9, 6), ((0.0, -1.5, 0.0, 40.0), (-1.0, 0.0, 0.0, 30.0), (0.0, 0.0, 6.0, -60.0), (0.0, 0.0, 0.0, 1.0)))


def split(image, **settings):
    return ThinSlices(**settings).apply(Case("a", {"image": image}))[0].images["image"]


def scan(dtype=np.float32, shape=THICK.shape, grid=THICK):
    return Image(np.random.default_rng(0).normal(100, 12, shape).astype(dtype), grid)


def test_the_thickest_axis_is_split_and_the_same_place_is_covered():
    fine = split(scan(), factor=3)
    assert fine.grid.shape == (10, 9, 18)
    assert fine.grid.spacing == pytest.approx((1.0, 1.5, 2.0))
    for corner, thin in (((0, 0, -0.5), (0, 0, -0.5)), ((9, 8, 5.5), (9, 8, 17.5))):
        np.testing.assert_allclose(THICK.to_world(np.array(corner)), fine.grid.to_world(np.array(thin)), atol=1e-9)


@pytest.mark.parametrize(("dtype", "within"), [(np.float32, 1e-4), (np.int16, 0.51), (np.uint8, 0.51)])
def test_slices_average_to_the_slice_that_they_came_of(dtype, within):
    image = scan(dtype)
    fine = split(image)
    assert fine.array.dtype == dtype
    np.testing.assert_allclose(group_means(fine.array, 2, 4), image.array, atol=within)


def test_a_ramp_stays_one_within():
    ramp = Image(np.broadcast_to(np.arange(6.0) * 8, THICK.shape).astype(np.float32), THICK)
    fine = split(ramp).array[0, 0]
    np.testing.assert_allclose(np.diff(fine)[10:-10], 2, atol=1e-5)


def test_flat_images_channels_and_what_is_not_finite():
    grid = Grid.from_shape((8, 6), spacing=(1.0, 2.0))
    coloured = scan(np.float32, (8, 6, 3), grid)
    coloured.array[2, 3] = np.nan
    fine = split(coloured, factor=2)
    assert fine.array.shape == (8, 12, 3)
    assert np.isnan(fine.array).sum() == 2 * 3
    assert np.isnan(fine.array[2, 6:8]).all()


def test_answers_come_back_and_labels_are_repeated():
    labels = LabelMap((scan().array > 100).astype(np.uint8), THICK, {1: "a"})
    step = build_steps([{"name": "thin_slices", "factor": 4}])[0]
    ready, memo = step.apply(Case("a", {"image": scan()}, labels))
    assert ready.truth.grid == ready.images["image"].grid
    back = step.undo_labels(ready.truth, memo)
    np.testing.assert_array_equal(back.array, labels.array)
    assert back.grid == THICK
    image = step.undo_grid(ready.images["image"], memo)
    np.testing.assert_allclose(image.array, scan().array, atol=1e-4)


def test_what_is_added_to_thin_slices_keeps_their_means():
    fine = split(scan())
    answer = replace(fine, array=fine.array + np.random.default_rng(1).normal(0, 9, fine.array.shape))
    np.testing.assert_allclose(group_means(with_means_of(answer, fine), 2, 4), scan().array, atol=1e-4)
    plain = replace(fine, tags={})
    np.testing.assert_array_equal(with_means_of(answer, plain), answer.array)


@pytest.mark.parametrize(
    ("settings", "said"), [({"factor": 1}, "'factor'"), ({"factor": 2.5}, "'factor'"), ({"axis": 7}, "'axis'")]
)
def test_settings_out_of_range_are_refused(settings, said):
    with pytest.raises(SettingError, match=said):
        ThinSlices(**settings)
    with pytest.raises(SettingError, match="2 axes"):
        split(scan(np.float32, (8, 6), Grid.from_shape((8, 6))), axis=2)

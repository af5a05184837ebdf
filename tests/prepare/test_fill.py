"""Filling: what each method gives, what it leaves alone, and what it refuses."""

import numpy as np
import pytest
from scipy import ndimage

from medgrad.data import Case, Grid, Image, LabelMap
from medgrad.errors import SettingError
from medgrad.prepare import fill
from medgrad.prepare._inpaint import FILLERS, laplacian
from medgrad.prepare._lost_slices import (
    find_lost_slices,
    fit_variogram,
    interpolate_slices,
    krige_slices,
    kriging_weights,
    motions_in_block,
)
from medgrad.prepare._table_rows import fill_table
from medgrad.prepare.fill import METHODS, Fill

IMAGE_METHODS = [m for m in METHODS if m not in ("median", "mean")]


def smooth(shape, seed=0, sigma=2.0):
    """A smooth random image of mean about 0 and deviation 100."""
    values = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=shape), sigma)
    return (values / values.std() * 100).astype(np.float32)


def case_of(array, region=None, spacing=None, dims=None):
    grid = Grid.from_shape(array.shape[:dims], spacing=spacing or (1.0,) * len(array.shape[:dims]))
    roi = None if region is None else LabelMap(region.astype(np.uint8), grid)
    return Case("a", {"image": Image(array, grid)}, roi=roi)


def filled(array, region=None, spacing=None, dims=None, **settings):
    case, memo = Fill(**settings).apply(case_of(array, region, spacing, dims))
    return case.images["image"].array, memo.values["chosen"]["image"]


def cube(shape, start, side):
    mask = np.zeros(shape, bool)
    mask[tuple(slice(o, o + side) for o in start)] = True
    return mask


def psnr(found, wanted, where=np.s_[:]):
    return 10 * np.log10(float(np.ptp(wanted)) ** 2 / np.mean((found - wanted)[where] ** 2, dtype=np.float64))


@pytest.mark.parametrize("method", IMAGE_METHODS)
@pytest.mark.parametrize("shape", [(40, 36), (20, 18, 16)])
def test_what_is_known_stays_equal_to_the_bit_and_nothing_stays_missing(method, shape):
    array = smooth(shape)
    array[cube(shape, (3,) * len(shape), 5)] = np.nan
    array[0, 0] = np.inf
    array[..., 10] = 0
    before, known = array.copy(), np.isfinite(array)
    known[..., 10] = False
    found, (chosen,) = filled(array, method=method, spacing=(1.0, 2.0, 3.0)[: len(shape)])
    np.testing.assert_array_equal(found[known], before[known])
    np.testing.assert_array_equal(array, before)
    assert np.isfinite(found).all()
    assert chosen["filled"] == np.count_nonzero(~known)
    assert chosen["slices"] == "10"
    again, _ = filled(array, method=method, spacing=(1.0, 2.0, 3.0)[: len(shape)])
    np.testing.assert_array_equal(again, found)


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16, np.float32, np.float64])
def test_types_and_channels_are_kept_and_integers_rounded(dtype):
    planes = [np.rint(100 + smooth((30, 24), seed) / 3).clip(0, 255) for seed in range(3)]
    array = np.stack(planes, -1).astype(dtype)
    mask = cube((30, 24), (5, 6), 4)
    found, chosen = filled(array, mask, dims=2)
    assert (found.dtype, found.shape, len(chosen)) == (dtype, array.shape, 3)
    np.testing.assert_array_equal(found[~mask], array[~mask])
    real, _ = filled(array.astype(np.float64), mask, dims=2)
    wanted = real if np.dtype(dtype).kind == "f" else np.rint(real)
    np.testing.assert_allclose(found, wanted, atol=1e-4)


@pytest.mark.parametrize(("name", "power"), [("harmonic", 1), ("biharmonic", 2)])
@pytest.mark.parametrize(("shape", "spacing", "side"), [((16, 15), (1.0, 2.0), 9), ((11, 10, 9), (1.0, 1.0, 3.0), 7)])
def test_a_hole_is_the_solution_of_its_equation_by_a_dense_solver(name, power, shape, spacing, side):
    values, unknown = smooth(shape).astype(np.float64), cube(shape, (0,) * len(shape), side)
    unknown[-2, -2] = True
    rates = [(min(spacing) / size) ** 2 for size in spacing]
    matrix = np.stack([laplacian(e.reshape(shape), rates).ravel() for e in np.eye(values.size)], 1)
    matrix, hole = np.linalg.matrix_power(matrix, power), unknown.ravel()
    wanted = np.linalg.solve(matrix[hole][:, hole], -matrix[hole][:, ~hole] @ values.ravel()[~hole])
    found = FILLERS[name](np.where(unknown, 0, values), unknown, spacing)
    np.testing.assert_allclose(found[unknown], wanted, atol=0.2)


def test_a_large_hole_satisfies_the_biharmonic_equation():
    values, unknown = smooth((48,) * 3, sigma=4).astype(np.float64), cube((48,) * 3, (0, 10, 12), 24)
    found = FILLERS["biharmonic"](np.where(unknown, 0, values), unknown, (1.0, 1.0, 1.0))
    rest = laplacian(laplacian(found, (1, 1, 1)), (1, 1, 1))
    start = laplacian(laplacian(np.where(unknown, 0, values), (1, 1, 1)), (1, 1, 1))
    assert np.abs(rest[unknown]).max() < 1e-4 * np.abs(start[unknown]).max()


@pytest.mark.parametrize("method", ["interpolate", "harmonic", "biharmonic"])
def test_a_slope_goes_on_through_a_hole(method):
    slope = 3 * np.indices((20, 18))[0] - 2.0 * np.indices((20, 18))[1]
    found, _ = filled(slope, cube((20, 18), (6, 6), 6), method=method, spacing=(1.0, 2.0))
    np.testing.assert_allclose(found, slope, atol=0.01)


def test_biharmonic_is_nearest_to_a_smooth_image():
    image = smooth((40, 40, 30), sigma=3)
    hole = cube(image.shape, (12, 14, 10), 8)
    errors = {m: -psnr(filled(image, hole, method=m)[0], image, hole) for m in FILLERS}
    assert min(errors, key=errors.get) == "biharmonic"
    assert max(errors, key=errors.get) == "nearest"


def test_many_scattered_gaps_are_filled():
    image = smooth((30, 28, 26))
    gaps = np.random.default_rng(1).random(image.shape) < 0.3
    found, (chosen,) = filled(np.where(gaps, np.float32(np.nan), image))
    assert psnr(found, image, gaps) > 40
    assert chosen == {"filled": int(gaps.sum()), "method": "biharmonic"}


def moving_texture(shape=(40, 44, 15)):
    """A texture that moves by 1.5 elements a slice along one axis, and by -1 along the other."""
    texture = smooth((100, 100), sigma=2)
    planes = [
        ndimage.shift(texture, (1.5 * z, -z), order=3)[30 : 30 + shape[0], 30 : 30 + shape[1]] for z in range(shape[2])
    ]
    return np.stack(planes, -1)


def test_lost_slices_follow_what_moves():
    image = moving_texture()
    lost = np.s_[..., 1:-1:2]
    damaged = image.copy()
    damaged[lost] = 0
    found, (chosen,) = filled(damaged)
    assert (chosen["slices"], chosen["axis"], chosen["method"]) == ("1 3 5 7 9 11 13", 2, "motion")
    straight, _ = filled(damaged, method="interpolate")
    inner = np.s_[8:-8, 8:-8, 1:-1:2]
    assert psnr(found, image, inner) > psnr(straight, image, inner) + 10


def test_the_motion_across_a_gap_is_found():
    stack = np.ascontiguousarray(np.moveaxis(moving_texture(), -1, 0))
    motion = motions_in_block(stack, [(0, 2), (2, 4)], (1.0, 1.0, 1.0), 1.0)
    np.testing.assert_allclose(motion[:, 0, 8:-8, 8:-8].mean((1, 2)), 1.5, atol=0.15)
    np.testing.assert_allclose(motion[:, 1, 8:-8, 8:-8].mean((1, 2)), -1, atol=0.15)


def test_several_lost_in_a_row_and_at_an_end_are_filled():
    image = moving_texture()
    found, (chosen,) = filled(image, slices=[0, 5, 6, 14])
    assert chosen["slices"] == "0 5 6 14"
    np.testing.assert_allclose(found[..., 0], image[..., 1], atol=1e-3)
    np.testing.assert_allclose(found[..., 14], image[..., 13], atol=1e-3)
    assert psnr(found, image, np.s_[..., 5:7]) > 20


def test_slices_are_interpolated_by_hand():
    stack = np.zeros((5, 2, 2), np.float32)
    stack[0], stack[3], stack[4] = 3, 9, 1
    np.testing.assert_allclose(interpolate_slices(stack, [1, 2])[:, 0, 0], [3, 5, 7, 9, 1])
    np.testing.assert_allclose(interpolate_slices(stack, [0, 1, 4])[:, 0, 0], [0, 0, 0, 9, 9])


def test_kriging_averages_white_noise_evenly_and_its_weights_sum_to_one():
    rng = np.random.default_rng(0)
    noise = [{o: rng.normal(size=(60, 50)).astype(np.float32) for o in (-3, -1, 1, 3)} for _ in range(4)]
    weights = kriging_weights(fit_variogram(noise), (-3, -1, 1, 3), 2)
    assert weights.shape == (4, 3, 3)
    np.testing.assert_allclose(weights, 1 / 36, atol=0.01)
    smooth_ones = kriging_weights(np.array([1.0, -9, 0, -1, -1, -1]), (-2, 1), 2)
    assert smooth_ones.sum() == pytest.approx(1, abs=1e-4)
    assert smooth_ones[1].sum() > smooth_ones[0].sum()


def test_noise_that_nothing_predicts_is_not_followed():
    noise = np.random.default_rng(0).normal(size=(16, 24, 20)).astype(np.float32)
    found = krige_slices(noise, [4, 11], (1.0, 1.0, 1.0))
    assert found[[4, 11]].std() < 0.75 * noise.std()


def test_jumps_between_slices_are_left_to_linear_interpolation():
    stack = np.repeat(smooth((1, 24, 20)), 15, axis=0)
    stack += 50 * np.sin(np.arange(15, dtype=np.float32))[:, None, None]
    found, linear = krige_slices(stack, [7], (1.0, 1.0, 1.0)), interpolate_slices(stack, [7])
    assert psnr(found[7], stack[7]) > psnr(linear[7], stack[7]) - 0.1


def test_flat_neighbours_give_flat_slices():
    stack = np.full((5, 8, 8), 7, np.float32)
    np.testing.assert_array_equal(krige_slices(stack, [2], (1.0, 1.0, 1.0)), stack)


def test_only_slices_between_others_are_lost():
    image = smooth((12, 10, 9))
    image[..., :2] = 0
    image[..., 5], image[..., 8] = -1000, np.nan
    assert find_lost_slices(image, np.isnan(image), 2) == [5]
    assert find_lost_slices(np.zeros((4, 4, 4)), np.zeros((4, 4, 4), bool), 0) == []
    found, (chosen,) = filled(np.nan_to_num(image), lost="none")
    np.testing.assert_array_equal(found, np.nan_to_num(image))
    assert chosen == {"filled": 0}


def test_the_region_is_filled_and_nothing_outside_changes():
    image = smooth((24, 20, 16))
    image[0, 0, 0] = np.nan
    region = cube(image.shape, (4, 4, 4), 6)
    spoilt = np.where(region, np.float32(1e6), image)
    found, (chosen,) = filled(spoilt, region)
    np.testing.assert_array_equal(found[~region], image[~region])
    assert chosen["filled"] == region.sum()
    assert np.abs(found[region]).max() < 400


def test_a_region_that_covers_slices_is_filled_along_the_motion():
    image = moving_texture()
    region = np.zeros(image.shape, bool)
    region[..., 6] = True
    found, (chosen,) = filled(image, region)
    assert (chosen["slices"], chosen["method"]) == ("6", "motion")
    assert psnr(found, image, region) > 30


@pytest.mark.parametrize("spacing", [(1e-3, 1e-3, 50.0), (100.0, 1.0, 0.1)])
@pytest.mark.parametrize("method", IMAGE_METHODS)
def test_odd_shapes_and_spacings_are_filled(method, spacing):
    for shape in ((9, 8, 1), (1, 7, 5), (3, 2, 9)):
        array = smooth(shape, sigma=0.5) * np.float32(1e30)
        array[0, 0, 0] = np.nan
        array[..., shape[2] // 2] = array[..., 0] if shape[2] == 1 else 0
        assert np.isfinite(filled(array, method=method, spacing=spacing)[0]).all()


@pytest.mark.parametrize(
    ("settings", "hint"),
    [
        ({"method": "biharmnic"}, "Did you mean 'biharmonic'"),
        ({"lost": "all"}, "auto, none"),
        ({"slices": [1.5]}, "whole numbers"),
        ({"slices": [-1]}, "whole numbers"),
        ({"axis": -2}, "-1 on"),
        ({"neighbours": 0}, "1 on"),
    ],
)
def test_a_bad_setting_is_told_in_one_line(settings, hint):
    with pytest.raises(SettingError, match=hint) as caught:
        Fill(**settings)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("array", "region", "settings", "hint"),
    [
        (np.full((4, 4), np.nan), None, {}, "no finite value"),
        (np.ones((4, 4)), np.ones((4, 4), bool), {}, "whole image"),
        (smooth((6, 6, 4)), None, {"slices": [4]}, "names 4.*has 4 slices"),
        (smooth((6, 6, 4)), None, {"slices": [0, 1, 3]}, "at least 2 known slices along axis 2, but 1 of 4"),
        (smooth((6, 6, 4)), None, {"axis": 3}, "3 axes"),
        (smooth((6, 6, 4)), None, {"method": "median"}, "for an image"),
    ],
)
def test_what_cannot_be_filled_is_told(array, region, settings, hint):
    with pytest.raises(SettingError, match=hint):
        filled(array, region, **settings)


def test_gaps_of_a_table_come_from_the_nearest_rows():
    values = np.array([[0, 0, 10.5], [1, 0, 12.5], [9, 9, 90.0], [0.5, 0, np.nan], [np.nan, 9, 91]])
    found = fill_table(values, "nearest", 2)
    assert found[3, 2] == pytest.approx(11.5)
    np.testing.assert_array_equal(found[~np.isnan(values)], values[~np.isnan(values)])
    assert fill_table(values, "median", 2)[3, 2] == pytest.approx((12.5 + 90) / 2)
    assert fill_table(values, "mean", 2)[4, 0] == pytest.approx(10.5 / 4)


def test_whole_numbers_of_a_table_stay_whole():
    assert fill_table(np.array([[1.0], [2], [2], [np.nan]]), "mean", 1)[3, 0] == 2


def test_rows_come_nearer_to_the_truth_than_the_median():
    rng = np.random.default_rng(0)
    values = rng.normal(size=(200, 1)) @ rng.normal(size=(1, 6)) + rng.normal(0, 0.3, (200, 6))
    gaps = rng.random(values.shape) < 0.2
    errors = {m: np.abs(fill_table(np.where(gaps, np.nan, values), m, 10) - values)[gaps].mean() for m in METHODS[-2:]}
    near = np.abs(fill_table(np.where(gaps, np.nan, values), "nearest", 10) - values)[gaps].mean()
    assert near < 0.6 * min(errors.values())


@pytest.mark.parametrize(
    ("array", "method", "hint"),
    [
        (np.array([[1.0, np.nan], [2, np.nan]]), "auto", "'b' holds no number"),
        (np.array([1.0, np.nan]), "auto", "Fill the whole table"),
        (np.array([[1.0, np.nan], [2, 3]]), "motion", "for a table"),
    ],
)
def test_what_a_table_lacks_is_told(array, method, hint):
    image = Image(array, Grid.from_shape(array.shape, has_spacing=False), "other", {"columns": ("a", "b")})
    with pytest.raises(SettingError, match=hint):
        Fill(method).apply(Case("t", {"table": image}))


def test_the_module_ends_in_the_step():
    assert fill.THIS is Fill

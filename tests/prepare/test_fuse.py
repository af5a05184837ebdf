"""Image fusion: what is gained, what stays to the bit, whose unit the result has, and what is refused."""

from functools import cache

import numpy as np
import pytest
from scipy import ndimage

from medgrad.data import Case, Grid, Image, LabelMap
from medgrad.data.grid import matrix_to_tuples
from medgrad.errors import FormatError, SettingError
from medgrad.prepare._fusion import FUSIONS, Layer, double, split_bands
from medgrad.prepare._one_space import distance_between, nearest_elements, sides_along
from medgrad.prepare.fuse import Fuse

SHAPES = [(40, 37), (21, 18, 13), (32, 27, 1), (1, 9), (1, 1, 1), (3, 2)]


@cache
def textured(shape):
    rng = np.random.default_rng(1)
    widths = [1.2 if n > 4 else 0 for n in shape]
    return (ndimage.gaussian_filter(rng.normal(0, 1, shape), widths) * 200 + 100).astype(np.float32)


def focuses(shape, count=2, blur=2.0):
    """Give an image, and copies that are sharp in one of so many parts along the first axis, and blurred elsewhere."""
    sharp = textured(shape)
    part = np.minimum(np.indices(shape)[0] * count // shape[0], count - 1)
    soft = ndimage.gaussian_filter(sharp, [blur if n > 4 else 0 for n in shape], mode="nearest")
    return sharp, [np.where(part == number, sharp, soft) for number in range(count)]


def fused(arrays, grid=None, region=None, modality="photo", **settings):
    grids = grid if isinstance(grid, list) else [grid or Grid.from_shape(a.shape[: min(a.ndim, 3)]) for a in arrays]
    modalities = modality if isinstance(modality, list) else [modality] * len(arrays)
    names = [f"image_{place}" for place in range(len(arrays))]
    images = {n: Image(a, g, m) for n, a, g, m in zip(names, arrays, grids, modalities, strict=True)}
    case, memo = Fuse(**settings).apply(Case("a", images, roi=region))
    assert list(case.images) == ["image_0"]
    assert memo.grid == grids[0]
    return case.images["image_0"]


def error(found, wanted):
    return float(np.sqrt(np.mean((found.astype(np.float64) - wanted) ** 2)))


@pytest.mark.parametrize("method", [m for m in FUSIONS if m != "mean"])
@pytest.mark.parametrize(("shape", "count"), [((96, 80), 2), ((96, 80), 3), ((48, 40, 20), 2), ((96, 80, 1), 2)])
def test_several_focuses_become_one_much_sharper_than_their_mean(method, shape, count):
    sharp, parts = focuses(shape, count)
    found = fused(parts, method=method).array
    assert error(found, sharp) < 0.5 * error(np.mean(parts, axis=0), sharp)


@pytest.mark.parametrize("method", FUSIONS)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.float64])
def test_equal_images_come_back_to_the_bit(method, shape, dtype):
    array = np.rint(np.clip(textured(shape), 0, 255)).astype(dtype)
    found = fused([array] * 3, method=method, weights=(1, 0.2, 0.7))
    np.testing.assert_array_equal(found.array, array)
    assert found.array.dtype == dtype


@pytest.mark.parametrize("method", FUSIONS)
def test_equal_images_come_back_in_a_common_range_too(method):
    array = textured((31, 22, 9))
    found = fused([array] * 2, method=method, rescale="always", percentiles=(0, 100)).array
    np.testing.assert_allclose(found, (array - array.min()) / np.ptp(array), atol=1e-6)


@pytest.mark.parametrize("method", FUSIONS)
def test_the_order_of_images_on_one_grid_does_not_count(method):
    _, parts = focuses((40, 36, 12))
    one, two = fused(parts, method=method).array, fused(parts[::-1], method=method).array
    np.testing.assert_allclose(one, two, atol=1e-3)


@pytest.mark.parametrize("method", FUSIONS)
def test_a_weight_of_0_leaves_an_image_out(method):
    _, parts = focuses((40, 36))
    np.testing.assert_allclose(fused(parts, method=method, weights=(0, 1)).array, parts[1], atol=1e-4)


def test_the_mean_is_that_of_the_weights():
    one, two = np.full((4, 4), 10.0), np.full((4, 4), 40.0)
    np.testing.assert_allclose(fused([one, two], method="mean", weights=(1, 0.5)).array, 20)


@pytest.mark.parametrize("method", [m for m in FUSIONS if m != "mean"])
def test_thick_slices_are_not_taken_for_near(method):
    """What is sharp in a slice does not count for slices 20 mm away."""
    sharp = np.stack([textured((48, 40))] * 6, axis=-1)
    soft = ndimage.gaussian_filter(sharp, (2, 2, 0))
    is_first = np.arange(6) % 2 == 0
    parts = [np.where(is_first, sharp, soft), np.where(is_first, soft, sharp)]
    grid = Grid.from_shape(sharp.shape, spacing=(1, 1, 20))
    assert error(fused(parts, grid, method=method).array, sharp) < 0.25 * error(np.mean(parts, axis=0), sharp)


def test_colours_are_chosen_together():
    rng = np.random.default_rng(0)
    parts = [rng.integers(0, 255, (20, 20, 3)).astype(np.uint8) for _ in range(2)]
    grid = Grid.from_shape((20, 20))
    found = fused(parts, grid, method="mean")
    assert found.array.shape == (20, 20, 3)
    np.testing.assert_allclose(found.array, np.mean(parts, axis=0), atol=0.51)
    one_channel = [textured((20, 20)), np.roll(textured((20, 20)), 3, 0)]
    whole = fused([np.stack([a] * 3, -1) for a in one_channel], grid).array
    np.testing.assert_allclose(whole, np.stack([fused(one_channel).array] * 3, -1), atol=1e-3)


def test_the_unit_and_type_stay_where_all_are_of_one_kind():
    array = np.rint(textured((12, 10, 8))).astype(np.int16)
    for modality, is_kept in (("ct", True), ("us", True), ("mr", False), (None, False), (["ct", "pet"], False)):
        found = fused([array, array], modality=modality)
        kept = (found.array.dtype == np.int16, found.modality is not None, "units" not in found.tags)
        assert kept == ((True,) * 3 if is_kept else (False,) * 3)
    assert found.tags["units"] == "arbitrary"
    assert found.array.dtype == np.float32
    flat = array[..., 0]
    assert fused([flat] * 2, modality=None).array.dtype == np.int16
    assert fused([flat, flat.astype(np.uint16)], modality=None).tags["units"] == "arbitrary"


def test_ranges_are_windows_in_the_unit_of_each_image():
    ct, pet = np.float32([[-500, 0, 40, 900]]), np.float32([[0, 2, 5, 30]])
    found = fused([ct, pet], modality=["ct", "pet"], method="mean", ranges=(-160, 240, 0, 10)).array
    np.testing.assert_allclose(found, [[0, 0.3, 0.5, 1]], atol=1e-6)


def on_two_grids(shape=(30, 28, 12), first="fine"):
    """Give a fine image with texture and a coarse one with a hot spot, on grids of their own.

    The texture is about as salient as the spot, so that ``guided`` may choose either.
    """
    fine = Grid.from_shape(shape, spacing=(1, 1, 3))
    coarse = Grid.from_shape((8, 8, 12), spacing=(4, 4, 3), origin=(-1, -1, 0))
    spot = np.indices(coarse.shape) - np.array([4, 3, 6]).reshape(3, 1, 1, 1)
    hot = np.float32(20) * np.exp(-(spot**2).sum(0) / 2).astype(np.float32)
    pair = [(textured(shape), fine, "ct"), (hot, coarse, "pet")]
    return [list(each) for each in zip(*(pair if first == "fine" else pair[::-1]), strict=True)], coarse


@pytest.mark.parametrize("method", [m for m in FUSIONS if m != "guided"])
@pytest.mark.parametrize("first", ["fine", "coarse"])
def test_the_hottest_point_of_a_coarse_image_stays_within_one_of_its_elements(method, first):
    (arrays, grids, modality), coarse = on_two_grids(first=first)
    found = fused(arrays, grids, modality=modality, method=method)
    hottest = found.grid.to_world(np.unravel_index(found.array.argmax(), found.array.shape))
    assert found.grid == grids[0]
    np.testing.assert_allclose(coarse.to_index(hottest), (4, 3, 6), atol=1)


@pytest.mark.parametrize("method", FUSIONS)
def test_beyond_the_end_of_another_image_the_first_counts_alone(method):
    sharp = textured((40, 30, 8))
    grid = Grid.from_shape(sharp.shape)
    found = fused([sharp, sharp[:16] + 50], [grid, Grid.from_shape((16, 30, 8))], method=method, modality="ct").array
    np.testing.assert_allclose(found[-8:], sharp[-8:], atol=0.5 if method == "guided" else 12)
    assert 5 < (found[:8] - sharp[:8]).mean() < 31


@pytest.mark.parametrize("method", FUSIONS)
@pytest.mark.parametrize("modality", ["ct", None])
def test_what_is_not_finite_stays_in_the_first_and_does_not_spread(method, modality):
    _, parts = focuses((24, 20, 8))
    holes = [np.zeros(parts[0].shape, bool) for _ in parts]
    holes[0][3, 4], holes[1][:6, :, 2] = True, True
    for part, hole, value in zip(parts, holes, (np.nan, np.inf), strict=True):
        part[hole] = value
    found = fused(parts, modality=modality, method=method).array
    np.testing.assert_array_equal(np.isfinite(found), ~holes[0])
    nowhere = np.full_like(parts[0], np.nan)
    assert np.isnan(fused([nowhere, parts[0]], modality=modality, method=method).array).all()
    alone = fused([textured((24, 20, 8)), nowhere], modality="ct", method=method).array
    np.testing.assert_allclose(alone, textured((24, 20, 8)), atol=1e-3)


@pytest.mark.parametrize("modality", ["ct", None])
def test_outside_the_region_not_a_bit_changes_or_all_is_0_in_a_new_unit(modality):
    _, parts = focuses((24, 20, 8))
    region = np.zeros(parts[0].shape, np.uint8)
    region[5:20, 4:12, 2:6] = 1
    whole = [LabelMap(r, Grid.from_shape(region.shape)) for r in (region, 0 * region)]
    found = fused(parts, region=whole[0], modality=modality).array
    np.testing.assert_array_equal(found[region == 0], parts[0][region == 0] if modality else 0)
    assert (found[region == 1] != parts[0][region == 1]).any()
    np.testing.assert_array_equal(fused(parts, region=whole[1], modality=modality).array, parts[0] if modality else 0)


def test_images_of_a_single_value_stay_and_none_divides_by_0():
    flat = np.full((12, 10, 4), 70, np.int16)
    for method in FUSIONS:
        np.testing.assert_array_equal(fused([flat, flat], modality="ct", method=method).array, 70)
        np.testing.assert_array_equal(fused([flat, flat + 1], modality=None, method=method).array, 0)


def test_whole_numbers_are_rounded_and_clipped():
    dark, bright = np.zeros((16, 16), np.uint8), np.full((16, 16), 255, np.uint8)
    bright[::2, ::2] = 0
    found = fused([bright, dark])
    assert found.array.dtype == np.uint8
    assert set(np.unique(found.array)) <= set(range(256))
    wide = fused([bright.astype(np.float32), dark.astype(np.float32)]).array
    np.testing.assert_array_equal(found.array, np.clip(np.rint(wide), 0, 255))


def test_inputs_are_not_altered_and_the_same_gives_the_same():
    (arrays, grids, modality), _ = on_two_grids()
    before = [a.copy() for a in arrays]
    for method in FUSIONS:
        one, two = (fused(arrays, grids, modality=modality, method=method).array for _ in range(2))
        np.testing.assert_array_equal(one, two)
    for array, copy in zip(arrays, before, strict=True):
        np.testing.assert_array_equal(array, copy)


def test_a_case_of_one_image_passes_as_it_is():
    case = Case("a", {"image": Image(textured((9, 8)), Grid.from_shape((9, 8)))})
    assert Fuse().apply(case)[0] is case


def turned(angle, origin):
    c, s = np.cos(angle), np.sin(angle)
    return Grid((4, 4), matrix_to_tuples(np.array([[c, -s, origin[0]], [s, c, origin[1]], [0, 0, 1.0]])))


def test_the_distance_is_that_of_the_nearest_points_of_both_boxes():
    square = Grid.from_shape((4, 4))
    assert distance_between(square, Grid.from_shape((4, 4), origin=(7, 8))) == pytest.approx(5)
    assert distance_between(square, Grid.from_shape((4, 4), origin=(2, 2))) == 0
    wedge = turned(np.pi / 4, (10, 0))
    corner = wedge.to_world([-0.5, 3.5])
    assert distance_between(square, wedge) == pytest.approx(corner[0] - 3.5, abs=1e-5)


def test_a_mask_reaches_to_the_edges_of_its_elements():
    coarse, fine = Grid.from_shape((2, 1), spacing=(4, 4)), Grid.from_shape((12, 6), origin=(-3, -3))
    found = nearest_elements(np.array([[True], [False]]), coarse, fine)
    assert np.argwhere(found).min(0).tolist() == [1, 1]
    assert np.argwhere(found).max(0).tolist() == [4, 4]
    assert sides_along(turned(np.pi / 2, (0, 0)), fine) == pytest.approx([1, 1])


def test_bands_add_up_and_what_was_halved_is_of_its_shape_again():
    values = textured((21, 18, 13))[None]
    np.testing.assert_allclose(sum(split_bands(values, (1, 2, 0))), values, atol=1e-3)
    assert double(values, (42, 18, 25), [0, 2]).shape == (1, 42, 18, 25)


def test_a_layer_of_little_weight_gives_way():
    """Details of half the strength win where their image weighs more than twice as much."""
    fine = textured((48, 48))[None] - textured((48, 48)).mean()
    weak = 0.5 * np.roll(fine, 9, 1)
    for weight, is_weak_chosen in ((0.2, True), (1, False)):
        layers = [Layer(v, np.ones((48, 48), bool), w, (1, 1)) for v, w in ((fine, weight), (weak, 1))]
        change = FUSIONS["wavelet"](layers, (1, 1))
        alike = [np.corrcoef((fine + change).ravel(), v.ravel())[0, 1] for v in (fine, weak)]
        assert (alike[1] > 0.7, alike[0] < 0.4) == (is_weak_chosen,) * 2


GRID = Grid.from_shape((6, 6, 6))
FLAT, VOLUME = Image(np.zeros((6, 6)), Grid.from_shape((6, 6))), Image(np.zeros((6, 6, 6)), GRID)
FAR = Image(np.zeros((6, 6, 6)), Grid.from_shape((6, 6, 6), origin=(0, 0, 50)))
SMALL = Image(np.zeros((2, 2, 2)), Grid.from_shape((2, 2, 2), spacing=(0.1,) * 3, origin=(1.4,) * 3))
COLOURS = Image(np.zeros((6, 6, 3)), Grid.from_shape((6, 6)))
PICTURES = [Image(np.zeros((n, 6)), Grid.from_shape((n, 6), has_spacing=False)) for n in (6, 7)]
FRAMES = [Image(np.zeros((6, 6, 6)), GRID, tags={"frame_of_reference": f"1.2.{n}"}) for n in range(2)]


@pytest.mark.parametrize(
    ("pair", "said"),
    [
        ((VOLUME, FAR), "'pet' and 'ct' do not overlap: 44.0 mm"),
        ((VOLUME, SMALL), "No element of 'pet' has its middle in 'ct'"),
        ((FLAT, VOLUME), "'pet' has 2 axes, but 'ct' has 3"),
        ((FLAT, COLOURS), "by the step channels"),
        (PICTURES, "Give pictures of one size"),
        (FRAMES, "frame of reference 1.2.0, but 'ct' in 1.2.1"),
    ],
)
def test_images_that_do_not_fit_are_refused_in_one_line(pair, said):
    with pytest.raises(FormatError, match=said) as caught:
        Fuse().apply(Case("a", dict(zip(("pet", "ct"), pair, strict=True))))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("settings", "hint"),
    [
        ({"method": "piramid"}, "Did you mean 'pyramid'"),
        ({"rescale": "alway"}, "Did you mean 'always'"),
        ({"weights": (1, 1.5)}, "from 0 to 1.*1.5"),
        ({"weights": (0, 0)}, "not all 0"),
        ({"weights": (1, float("nan"))}, "finite"),
        ({"weights": 1}, "Write 1,0.5"),
        ({"ranges": (0, 1, 5)}, "a low and a higher"),
        ({"ranges": (3, 1)}, "a low and a higher"),
        ({"ranges": (0, 1, 0, 1), "rescale": "never"}, "rescale=never"),
        ({"percentiles": (90, 10)}, "the lower first"),
        ({"order": 9}, "0 to 5"),
    ],
)
def test_a_bad_setting_is_told_in_one_line(settings, hint):
    with pytest.raises(SettingError, match=hint) as caught:
        Fuse(**settings)
    assert "\n" not in str(caught.value)


def test_numbers_are_counted_and_units_compared():
    for settings in ({"weights": (1, 1, 1)}, {"ranges": (0, 1)}):
        with pytest.raises(SettingError, match="for 2 images"):
            fused([textured((6, 6))] * 2, **settings)
    ct, pet = (Image(FLAT.array, FLAT.grid, *kind) for kind in (("ct",), ("pet", {"units": "SUV"})))
    images = {"a": ct, "b": pet}
    with pytest.raises(SettingError, match="'a' in HU, 'b' in SUV"):
        Fuse(rescale="never").apply(Case("a", images))

"""Laws that every step of preparation keeps: what it does, it can undo."""

import itertools
from dataclasses import replace

import numpy as np
import pytest

from medgrad import registry
from medgrad.answers import restore
from medgrad.data import Case, Grid, Image, LabelMap
from medgrad.data.grid import matrix_to_tuples
from medgrad.prepare import ImageStep, build_steps, prepare

NAMES = registry.names("prepare")
SETTINGS = {"resize_pad": {"shape": (24, 24, 24)}, "resample": {"spacing": (1.0, 1.0, 1.0)}}
ORIENTATIONS = [
    (order, signs) for order in itertools.permutations(range(3)) for signs in itertools.product((1, -1), repeat=3)
]


def oriented(order, signs, shape=(23, 17, 13), spacing=(1.0, 1.5, 2.0), tilt=0.0):
    matrix = np.eye(4)
    turn = np.eye(3)
    if tilt:
        c, s = np.cos(tilt), np.sin(tilt)
        turn = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]]) @ np.array([[1, 0, 0], [0, c, -s], [0, s, c]])
    for axis, (world, sign) in enumerate(zip(order, signs, strict=True)):
        matrix[:3, axis] = turn[:, world] * sign * spacing[axis]
    matrix[:3, 3] = (-20, 30, 7)
    return Grid(shape, matrix_to_tuples(matrix))


def ball(grid, radius=9.0):
    """A ball in the middle of the patient's part that the grid covers: the same thing on any grid."""
    middle = grid.to_world(np.array([(s - 1) / 2 for s in grid.shape]))
    at = grid.to_world(np.moveaxis(np.indices(grid.shape), 0, -1))
    off = at - middle
    inside = ((off / np.array([1.0, 1.0, 0.8])) ** 2).sum(-1) < radius**2
    return inside.astype(np.uint8), off


def case_on(grid):
    labels, off = ball(grid)
    image = (labels * 100 + off[..., 0]).astype(np.float32)
    return Case("ball", {"image": Image(image, grid)}, LabelMap(labels, grid, {1: "ball"}))


def made(name):
    return build_steps([{"name": name, **SETTINGS.get(name, {})}])[0]


@pytest.mark.parametrize("name", NAMES)
def test_an_answer_comes_back_to_the_grid_of_the_case(name):
    case = case_on(oriented((2, 0, 1), (1, -1, 1)))
    step = made(name)
    ready, memo = step.apply(case)
    back = step.undo_labels(ready.truth, memo)
    assert back.grid == case.grid
    changed = float((back.array != case.truth.array).mean())
    assert changed < (0.03 if name in ("resize_pad", "resample") else 1e-9)


@pytest.mark.parametrize("name", NAMES)
def test_a_case_is_not_altered(name):
    case = case_on(oriented((0, 1, 2), (1, 1, 1)))
    before = case.images["image"].array.copy(), case.truth.array.copy()
    made(name).apply(case)
    np.testing.assert_array_equal(case.images["image"].array, before[0])
    np.testing.assert_array_equal(case.truth.array, before[1])


@pytest.mark.parametrize("name", NAMES)
def test_image_and_truth_stay_together(name):
    ready, _ = made(name).apply(case_on(oriented((1, 2, 0), (-1, 1, -1))))
    assert ready.truth.grid == ready.grid == ready.images["image"].grid


@pytest.mark.parametrize(("order", "signs"), ORIENTATIONS)
def test_all_48_orientations_go_there_and_back_without_a_change(order, signs):
    case = case_on(oriented(order, signs))
    step = made("reorient")
    ready, memo = step.apply(case)
    assert ready.grid.orientation == "RAS"
    corner = np.array([0, 0, 0])
    index = case.grid.to_index(ready.grid.to_world(corner))
    np.testing.assert_allclose(index, np.round(index), atol=1e-9)
    back = step.undo_labels(ready.truth, memo)
    np.testing.assert_array_equal(back.array, case.truth.array)
    assert back.grid == case.grid


@pytest.mark.parametrize("tilt", [0.1, 0.3])
@pytest.mark.parametrize(("order", "signs"), ORIENTATIONS[::7])
def test_every_element_stays_where_it_was_in_the_patient(order, signs, tilt):
    case = case_on(oriented(order, signs, tilt=tilt))
    ready, memos = prepare(case, build_steps([{"name": "reorient"}, {"name": "resample", "spacing": (1.0, 1.0, 1.0)}]))
    want, _ = ball(case.grid)
    middle = case.grid.to_world(np.array([(s - 1) / 2 for s in case.grid.shape]))
    found = ready.grid.to_world(np.argwhere(ready.truth.array)).mean(0)
    np.testing.assert_allclose(found, middle, atol=0.5)
    back = restore(
        ready.truth, build_steps([{"name": "reorient"}, {"name": "resample", "spacing": (1.0, 1.0, 1.0)}]), memos
    )
    overlap = 2 * (back.array & want).sum() / (back.array.sum() + want.sum())
    assert back.grid == case.grid
    assert overlap > 0.93


def test_resampling_a_linear_image_keeps_it_linear():
    grid = Grid.from_shape((10, 12), spacing=(2.0, 1.0))
    at = grid.to_world(np.moveaxis(np.indices(grid.shape), 0, -1))
    case = Case("ramp", {"image": Image((3 * at[..., 0] - at[..., 1]).astype(np.float32), grid)})
    ready = build_steps([{"name": "resample", "spacing": (1.0, 1.0), "order": 1}])[0].apply(case)[0]
    there = ready.grid.to_world(np.moveaxis(np.indices(ready.grid.shape), 0, -1))
    want = 3 * there[..., 0] - there[..., 1]
    np.testing.assert_allclose(ready.images["image"].array[2:-2, 2:-2], want[2:-2, 2:-2], atol=1e-3)


def test_fixed_normalising_is_known():
    image = Image(np.array([[-2000.0, 0.0], [50.0, 9000.0]], np.float32), Grid.from_shape((2, 2)))
    step = build_steps(
        [{"name": "normalise", "method": "window", "low": -100, "high": 200, "mean": 50, "deviation": 10}]
    )[0]
    np.testing.assert_allclose(step.apply(Case("x", {"image": image}))[0].images["image"].array, [[-15, -5], [0, 15]])


def test_normalising_survives_what_is_not_finite():
    image = Image(np.array([[np.nan, 1.0], [2.0, np.inf]], np.float32), Grid.from_shape((2, 2)))
    array = build_steps([{"name": "normalise"}])[0].apply(Case("x", {"image": image}))[0].images["image"].array
    assert np.isfinite(array).all()


def test_channels_come_to_one_grid():
    fine, coarse = Grid.from_shape((8, 8, 8)), Grid.from_shape((4, 4, 4), spacing=(2, 2, 2), origin=(0.5, 0.5, 0.5))
    images = {
        "t1": Image(np.ones(fine.shape, np.float32), fine),
        "pet": Image(np.ones(coarse.shape, np.float32), coarse),
    }
    ready = build_steps([{"name": "common_grid"}])[0].apply(Case("x", images))[0]
    assert {i.grid for i in ready.images.values()} == {fine}


JOINING = [name for name in NAMES if registry.find("prepare", name).joins_images]


@pytest.mark.parametrize("name", JOINING)
def test_a_step_that_joins_images_leaves_the_first_and_one_image_as_it_is(name):
    case = case_on(oriented((0, 1, 2), (1, 1, 1)))
    alone = case.images["image"]
    assert made(name).apply(case)[0].images == case.images
    grid = oriented((2, 0, 1), (1, -1, 1), spacing=(2.0, 2.0, 1.0))
    images = {"image": alone, "other": Image(ball(grid)[0].astype(np.float32), grid)}
    before = [image.array.copy() for image in images.values()]
    ready, memo = made(name).apply(replace(case, images=images))
    assert list(ready.images) == ["image"]
    assert ready.images["image"].tags["fused"] == ("image", "other")
    assert ready.grid == ready.truth.grid == memo.grid == alone.grid
    for image, array in zip(images.values(), before, strict=True):
        np.testing.assert_array_equal(image.array, array)


ON_IMAGES = [name for name in NAMES if issubclass(registry.find("prepare", name), ImageStep)]
CHANGES_UNIT = [name for name in ON_IMAGES if made(name).unit is not None]
"""Steps after which values mean something else."""


def noisy(dtype, dims=3, channels=1):
    """A bright ball on a dark ground with noise, as whole numbers."""
    grid = oriented((2, 0, 1), (1, -1, 1)) if dims == 3 else Grid.from_shape((40, 36), spacing=(0.5, 0.8))
    off = np.indices(grid.shape) - np.array([(s - 1) / 2 for s in grid.shape]).reshape(-1, *[1] * dims)
    inside = (off**2).sum(0) < 25
    rng = np.random.default_rng(1)
    planes = [100 + 60 * inside + rng.normal(0, 6, grid.shape) for _ in range(channels)]
    array = np.rint(planes[0] if channels == 1 else np.stack(planes, -1))
    return Image(array.astype(dtype), grid), inside


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16, np.float32, np.float64])
@pytest.mark.parametrize("name", ON_IMAGES)
def test_an_image_keeps_its_grid_and_its_type_or_becomes_float32(name, dtype):
    type_after = dtype if made(name).keeps_type else np.float32
    for image in (noisy(dtype)[0], noisy(dtype, 2)[0], noisy(dtype, 2, 3)[0]):
        changed, _ = made(name).apply(Case("a", {"image": image}))
        found = changed.images["image"]
        assert (found.array.dtype, found.array.shape, found.grid) == (type_after, image.array.shape, image.grid)
        assert not np.array_equal(found.array, image.array)


@pytest.mark.parametrize("name", ON_IMAGES)
def test_a_new_unit_is_told_and_no_modality_promises_the_old_one(name):
    image = replace(noisy(np.int16)[0], modality="ct", tags={"patient": "1"})
    found = made(name).apply(Case("a", {"image": image}))[0].images["image"]
    if name in CHANGES_UNIT:
        assert (found.modality, found.tags) == (None, {"patient": "1", "units": made(name).unit})
    else:
        assert (found.modality, found.tags) == ("ct", {"patient": "1"})


@pytest.mark.parametrize("name", ON_IMAGES)
def test_outside_the_region_not_a_bit_changes_or_all_is_0_in_a_new_unit(name):
    image, inside = noisy(np.float32)
    region = LabelMap(inside.astype(np.uint8), image.grid)
    found = made(name).apply(Case("a", {"image": image}, roi=region))[0].images["image"]
    np.testing.assert_array_equal(found.array[~inside], 0 if name in CHANGES_UNIT else image.array[~inside])
    assert (found.array[inside] != image.array[inside]).any()


@pytest.mark.parametrize("name", ON_IMAGES)
def test_what_is_not_finite_stays_so_and_does_not_spread(name):
    image, _ = noisy(np.float32)
    image.array[:3, 4, :] = np.nan
    image.array[7, 7, 7] = np.inf
    found = made(name).apply(Case("a", {"image": image}))[0].images["image"]
    np.testing.assert_array_equal(np.isnan(found.array), np.isnan(image.array))
    np.testing.assert_array_equal(np.isinf(found.array), np.isinf(image.array))
    nowhere = Image(np.full(image.grid.shape, np.nan, np.float32), image.grid)
    assert np.isnan(made(name).apply(Case("a", {"image": nowhere}))[0].images["image"].array).all()


@pytest.mark.parametrize("name", [n for n in ON_IMAGES if n not in CHANGES_UNIT])
def test_means_of_flat_regions_stay(name):
    """CT in HU within half a unit: far from edges, in the mean."""
    grid = Grid.from_shape((30, 30, 24), spacing=(1.0, 1.0, 2.0))
    array = np.where(np.indices(grid.shape)[0] < 15, -1000.0, 40.0) + np.random.default_rng(0).normal(0, 12, grid.shape)
    image = Image(np.rint(array).astype(np.int16), grid, modality="ct")
    found = made(name).apply(Case("a", {"image": image}))[0].images["image"]
    for flat in (np.s_[:8], np.s_[22:]):
        assert abs(found.array[flat].mean() - image.array[flat].mean()) < 0.5


@pytest.mark.parametrize("name", ON_IMAGES)
def test_the_same_image_gives_the_same_bits_and_one_of_a_single_value_stays(name):
    image, _ = noisy(np.float32)
    case = Case("a", {"image": image})
    one, two = (made(name).apply(case)[0].images["image"].array for _ in range(2))
    np.testing.assert_array_equal(one, two)
    flat = Image(np.full(image.grid.shape, 70, np.int16), image.grid)
    if name not in CHANGES_UNIT:
        np.testing.assert_array_equal(made(name).apply(Case("a", {"image": flat}))[0].images["image"].array, 70)

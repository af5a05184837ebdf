"""Vesselness: known tubes, bars, plates and blobs, and bad settings."""

import json

import numpy as np
import pytest
from command_line import done

from medgrad.data import Case, Grid, Image, LabelMap
from medgrad.data.formats import read, write
from medgrad.errors import SettingError
from medgrad.prepare.vesselness import Vesselness, symmetric_eigenvalues

SUB = 5


def shape_of(test, shape, spacing):
    """Give how much of each element is inside of what ``test`` says of places in mm from the middle element."""
    axes = [((np.arange(n * SUB) + 0.5) / SUB - 0.5 - n // 2) * s for n, s in zip(shape, spacing, strict=True)]
    inside = test(np.stack(np.meshgrid(*axes, indexing="ij"), -1).astype(np.float32))
    cut = inside.reshape([m for n in shape for m in (n, SUB)])
    return cut.mean(tuple(range(1, 2 * len(shape), 2)), dtype=np.float32)


def tube(radius, direction, shape=(28, 28, 12), spacing=(1.0, 1.0, 3.0)):
    along = np.array(direction, np.float32) / np.linalg.norm(direction)
    return shape_of(lambda at: (at**2).sum(-1) - (at @ along) ** 2 <= radius**2, shape, spacing)


def response(array, spacing=(1.0, 1.0, 3.0), roi=None, **settings):
    grid = Grid.from_shape(array.shape, spacing=spacing[: array.ndim])
    region = None if roi is None else LabelMap(roi.astype(np.uint8), grid)
    return Vesselness(**settings).apply(Case("a", {"i": Image(array, grid)}, roi=region))[0].images["i"].array


def middle(array):
    return float(array[tuple(slice(n // 2 - 2, n // 2 + 3) for n in array.shape)].max())


@pytest.mark.parametrize("radius", [2.0, 4.0])
@pytest.mark.parametrize("direction", [(1, 0, 0), (0, 0, 1), (1, 1, 0), (0, 1, 2)], ids=str)
def test_a_tube_of_contrast_1_gives_1_along_any_direction_through_thick_slices(radius, direction):
    assert middle(response(tube(radius, direction), radii=(2.0, 2.8, 4.0))) == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize(("dims", "radius"), [(2, 2.0), (2, 4.0), (3, 2.0), (3, 3.0)])
def test_a_tube_responds_most_at_the_scale_of_its_radius(dims, radius):
    shape, spacing = ((48, 48), (1.0, 1.0)) if dims == 2 else ((28, 28, 28), (1.0, 1.0, 1.0))
    array = tube(radius, (1,) + (0,) * (dims - 1), shape, spacing)
    at = {r: middle(response(array, spacing, radii=(r,))) for r in (0.6 * radius, radius, 1.6 * radius)}
    assert max(at, key=at.get) == radius
    assert at[radius] == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize("dims", [2, 3])
def test_dark_tubes_respond_as_bright_ones_do_and_not_to_the_other_sign(dims):
    shape, spacing = ((40, 40), (1.0, 1.0)) if dims == 2 else ((28, 28, 12), (1.0, 1.0, 3.0))
    array = tube(2.0, (1,) + (0,) * (dims - 1), shape, spacing)
    bright = response(array, spacing, radii=(2.0,))
    np.testing.assert_allclose(response(1 - array, spacing, radii=(2.0,), dark=True), bright, atol=1e-5)
    assert middle(response(1 - array, spacing, radii=(2.0,))) < 0.05


def test_a_bar_responds_the_same_at_any_angle_and_on_elements_that_are_not_square():
    found = []
    for degrees in (0, 3.75, 18.75, 45, 70):
        direction = (np.cos(np.radians(degrees)), np.sin(np.radians(degrees)))
        for spacing in ((1.0, 1.0), (0.5, 1.0)):
            array = tube(2.5, direction, (round(64 / spacing[0]), 64), spacing)
            found.append(middle(response(array, spacing, radii=(2.5,))))
    assert max(found) / min(found) < 1.15


def test_a_ball_and_a_plate_give_less_than_a_tube():
    even, shape = (1.0, 1.0, 1.0), (28, 28, 28)
    ball = shape_of(lambda at: (at**2).sum(-1) <= 9, shape, even)
    plate = shape_of(lambda at: np.abs(at[..., 0]) <= 3, shape, even)
    settings = {"spacing": even, "radii": (2.0, 3.0)}
    assert middle(response(ball, **settings)) < 0.6
    assert middle(response(plate, **settings)) < 0.05
    flat = shape_of(lambda at: (at**2).sum(-1) <= 9, (48, 48), (1.0, 1.0))
    assert middle(response(flat, radii=(2.0, 3.0))) < 0.8


def test_a_third_of_the_contrast_gives_a_third_and_an_offset_nothing():
    array = tube(2.0, (1, 0, 0))
    np.testing.assert_allclose(response(array / 3 + 50), response(array) / 3, atol=1e-4)
    assert not response(np.full((20, 20), 7, np.int16)).any()


def test_the_rim_of_the_region_gives_no_response():
    at = np.hypot(*(np.indices((64, 64)) - 32))
    array, roi = np.where(at < 26, 100.0, 0.0).astype(np.float32), at < 24
    array += 20 * (np.abs(np.indices((64, 64))[0] - 32) < 2)
    assert response(array, (1.0, 1.0))[at > 24].max() > 15
    found = response(array, (1.0, 1.0), roi)
    assert found[np.abs(np.indices((64, 64))[0] - 32) > 12].max() < 3
    assert found[32, 32] > 10
    blurred = np.where(at < 23, array, array * (26 - at) / 3).clip(0).astype(np.float32)
    off = np.abs(np.indices((64, 64))[0] - 32) > 12
    assert response(blurred, (1.0, 1.0), roi, dark=True, border=4.0)[off].max() < 3
    assert response(blurred, (1.0, 1.0), roi, dark=True)[off].max() > 6


def test_local_contrast_makes_a_dim_half_respond_as_a_bright_one():
    array = tube(2.0, (1, 0), (96, 160), (1.0, 1.0)) * 0
    array[:, 40] = array[:, 120] = 1.0
    array += np.random.default_rng(0).normal(0, 0.1, array.shape).astype(np.float32)
    array[:, 80:] *= 0.25
    plain, divided = (response(array, (1.0, 1.0), radii=(1.0,), local_contrast=c) for c in (False, True))
    ratios = [found[40:56, 120].mean() / found[40:56, 40].mean() for found in (plain, divided)]
    assert ratios[0] == pytest.approx(0.25, abs=0.02)
    assert ratios[1] > 0.3


def test_eigenvalues_are_those_of_numpy():
    made = np.random.default_rng(0).normal(size=(200, 3, 3))
    made += made.swapaxes(1, 2)
    parts = [made[:, i, j] for i, j in ((0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2))]
    np.testing.assert_allclose(np.stack(symmetric_eigenvalues(*parts), -1), np.linalg.eigvalsh(made), atol=1e-6)


@pytest.mark.parametrize("settings", [{"radii": (0.0,)}, {"radii": ("a",)}, {"radii": (1, 200)}, {"border": -1.0}])
def test_bad_settings_are_told_in_one_line(settings):
    with pytest.raises(SettingError, match=next(iter(settings))) as told:
        Vesselness(**settings)
    assert "\n" not in str(told.value)


def test_a_picture_becomes_a_tiff_of_real_values_and_the_record_says_so(tmp_path):
    array = (200 * tube(2.0, (1, 0), (40, 40), (1.0, 1.0))).astype(np.uint8)
    write(tmp_path / "a.png", Image(array, Grid.from_shape(array.shape)))
    done("process", "vesselness", tmp_path / "a.png", "-o", tmp_path / "out", "--set", "radii=2,3")
    record = json.loads((tmp_path / "out" / "process.json").read_text())["images"][0]
    assert record["type"] == {"before": "uint8", "after": "float32"}
    assert record["unit"] == {"before": "", "after": "vesselness"}
    assert record["chosen"] == [{"step": "vesselness", "image": [{"radii": "2 3"}]}]
    assert read(record["output"]).array.dtype == np.float32

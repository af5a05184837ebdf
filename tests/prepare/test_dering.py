"""Rings of CT: what is taken away, what stays, and where the centre is."""

import numpy as np
import pytest
from scipy import ndimage

from medgrad.data import Case, Grid, Image
from medgrad.errors import SettingError
from medgrad.prepare.dering import Dering, axial_axis

SHAPE, SPACING = (72, 64, 3), (1.0, 1.0, 3.0)
MIDDLE = (35.5, 31.5)


def clean(shape=SHAPE, noise=8.0):
    """A trunk in air with a bone, two lungs and noise, in HU."""
    x, y = (np.indices(shape[:2]) - np.reshape(MIDDLE, (2, 1, 1))) / 36
    plane = np.where((x / 0.9) ** 2 + (y / 0.7) ** 2 < 1, 40.0, -1000)
    plane[(x + 0.4) ** 2 + y**2 < 0.06] = -850
    plane[(x - 0.1) ** 2 + (y - 0.35) ** 2 < 0.01] = 700
    rng = np.random.default_rng(0)
    return (ndimage.gaussian_filter(plane, 0.6)[..., None] + rng.normal(0, noise, shape)).astype(np.float32)


def rings(shape=SHAPE, centre=MIDDLE, arc=2 * np.pi):
    """Three rings of 40 HU, each 2 elements wide, or arcs of them."""
    off = np.indices(shape[:2]) - np.reshape(centre, (2, 1, 1))
    radius, angle = np.hypot(*off), np.arctan2(off[1], off[0]) % (2 * np.pi)
    plane = sum(sign * (np.abs(radius - at) < 1) for at, sign in ((9, 1), (16, -1), (24, 1)))
    return (40.0 * plane * (angle < arc))[..., None] * np.ones(shape, np.float32)


def left(found, image, added):
    return np.mean((found - image) ** 2) / np.mean(added**2)


@pytest.mark.parametrize(("arc", "most"), [(2 * np.pi, 0.3), (np.pi, 0.55)])
def test_so_much_of_the_energy_of_rings_is_left(arc, most):
    found, _ = Dering(limit=120.0).change(clean() + rings(arc=arc), SPACING)
    assert left(found, clean(), rings(arc=arc)) < most
    chosen, _ = Dering().change(clean() + rings(), SPACING)
    assert left(chosen, clean(), rings()) < 0.4


def test_a_ring_that_leaves_the_slice_is_taken_away_in_its_corners():
    off = np.hypot(*(np.indices(SHAPE[:2]) - np.reshape(MIDDLE, (2, 1, 1))))
    ring = (40.0 * (np.abs(off - 40) < 1))[..., None] * np.ones(SHAPE, np.float32)
    image = np.random.default_rng(0).normal(0, 8, SHAPE).astype(np.float32)
    found, _ = Dering(limit=120.0).change(image + ring, SPACING)
    assert left(found, image, ring) < 0.4


def test_a_clean_image_changes_by_less_than_2_hu():
    found, chosen = Dering().change(clean(), SPACING)
    assert np.sqrt(np.mean((found - clean()) ** 2)) < 2
    assert 20 < chosen["limit"] < 60


def test_a_round_bone_at_the_centre_and_a_bright_tube_around_it_stay():
    """A ring as strong as anatomy is none."""
    off = np.hypot(*(np.indices(SHAPE[:2]) - np.reshape(MIDDLE, (2, 1, 1))))
    anatomy = clean() + (600.0 * ((np.abs(off - 20) < 1.5) | (off < 6)))[..., None].astype(np.float32)
    found, _ = Dering().change(anatomy, SPACING)
    assert np.abs(found - anatomy)[np.abs(off - 20) < 1.5].mean() < 2
    assert np.abs(found - anatomy)[off < 4].mean() < 5


def test_the_centre_is_found_within_an_element():
    added = rings(centre=(39.0, 29.5))
    image = (clean() + added)[..., :1]
    _, chosen = Dering(find_centre=True).change(image, SPACING)
    np.testing.assert_allclose([float(v) for v in chosen["centre"].split(",")], (39.0, 29.5), atol=1.0)
    known, elsewhere = (Dering(centre=at).change(image, SPACING)[0] for at in ((39.0, 29.5), ()))
    assert left(known, clean()[..., :1], added) < 0.4
    assert left(elsewhere, clean()[..., :1], added) > 0.9


def test_slices_lie_along_the_axis_of_the_patient_that_is_nearest_to_head_foot():
    affine = ((0.0, 0.0, 1.0, 0.0), (0.0, 1.0, 0.0, 0.0), (3.0, 0.0, 0.0, 0.0), (0.0, 0.0, 0.0, 1.0))
    grid = Grid((3, 64, 72), affine)
    assert axial_axis(grid) == 0
    turned = np.ascontiguousarray(np.transpose(clean() + rings(), (2, 1, 0)))
    found = Dering().apply(Case("a", {"image": Image(turned, grid)}))[0].images["image"].array
    wanted, _ = Dering().change(clean() + rings(), SPACING)
    np.testing.assert_allclose(np.transpose(found, (2, 1, 0)), wanted, atol=1.0)


def test_elements_that_are_not_square_have_round_rings():
    shape = (72, 32, 3)
    thin = (clean() + rings())[:, ::2]
    centre = (MIDDLE[0], MIDDLE[1] / 2)
    found, _ = Dering(centre=centre).change(thin, (1.0, 2.0, 3.0))
    assert found.shape == shape
    assert left(found, clean()[:, ::2], rings()[:, ::2]) < 0.5


@pytest.mark.parametrize("k", [0.01, 100])
def test_the_unit_does_not_matter(k):
    image = clean() + rings()
    one, many = Dering().change(image, SPACING)[0], Dering().change(k * image, SPACING)[0]
    np.testing.assert_allclose(many / k, one, atol=0.2)


@pytest.mark.parametrize("shape", [(5, 40), (1, 1), (40, 40, 1), (7, 7, 7)])
def test_small_images_are_taken(shape):
    image = np.random.default_rng(0).normal(0, 1, shape).astype(np.float32)
    found, _ = Dering().change(image, (1.0, 1.0, 50.0)[: len(shape)])
    assert found.shape == shape
    assert np.isfinite(found).all()


@pytest.mark.parametrize(
    ("settings", "hint"),
    [
        ({"centre": (1.0,)}, "find_centre"),
        ({"centre": (1.0, float("nan"))}, "two numbers"),
        ({"width_mm": -1}, "'width_mm'"),
        ({"limit": "much"}, "'limit'"),
        ({"axis": 3}, "'axis'"),
    ],
)
def test_a_bad_setting_is_told_in_one_line(settings, hint):
    with pytest.raises(SettingError, match=hint) as caught:
        Dering(**settings)
    assert "\n" not in str(caught.value)

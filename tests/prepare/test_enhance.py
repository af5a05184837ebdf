"""Contrast enhancement against plain references, and what must not change."""

import numpy as np
import pytest

from medgrad.data import Case, Grid, Image
from medgrad.errors import SettingError
from medgrad.prepare.enhance import BINS, Enhance, clip_histograms


def enhanced(array, spacing=None, modality=None, **settings):
    image = Image(array, Grid.from_shape(array.shape, spacing=spacing), modality=modality)
    return Enhance(**settings).apply(Case("a", {"i": image}))[0].images["i"]


def textured(shape, seed=0):
    return np.random.default_rng(seed).gamma(2.0, 40.0, shape).clip(0, 999).astype(np.float32)


def plain_clahe(array, low, high, tiles, clip):
    """Equalise element by element, in loops."""
    share = np.clip((array - low) / (high - low), 0, 1)
    counts = [max(1, min(tiles, n // 8)) for n in array.shape]
    curves = {}
    for tile in np.ndindex(*counts):
        part = share
        for axis, (t, count) in enumerate(zip(tile, counts, strict=True)):
            n = array.shape[axis]
            part = part.take([i for i in range(n) if i * count // n == t], axis)
        cells = np.histogram(part, BINS, (0, 1))[0] / part.size
        curves[tile] = np.concatenate([[0], np.cumsum(clip_slowly(cells, clip / BINS))])
    out = np.empty_like(array)
    for at in np.ndindex(*array.shape):
        value, edges = 0.0, np.linspace(0, 1, BINS + 1)
        places = [(i + 0.5) * c / n - 0.5 for i, c, n in zip(at, counts, array.shape, strict=True)]
        for corner in np.ndindex(*(2,) * array.ndim):
            weight, tile = 1.0, []
            for place, side, count in zip(places, corner, counts, strict=True):
                place = min(max(place, 0), count - 1)
                below = min(int(place), max(0, count - 2))
                tile.append(min(below + side, count - 1))
                weight *= place - below if side else 1 - (place - below)
            if weight:
                value += weight * np.interp(share[at], edges, curves[tuple(tile)])
        out[at] = array[at] if not low < array[at] < high else low + value * (high - low)
    return out


def clip_slowly(cells, most):
    """Cut what is above, and give it to the others, until none is above."""
    cells = cells.copy()
    for _ in range(4000):
        excess = np.maximum(cells - most, 0).sum()
        if excess < 1e-12:
            break
        cells = np.minimum(cells, most)
        is_free = cells < most
        cells[is_free] += excess / is_free.sum()
    return cells


@pytest.mark.parametrize(("shape", "tiles"), [((33, 26), 3), ((17, 16, 9), 2)], ids=str)
def test_clahe_is_that_of_the_plain_reference(shape, tiles):
    array = textured(shape)
    found = enhanced(array, range=(10.0, 200.0), tiles=tiles, clip_limit=3.0).array
    np.testing.assert_allclose(found, plain_clahe(array, 10, 200, tiles, 3.0), atol=0.01)


def test_no_bin_is_above_the_clip_limit_and_all_add_up_to_1():
    cells = np.random.default_rng(0).poisson(np.linspace(0, 40, BINS), (5, BINS))
    for limit in (1.0, 1.3, 4.0):
        clipped = clip_histograms(cells, limit)
        assert clipped.max() <= limit / BINS * (1 + 1e-6)
        np.testing.assert_allclose(clipped.sum(1), 1)


def test_clip_limit_1_changes_nothing():
    array = textured((40, 32))
    np.testing.assert_allclose(enhanced(array, clip_limit=1.0).array, array, atol=0.01)


def test_clahe_is_monotone_in_one_tile_and_spreads_a_narrow_range():
    array = np.random.default_rng(0).normal(100, 5, (64, 64)).astype(np.float32)
    found = enhanced(array, range=(0.0, 255.0), tiles=1, clip_limit=8.0).array
    order = np.argsort(array, axis=None)
    assert (np.diff(found.ravel()[order]) >= -1e-3).all()
    assert found.std() > 3 * array.std()


def test_one_hot_element_hardly_changes_the_others():
    array = textured((64, 48))
    hot = array.copy()
    hot[5, 7] = 1e6
    for settings in ({"method": "clahe"}, {"method": "gamma"}, {"method": "window"}):
        one, two = (enhanced(a, **settings).array for a in (array, hot))
        apart = np.abs(one - two)
        apart[5, 7] = 0
        assert apart.max() < 0.03 * np.ptp(one)


def test_a_flat_image_stays():
    for method in ("clahe", "gamma", "unsharp"):
        np.testing.assert_array_equal(enhanced(np.full((20, 20), 70, np.int16), method=method).array, 70)


def test_gamma_1_changes_nothing_and_a_half_is_the_root():
    array = np.array([[-5.0, 0.0, 25.0], [50.0, 100.0, 180.0]], np.float32)
    np.testing.assert_allclose(enhanced(array, method="gamma", gamma=1.0).array, array, atol=1e-4)
    found = enhanced(array, method="gamma", gamma=0.5, range=(0.0, 100.0)).array
    np.testing.assert_allclose(found, [[-5, 0, 50], [70.710678, 100, 180]], rtol=1e-5)


def test_a_window_gives_shares_of_its_range_and_takes_the_hounsfield_units_away():
    array = np.array([[-1000, -160], [40, 3000]], np.int16)
    found = enhanced(array, method="window", range=(-160.0, 240.0), modality="ct")
    np.testing.assert_allclose(found.array, [[0, 0], [0.5, 1]])
    assert (found.array.dtype, found.modality, found.tags["units"]) == (np.float32, None, "1")


def test_unsharp_keeps_flat_regions_and_the_unit_and_makes_an_edge_steeper():
    array = np.where(np.arange(60)[:, None, None] < 30, -1000, 40) + np.zeros((60, 12, 8))
    noisy = np.rint(array + np.random.default_rng(0).normal(0, 12, array.shape)).astype(np.int16)
    found = enhanced(noisy, (1.0, 1.0, 2.0), "ct", method="unsharp", sigma=2.0, amount=1.5)
    assert (found.array.dtype, found.modality, dict(found.tags)) == (np.int16, "ct", {})
    for flat in (np.s_[:20], np.s_[40:]):
        assert abs(found.array[flat].mean() - noisy[flat].mean()) < 0.5
    sharp = enhanced(array.astype(np.float32), method="unsharp", sigma=2.0).array
    assert sharp[30, 5, 5] - sharp[29, 5, 5] > 1.5 * 1040


def test_unsharp_is_by_millimetres():
    array = textured((24, 24))
    fine = enhanced(array, (0.5, 0.5), method="unsharp", sigma=1.0).array
    np.testing.assert_array_equal(fine, enhanced(array, (1.0, 1.0), method="unsharp", sigma=2.0).array)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"method": "clahee"}, "Did you mean 'clahe'"),
        ({"range": (3.0, 1.0)}, "'range'"),
        ({"range": (3.0,)}, "'range'"),
        ({"range": ("a", "b")}, "'range'"),
        ({"clip_limit": 0.5}, "'clip_limit'"),
        ({"tiles": 0}, "'tiles'"),
        ({"gamma": -1.0}, "'gamma'"),
        ({"sigma": -1.0}, "'sigma'"),
    ],
    ids=str,
)
def test_bad_settings_are_told_in_one_line(settings, said):
    with pytest.raises(SettingError, match=said) as told:
        Enhance(**settings)
    assert "\n" not in str(told.value)

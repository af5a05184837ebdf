"""What was changed in an image: its power by frequency, and the figures of flat regions, against known values."""

import numpy as np
import pytest
from scipy import ndimage

from medgrad.trust.residuals import BANDS, REGIONS, flat_regions, mean_power, power_by_frequency, region_figures


@pytest.mark.parametrize("shape", [(64, 64), (32, 24, 20)])
def test_white_noise_has_its_variance_in_every_band(shape):
    power = power_by_frequency(np.random.default_rng(0).normal(7, 3, shape))
    assert np.nanmax(abs(power[4:] / 9 - 1)) < 0.25


def test_a_wave_lies_in_its_band_and_nowhere_else():
    x = np.arange(64)
    wave = np.sin(2 * np.pi * 16 * x / 64)[:, None] * np.ones(64)
    power = np.nan_to_num(power_by_frequency(wave))
    assert int(power.argmax()) == BANDS // 2
    assert power[BANDS // 2] > 1e6 * np.delete(power, BANDS // 2).max()


def test_smoothing_takes_high_frequencies_alone():
    noise = np.random.default_rng(1).normal(0, 1, (96, 96))
    taken = power_by_frequency(noise - ndimage.gaussian_filter(noise, 1.0, mode="wrap"))
    assert taken[1] < 0.1 * taken[-1]


def test_the_mean_of_an_image_does_not_count():
    image = np.random.default_rng(2).normal(0, 1, (32, 32))
    np.testing.assert_allclose(power_by_frequency(image), power_by_frequency(image + 1000), rtol=1e-6, atol=1e-6)


def test_small_images_leave_bands_empty_instead_of_guessing():
    assert mean_power([np.random.default_rng(0).normal(size=(6, 6))], [1.0])[0] is None


def test_regions_are_flat_and_go_from_dark_to_bright():
    image = np.zeros((60, 60))
    image[:, 20:40], image[:, 40:] = 100, 300
    regions = flat_regions(image)
    assert tuple(regions) == REGIONS
    assert not any(region[:, [19, 20, 39, 40]].any() for region in regions.values())
    figures = region_figures(image, {"shown": image + 5})
    assert [figures[name]["truth"] for name in REGIONS if name in figures] == sorted(
        figures[name]["truth"] for name in REGIONS if name in figures
    )


def test_means_and_noise_of_regions_are_those_that_were_planted():
    rng = np.random.default_rng(0)
    truth = ndimage.gaussian_filter(rng.normal(0, 400, (80, 80)), 6)
    figures = region_figures(truth, {"shown": truth + rng.normal(0, 10, truth.shape), "answer": truth - 3})
    for one in figures.values():
        assert one["shown noise"] == pytest.approx(10, rel=0.15)
        assert one["answer noise"] == pytest.approx(0, abs=1e-9)
        assert one["answer"] == pytest.approx(one["truth"] - 3)


def test_a_constant_image_has_regions_or_none_but_no_error():
    assert all(np.isfinite(list(one.values())).all() for one in region_figures(np.ones((9, 9)), {}).values())

"""Denoising: what each method gains, how well the noise is estimated, and what it leaves alone."""

from functools import cache

import numpy as np
import pytest
from scipy import ndimage, stats

from medgrad.data import Case, Grid, Image
from medgrad.errors import SettingError
from medgrad.prepare import denoise
from medgrad.prepare._noise import estimate_sigma, restore_signal, rician_mean, stabilise
from medgrad.prepare._nonlocal_means import (
    average_by_guide,
    in_blocks,
    search_radii,
    sum_patches,
    threshold_patches,
    transform_patches,
)
from medgrad.prepare.denoise import DENOISERS, Denoise

SHAPE = (36, 32, 28)


@cache
def clean(shape=SHAPE):
    """A ball and a bar on a slope, with soft edges; 0 outside of a large ellipsoid."""
    off = np.indices(shape) - np.array([(s - 1) / 2 for s in shape]).reshape(-1, *[1] * len(shape))
    radius = np.sqrt((off**2).sum(0))
    array = 100 + off[0] + 80 * (radius < 7) + 50 * (np.abs(off[1] - 9) < 2)
    return ndimage.gaussian_filter(array * (radius < 13), 0.7).astype(np.float32)


def noisy(kind, sigma, shape=SHAPE, seed=0):
    rng = np.random.default_rng(seed)
    signal = clean(shape)
    if kind == "gaussian":
        return (signal + rng.normal(0, sigma, shape)).astype(np.float32)
    if kind == "poisson":
        return (rng.poisson(signal / sigma**2) * sigma**2).astype(np.float32)
    return np.hypot(signal + rng.normal(0, sigma, shape), rng.normal(0, sigma, shape)).astype(np.float32)


def psnr(found, wanted):
    return 10 * np.log10(float(wanted.max()) ** 2 / np.mean((found - wanted) ** 2, dtype=np.float64))


GAINS = {
    "nonlocal_means": 9.0,
    "total_variation": 7.0,
    "wavelet": 6.5,
    "diffusion": 7.0,
    "median": 4.0,
    "gaussian": 5.0,
    "bilateral": 6.5,
}


@pytest.mark.parametrize("method", GAINS)
def test_each_method_gains_so_many_decibels(method):
    image = noisy("gaussian", 12)
    found, chosen = Denoise(method).change(image, (1.0, 1.0, 1.0))
    assert psnr(found, clean()) - psnr(image, clean()) > GAINS[method]
    assert chosen["sigma"] == pytest.approx(12, rel=0.1)


def test_every_method_is_tested():
    assert set(GAINS) == set(DENOISERS)


@pytest.mark.parametrize("method", DENOISERS)
@pytest.mark.parametrize("kind", ["rician", "poisson"])
def test_each_method_gains_under_noise_that_depends_on_the_signal(method, kind):
    image = noisy(kind, {"rician": 12, "poisson": 1.2}[kind])
    found, _ = Denoise(method, kind).change(image, (1.0, 1.0, 1.0))
    assert psnr(found, clean()) - psnr(image, clean()) > 3.5


@pytest.mark.parametrize("method", DENOISERS)
def test_each_method_gains_in_two_dimensions_and_on_one_slice_of_three(method):
    image, wanted = noisy("gaussian", 15, (64, 60)), clean((64, 60))
    for spacing in ((1.0, 1.0), (0.5, 0.7)):
        assert psnr(Denoise(method).change(image, spacing)[0], wanted) - psnr(image, wanted) > 3
    thin, _ = Denoise(method).change(image[..., None], (1.0, 1.0, 5.0))
    assert psnr(thin[..., 0], wanted) - psnr(image, wanted) > 3


@pytest.mark.parametrize("kind", ["gaussian", "rician"])
@pytest.mark.parametrize("sigma", [2, 6, 20])
def test_the_noise_is_estimated_within_a_tenth(kind, sigma):
    assert estimate_sigma(noisy(kind, sigma), kind) == pytest.approx(sigma, rel=0.1)


@pytest.mark.parametrize("gain", [0.5, 1, 3])
def test_poisson_noise_is_estimated_within_a_tenth(gain):
    assert estimate_sigma(noisy("poisson", gain**0.5), "poisson") == pytest.approx(gain**0.5, rel=0.1)


def test_the_noise_of_a_slice_is_estimated_within_a_tenth():
    assert estimate_sigma(noisy("gaussian", 8, (96, 96))) == pytest.approx(8, rel=0.1)


@pytest.mark.parametrize(("signal", "within"), [(0, 0.1), (0.5, 0.1), (1, 0.25), (2, 0.1), (5, 0.1)])
def test_rician_noise_is_estimated_at_every_signal(signal, within):
    """Where all of an image is about as strong as its noise, noise alone would look nearly the same."""
    rng = np.random.default_rng(0)
    image = 7 * np.hypot(signal + rng.normal(size=(30,) * 3), rng.normal(size=(30,) * 3)).astype(np.float32)
    assert estimate_sigma(image, "rician") == pytest.approx(7, rel=within)


def test_a_background_of_zeros_does_not_count():
    image = noisy("rician", 8)
    image[clean() < 50] = 0
    assert (image == 0).mean() > 0.6
    assert estimate_sigma(image, "rician") == pytest.approx(8, rel=0.1)


def test_whole_numbers_do_not_hide_the_noise():
    assert estimate_sigma(np.rint(noisy("gaussian", 1.5))) == pytest.approx(1.5, rel=0.1)


def test_an_image_without_noise_stays_as_it_is():
    image = np.float32(100) * (np.indices(SHAPE).sum(0) > 50)
    found, chosen = Denoise().change(image, (1.0, 1.0, 1.0))
    np.testing.assert_array_equal(found, image)
    assert chosen == {"sigma": 0.0}


def test_the_sigma_that_was_estimated_is_told_and_one_that_was_given_is_taken():
    case = Case("a", {"image": Image(noisy("gaussian", 6), Grid.from_shape(SHAPE))})
    _, memo = Denoise().apply(case)
    (chosen,) = memo.values["chosen"]["image"]
    assert chosen["sigma"] == pytest.approx(6, rel=0.1)
    known, memo = Denoise(sigma=chosen["sigma"]).apply(case)
    assert memo.values["chosen"] == {}
    np.testing.assert_array_equal(known.images["image"].array, Denoise().apply(case)[0].images["image"].array)


def test_the_mean_of_rician_noise_is_that_of_scipy():
    signals = np.array([0, 0.3, 1, 4, 20.0])
    np.testing.assert_allclose(rician_mean(signals), [stats.rice.mean(v) if v else np.sqrt(np.pi / 2) for v in signals])


@pytest.mark.parametrize(
    "kind, signal", [("rician", 0), ("rician", 20), ("rician", 60), ("poisson", 2), ("poisson", 30)]
)
def test_the_inverse_has_no_bias(kind, signal):
    """The mean of noisy values lies above the signal under Rician noise; that of the stabilised ones leads back."""
    rng = np.random.default_rng(0)
    if kind == "rician":
        values = np.hypot(signal + rng.normal(0, 10, 400_000), rng.normal(0, 10, 400_000))
        assert values.mean() > signal + 0.5
    else:
        values = rng.poisson(signal, 400_000)
    sigma = 10.0 if kind == "rician" else 1.0
    average = stabilise(values.astype(np.float32), kind, sigma).mean(keepdims=True)
    found = float(restore_signal(average, kind, sigma)[0])
    assert found == pytest.approx(signal, abs={"rician": 1.0, "poisson": 0.05}[kind])


def test_the_bias_of_rician_noise_is_gone():
    image = noisy("rician", 10)
    found, _ = Denoise(noise="rician").change(image, (1.0, 1.0, 1.0))
    background, ball = clean() < 1e-3, clean() > 165
    assert image[background].mean() > 12
    assert found[background].mean() < image[background].mean() / 4
    assert found[ball].mean() == pytest.approx(clean()[ball].mean(), rel=0.02)
    kept, _ = Denoise(noise="gaussian").change(image, (1.0, 1.0, 1.0))
    assert kept[background].mean() == pytest.approx(image[background].mean(), abs=0.5)


@pytest.mark.parametrize("method", DENOISERS)
def test_flat_regions_keep_their_mean(method):
    rng = np.random.default_rng(0)
    image = np.where(np.indices((32, 24, 20))[0] < 16, -1000, 40) + rng.normal(0, 15, (32, 24, 20))
    found, _ = Denoise(method).change(image.astype(np.float32), (1.0, 1.0, 2.0))
    for flat in (np.s_[:9], np.s_[23:]):
        assert abs(found[flat].mean() - image[flat].mean()) < 0.5
        assert found[flat].std() < image[flat].std()


@pytest.mark.parametrize("method", DENOISERS)
def test_twice_the_values_give_twice_the_answer(method):
    image = noisy("gaussian", 6, (48, 40))
    one, two = (Denoise(method).change(k * image, (1.0, 1.0))[0] for k in (1, 2))
    np.testing.assert_allclose(two, 2 * one, atol=0.01)


def test_patches_come_back_from_their_cosines():
    values, patch = noisy("gaussian", 5, (20, 17)), (4, 3)
    back = sum_patches(transform_patches(values, patch), patch)
    np.testing.assert_allclose(back[4:-4, 4:-4], 12 * values[4:-4, 4:-4], rtol=1e-4, atol=1e-2)


def test_a_slope_passes_the_threshold_unchanged():
    slope = 50 * np.indices((24, 20, 18))[0].astype(np.float32)
    found = threshold_patches(slope, (4, 4, 4))
    np.testing.assert_allclose(found[4:-4], slope[4:-4], atol=2)


def test_the_average_is_that_of_the_formula():
    values, guide = np.float32([[3, 9, 4]]), np.float32([[1.0, 1.5, 1.2]])
    mean = ndimage.uniform_filter(guide, 3, mode="nearest")[0]
    weights = [np.exp(-((guide[0, i] - 1) ** 2 + 3 * (mean[i] - mean[0]) ** 2) / (2 * 0.6**2)) for i in range(3)]
    wanted = (weights * values[0]).sum() / sum(weights)
    assert average_by_guide(values, guide, (0, 2))[0, 0] == pytest.approx(wanted, rel=1e-5)


def test_blocks_do_not_show():
    image = noisy("gaussian", 10, (100, 44, 40)) / 10

    def change(block):
        return average_by_guide(block, threshold_patches(block, (4, 4, 4)), (2, 2, 2))

    np.testing.assert_allclose(in_blocks(change, image, (6, 6, 6)), change(image), atol=1e-4)


def test_thick_slices_are_searched_less():
    assert search_radii((64, 64, 30), (1.0, 1.0, 6.0)) == [2, 2, 1]
    assert search_radii((64, 64, 1), (1.0, 1.0, 6.0)) == [5, 5, 0]


@pytest.mark.parametrize(
    ("settings", "hint"),
    [
        ({"method": "nonlocal_mean"}, "nonlocal_means"),
        ({"method": "tv", "sigma": 3}, "total_variation"),
        ({"noise": "rice"}, "rician"),
        ({"sigma": -1}, "-1"),
        ({"sigma": float("nan")}, "nan"),
        ({"sigma": "much"}, "much"),
    ],
)
def test_a_bad_setting_is_told_in_one_line(settings, hint):
    with pytest.raises(SettingError, match=hint) as caught:
        Denoise(**settings)
    assert "\n" not in str(caught.value)


def test_negative_values_are_not_magnitudes():
    with pytest.raises(SettingError, match="noise=gaussian"):
        Denoise(noise="rician").change(noisy("gaussian", 20) - 50, (1.0, 1.0, 1.0))


def test_the_module_ends_in_the_step():
    assert denoise.THIS is Denoise

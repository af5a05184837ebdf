"""What every metric of images keeps, and what scikit-image finds for the same images."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from medgrad import metrics, registry
from medgrad.data.grid import Grid
from medgrad.data.types import Image, LabelMap

ON_IMAGES = [n for n in registry.names("metrics") if registry.find("metrics", n).input_kind == "image"]


def scan(seed, shape=(14, 15, 13), channels=1):
    """Smooth values in HU, in one channel or several."""
    rng = np.random.default_rng(seed)
    planes = [ndimage.gaussian_filter(rng.normal(0, 900, shape), 1.5) - 100 for _ in range(channels)]
    grid = Grid.from_shape(shape, spacing=(1.0, 1.5, 3.0)[: len(shape)])
    return Image(planes[0] if channels == 1 else np.stack(planes, -1), grid)


def shaken(image, seed, by=30.0):
    return replace(image, array=image.array + np.random.default_rng(seed).normal(0, by, image.array.shape))


@pytest.mark.parametrize("name", ON_IMAGES)
def test_every_number_on_images_has_a_meaning_and_the_truth_gets_the_best(name):
    for truth in (scan(0), scan(0, (20, 17)), scan(0, channels=2)):
        row, best = metrics.judge([name], truth, shaken(truth, 1)), metrics.judge([name], truth, truth)
        assert [n for n in row if metrics.figure_of(n) is None] == []
        for figure, value in best.items():
            bounds = metrics.value_range(figure)
            is_higher = metrics.better_direction(figure) == "higher"
            assert value == pytest.approx(bounds[1] if is_higher else 0.0)
            assert row[figure] < value if is_higher else row[figure] > value


@pytest.mark.parametrize("name", ON_IMAGES)
def test_more_noise_is_worse_and_no_image_worse_still(name):
    truth = scan(0)
    for figure, failed in metrics.judge_failed([name], truth).items():
        values = [metrics.judge([name], truth, shaken(truth, 1, by))[figure] for by in (2, 8, 32)]
        values = [*values, failed]
        assert values == sorted(values, reverse=metrics.better_direction(figure) == "higher"), figure


@pytest.mark.parametrize("name", ON_IMAGES)
def test_a_flat_truth_and_what_is_not_finite_give_no_nan(name):
    truth = scan(0)
    flat = replace(truth, array=np.full(truth.array.shape, 7.0))
    holes = replace(truth, array=np.where(truth.array > 60, np.nan, truth.array))
    for want, said in ((flat, flat), (holes, truth), (truth, holes), (flat, replace(flat, array=flat.array * np.nan))):
        for figure, value in metrics.judge([name], want, said).items():
            assert value is None or np.isfinite(value), figure
    good, bad = (metrics.judge([name], truth, said) for said in (shaken(truth, 1, 1.0), holes))
    for figure, value in good.items():
        assert (bad[figure] < value) == (metrics.better_direction(figure) == "higher"), figure


@pytest.mark.parametrize("name", ["psnr", "nrmse", "mae"])
def test_errors_outside_the_region_do_not_count(name):
    truth, inside = scan(0), np.zeros((14, 15, 13), np.uint8)
    inside[:7] = 1
    said = shaken(truth, 1)
    spoiled = said.array.copy()
    spoiled[7:] = 1e6
    region = LabelMap(inside, truth.grid)
    assert metrics.judge([name], truth, replace(said, array=spoiled), region=region) == metrics.judge(
        [name], truth, said, region=region
    )


@pytest.mark.parametrize("name", ON_IMAGES)
def test_images_elsewhere_or_of_other_channels_are_refused(name):
    truth = scan(0)
    moved = replace(truth, grid=Grid.from_shape(truth.grid.shape, spacing=(1, 1.5, 3), origin=(5, 0, 0)))
    with pytest.raises(ValueError, match="different places"):
        metrics.judge([name], truth, moved)
    with pytest.raises(ValueError, match="shape"):
        metrics.judge([name], truth, scan(0, (14, 15, 12)))
    with pytest.raises(ValueError, match="channels"):
        metrics.judge([name], truth, scan(0, channels=2))


@pytest.mark.parametrize(
    ("shape", "ssim", "psnr", "nrmse"),
    [
        ((40, 36), 0.8981764310531628, 26.370044290093322, 0.048028363122617976),
        ((18, 20, 16), 0.9491885741271407, 26.117113725741735, 0.04944749710546976),
    ],
)
def test_the_figures_are_those_of_scikit_image(shape, ssim, psnr, nrmse):
    """Of its version 0.26, with Gaussian weights, sigma 1.5 and the range of the truth."""
    at = np.indices(shape).astype(float)
    want = np.sin(at[0] / 3) * np.cos(at[1] / 4) + (at[-1] > 7)
    said = want + 0.2 * np.cos(at[0] * at[1] / 5)
    truth, answer = (Image(array, Grid.from_shape(shape)) for array in (want, said))
    row = metrics.judge(["ssim", "psnr", "nrmse"], truth, answer)
    assert row == pytest.approx({"ssim": ssim, "psnr": psnr, "nrmse": nrmse}, rel=1e-9)

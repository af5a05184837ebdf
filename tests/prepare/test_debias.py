"""Bias field correction: what it finds and leaves, in millimetres, and how it is undone."""

import math
from functools import cache

import numpy as np
import pytest
from scipy import ndimage

import medgrad
from medgrad.data import Case, Grid, Image, LabelMap
from medgrad.data.formats import read, write
from medgrad.errors import SettingError
from medgrad.prepare import debias
from medgrad.prepare._bias_field import estimate_field, expected_values, otsu_foreground
from medgrad.prepare._smooth_spline import SmoothSpline, cubic_basis, evaluate, multiply_axes
from medgrad.prepare.debias import Debias

SHAPE, SPACING = (60, 56, 28), (2.5, 3.0, 5.0)


@cache
def head(shape=SHAPE, spacing=SPACING, sigma=4.0):
    """Three tissues in folds within an ellipsoid in air, under Rician noise: no field."""
    at = places(shape, spacing)
    radius = np.sqrt(sum((x / r) ** 2 for x, r in zip(at, (62, 70, 62), strict=False)))
    folds = sum(np.sin(x / 5 + k) for k, x in enumerate(at))
    clean = np.where(radius < 1, np.where(folds > 0.6, 130.0, np.where(folds > -0.8, 100.0, 60.0)), 0.0)
    clean = ndimage.gaussian_filter(clean, 0.5)
    rng = np.random.default_rng(0)
    noisy = np.hypot(clean + rng.normal(0, sigma, shape), rng.normal(0, sigma, shape))
    return noisy.astype(np.float32), radius < 0.97


def places(shape, spacing):
    """Millimetres from the middle, along each axis."""
    sides = zip(shape, spacing, strict=True)
    return np.meshgrid(*[(np.arange(n) - (n - 1) / 2) * s for n, s in sides], indexing="ij", sparse=True)


def planted(shape=SHAPE, spacing=SPACING):
    """The logarithm of a field of deviation about 0.12: a wave and a bump."""
    x, y, *z = places(shape, spacing)
    depth = z[0] if z else 0
    return 0.15 * np.sin((x + 0.6 * y + 0.5 * depth) / 55) + 0.2 * np.exp(
        -((x - 40) ** 2 + (y + 20) ** 2 + depth**2) / 2 / 45**2
    )


def left_over(found, wanted, inside):
    return float((np.log(found) - wanted)[inside].std())


def case_of(array, spacing=SPACING, region=None, **about):
    grid = Grid.from_shape(array.shape[: len(spacing)], spacing=spacing)
    roi = None if region is None else LabelMap(region.astype(np.uint8), grid)
    return Case("a", {"mr": Image(array, grid, **about)}, roi=roi)


def biased():
    return (head()[0] * np.exp(planted())).astype(np.float32)


def test_a_planted_field_is_found_within_a_region_and_without_one():
    inside = head()[1]
    wanted = planted()
    assert left_over(np.exp(wanted), np.zeros(SHAPE), inside) > 0.1
    for region in (None, inside):
        ready, _ = Debias().apply(case_of(biased(), region=region))
        field = biased() / ready.images["mr"].array
        assert left_over(field, wanted, inside) < 0.015


def test_a_planted_field_is_found_in_2d():
    shape, spacing = (120, 110), (1.3, 1.5)
    image, inside = head(shape, spacing)
    found, chosen = Debias().change((image * np.exp(planted(shape, spacing))).astype(np.float32), spacing)
    assert left_over(image / found, 0, inside) < 0.02
    assert 0.05 < chosen["log_deviation"] < 0.2


def test_nothing_is_invented_where_there_is_no_field():
    image, inside = head()
    found, chosen = Debias().change(image, SPACING)
    assert left_over(found[inside] / image[inside], 0, ...) < 0.015
    assert chosen["log_deviation"] < 0.015


def test_means_of_two_levels_stay():
    rng = np.random.default_rng(0)
    image = np.where(np.indices((30, 30, 24))[0] < 15, 400, 1000) + rng.normal(0, 12, (30, 30, 24))
    found, _ = Debias().change(image.astype(np.float32), (1.0, 1.0, 2.0))
    for flat in (np.s_[:8], np.s_[22:]):
        assert abs(found[flat].mean() - image[flat].mean()) < 0.5


def test_the_field_is_measured_in_millimetres():
    """Every second plane of voxels half as thick is the same anatomy, and has the same field."""
    fine, coarse = SPACING, (2.5, 3.0, 10.0)
    field, thin = (
        estimate_field(a, otsu_foreground(a, a > 0), s, knots=50, fwhm=0.15, iterations=50).factor(a.shape, s)
        for a, s in ((biased(), fine), (biased()[..., ::2], coarse))
    )
    inside = head()[1][..., ::2]
    assert left_over(thin / field[..., ::2], 0, inside) < 0.01


def test_a_smaller_spacing_follows_a_finer_field():
    image, inside = head()
    fine = 0.12 * np.sin(places(SHAPE, SPACING)[0] / 11) + np.zeros(SHAPE)
    left = [
        left_over(
            image / Debias(spacing_mm=mm).change((image * np.exp(fine)).astype(np.float32), SPACING)[0], 0, inside
        )
        for mm in (20, 100)
    ]
    assert left[0] < 0.4 * left[1]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("has_region", [False, True])
def test_real_numbers_come_back_within_1e_5(dtype, has_region):
    region = head()[1] if has_region else None
    array = np.stack([biased(), biased()[::-1]], -1).astype(dtype)
    array[3, 4, 5] = np.nan
    case = case_of(array, region=region)
    ready, memo = Debias(iterations=5).apply(case)
    made = ready.images["mr"]
    back = Debias(iterations=5).undo_values(made, memo)
    assert np.nanmax(np.abs(made.array / array - 1)) > 0.05
    np.testing.assert_allclose(back.array, array, rtol=1e-5)
    assert back.array.dtype == dtype


def test_integers_come_back_within_their_rounding():
    array = np.rint(biased()).astype(np.int16)
    ready, memo = Debias().apply(case_of(array))
    back = Debias().undo_values(ready.images["mr"], memo).array.astype(float)
    largest = float(np.exp(memo.values["fields"][0].high + memo.values["fields"][0].offset))
    assert np.abs(back - array).max() <= math.ceil(0.5 * largest)


def test_an_answer_about_a_case_is_multiplied_by_the_field_of_its_first_image():
    ready, memo = Debias(iterations=5).apply(case_of(biased()))
    answer = Image(np.full((*SHAPE, 2), 3.0, np.float32), ready.grid)
    back = Debias(iterations=5).undo_values(answer, memo).array
    np.testing.assert_allclose(back[..., 1], 3 * biased() / ready.images["mr"].array, rtol=1e-4)


def test_a_case_without_images_is_answered():
    ready, memo = Debias().apply(Case("a", {}))
    image = case_of(biased()).images["mr"]
    assert ready.images == {}
    assert Debias().undo_values(image, memo) is image


def test_the_mean_stays_where_the_field_is_measured():
    ready, _ = Debias().apply(case_of(biased(), region=head()[1]))
    inside = head()[1]
    assert ready.images["mr"].array[inside].mean() == pytest.approx(biased()[inside].mean(), rel=1e-4)


def test_twice_the_values_give_twice_the_answer():
    one, two = (Debias(iterations=5).change(k * biased(), SPACING)[0] for k in (1, 2))
    np.testing.assert_allclose(two, 2 * one, rtol=1e-4)


@pytest.mark.parametrize("scale", [1e200, 1e-200])
def test_no_unit_is_too_large_or_too_small(scale):
    image = biased().astype(np.float64)
    one, other = (Debias(iterations=5).apply(case_of(k * image))[0].images["mr"].array for k in (1, scale))
    np.testing.assert_allclose(other, scale * one, rtol=1e-5)


def test_what_is_above_the_range_of_integers_is_clipped():
    array = np.clip(np.rint(biased() * 2), 0, 255).astype(np.uint8)
    found = Debias().apply(case_of(array))[0].images["mr"].array
    assert found.dtype == np.uint8
    assert np.corrcoef(found.ravel(), array.ravel())[0, 1] > 0.95


@pytest.mark.parametrize(
    ("array", "modality", "why"),
    [
        (head()[0] - 1000, "ct", "ct has no"),
        (head()[0], "pet", "pet has no"),
        (head()[0] - 90, None, "negative"),
        (np.zeros(SHAPE, np.float32), "mr", "above 0"),
        (np.full(SHAPE, np.nan), "mr", "above 0"),
    ],
)
def test_what_has_no_field_is_kept_and_it_is_said_why(array, modality, why):
    ready, memo = Debias().apply(case_of(array, modality=modality))
    np.testing.assert_array_equal(ready.images["mr"].array, array)
    np.testing.assert_array_equal(Debias().undo_values(ready.images["mr"], memo).array, array)
    (told,) = memo.values["chosen"]["mr"]
    assert why in told["kept"]
    assert told["log_deviation"] == 0


def test_an_empty_region_changes_nothing():
    ready, _ = Debias().apply(case_of(biased(), region=np.zeros(SHAPE, bool)))
    np.testing.assert_array_equal(ready.images["mr"].array, biased())


@pytest.mark.parametrize(
    ("shape", "spacing"),
    [((40, 40, 1), (3.0, 3.0, 5.0)), ((1, 1, 1), (1.0, 1.0, 1.0)), ((7, 1), (0.01, 900.0)), ((20, 18, 4), (1e4,) * 3)],
)
def test_odd_shapes_and_spacings_are_answered(shape, spacing):
    values = np.random.default_rng(0).uniform(50, 100, shape).astype(np.float32)
    found, _ = Debias().change(values, spacing)
    assert np.isfinite(found).all()
    assert found.shape == shape


def test_more_control_points_than_can_be_solved_for_are_refused():
    values = np.random.default_rng(0).uniform(50, 100, (120, 120, 120)).astype(np.float32)
    with pytest.raises(SettingError, match=r"'spacing_mm' of debias is 5, .* Say a larger one, such as"):
        Debias(spacing_mm=5).change(values, (3.0, 3.0, 3.0))


def test_air_far_from_the_foreground_has_no_other_field_than_is_seen():
    values = np.full((60, 60, 20), 1.0, np.float32)
    values[2:14, 2:14] = 100 * np.exp(np.indices((12, 12, 20))[0] / 20) * np.random.default_rng(0).uniform(0.9, 1.1)
    field = values / Debias().change(values, (4.0, 4.0, 4.0))[0]
    seen = field[2:14, 2:14]
    assert field.min() >= seen.min() - 1e-4
    assert field.max() <= seen.max() + 1e-4


def test_the_spline_is_that_of_the_dense_equations():
    rng = np.random.default_rng(0)
    bases = [cubic_basis(n, 2.0, pieces, 2.0 * n) for n, pieces in ((14, 3), (9, 1), (6, 2))]
    weights, values = rng.uniform(0, 1, (14, 9, 6)) * (rng.uniform(size=(14, 9, 6)) > 0.4), rng.normal(size=(14, 9, 6))
    dense = np.kron(np.kron(bases[0], bases[1]), bases[2])
    counts = [b.shape[1] for b in bases]
    penalty = np.zeros((math.prod(counts),) * 2)
    for axis, m in enumerate(counts):
        bend = np.diff(np.eye(m), 2, axis=0)
        parts = [bend.T @ bend if a == axis else np.eye(n) for a, n in enumerate(counts)]
        penalty += np.kron(np.kron(parts[0], parts[1]), parts[2])
    mean = weights.sum() / math.prod(counts)
    matrix = dense.T @ (weights.ravel()[:, None] * dense) + mean * (0.3 * penalty + 1e-6 * np.eye(len(penalty)))
    wanted = np.linalg.solve(matrix, dense.T @ (weights * values).ravel())
    found = SmoothSpline(bases, weights, 0.3).fit(values)
    np.testing.assert_allclose(found.ravel(), wanted, atol=1e-8)
    np.testing.assert_allclose(evaluate(found, bases).ravel(), dense @ wanted, atol=1e-8)
    assert multiply_axes(values, bases).shape == tuple(counts)


def test_the_expected_logarithm_of_a_gaussian_is_known():
    """Of u + b, both Gaussian, the expected u is its mean plus the share of its variance in the sum's."""
    rng = np.random.default_rng(0)
    spread, fwhm = 0.2, 0.15
    logs = 4 + spread * rng.normal(size=200_000)
    share = 1 - (fwhm / 2.3548 / spread) ** 2
    found = expected_values(logs, np.ones_like(logs), fwhm)
    slope = float(np.polyfit(logs, found, 1)[0])
    assert slope == pytest.approx(share, abs=0.03)
    assert found.mean() == pytest.approx(4, abs=0.005)


def test_the_foreground_is_above_the_valley():
    rng = np.random.default_rng(0)
    values = np.concatenate([rng.normal(20, 4, 9000), rng.normal(100, 8, 3000)])
    found = otsu_foreground(values, np.ones(values.shape, bool))
    assert found[:9000].sum() == 0
    assert found[9000:].all()


def test_the_record_tells_the_strength(tmp_path):
    write(tmp_path / "mr.nii.gz", Image(biased(), Grid.from_shape(SHAPE, spacing=SPACING)))
    record = medgrad.process("debias", tmp_path / "mr.nii.gz", out=tmp_path / "out", settings=["iterations=9"])
    (told,) = record["images"][0]["chosen"][0]["image"]
    assert told["log_deviation"] > 0.05
    assert told["steps"] == 9
    assert read(tmp_path / "out" / "mr.nii.gz").array.dtype == np.float32


@pytest.mark.parametrize(
    ("settings", "hint"),
    [
        ({"spacing_mm": 0}, "spacing_mm"),
        ({"spacing_mm": float("nan")}, "nan"),
        ({"fwhm": "wide"}, "wide"),
        ({"iterations": 2.5}, "whole number"),
        ({"iterations": 0}, "0"),
    ],
)
def test_a_bad_setting_is_told_in_one_line(settings, hint):
    with pytest.raises(SettingError, match=hint) as caught:
        Debias(**settings)
    assert "\n" not in str(caught.value)


def test_the_module_ends_in_the_step():
    assert debias.THIS is Debias

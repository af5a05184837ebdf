"""Temperature and the calibration curve."""

import numpy as np
import pytest
from scipy.special import softmax

from medgrad.trust.reliability import curve_to_dicts, reliability_curve
from medgrad.trust.temperature import COLDEST, apply_temperature, fit_temperature, nll, to_logits


def overconfident(n=4000, k=3, by=2.5, seed=0):
    rng = np.random.default_rng(seed)
    logits = 1.5 * rng.normal(size=(n, k))
    chosen = (softmax(logits, axis=1).cumsum(1) > rng.random((n, 1))).argmax(1)
    return logits * by, np.eye(k)[chosen]


def test_logits_that_were_blown_up_are_shrunk_by_as_much():
    logits, truth = overconfident(by=2.5)
    assert fit_temperature(logits, truth) == pytest.approx(2.5, rel=0.06)


def test_labels_that_can_hold_together_are_calibrated_too():
    rng = np.random.default_rng(1)
    logits = 1.5 * rng.normal(size=(4000, 3))
    truth = (rng.random(logits.shape) < 1 / (1 + np.exp(-logits))).astype(float)
    assert fit_temperature(3 * logits, truth, exclusive=False) == pytest.approx(3, rel=0.06)


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("exclusive", [True, False])
def test_the_truth_never_becomes_less_likely(seed, exclusive):
    rng = np.random.default_rng(seed)
    logits, truth = rng.normal(size=(6, 3)) * 5, np.eye(3)[rng.integers(0, 3, 6)]
    t = fit_temperature(logits, truth, exclusive=exclusive)
    assert nll(logits / t, truth, exclusive=exclusive) <= nll(logits, truth, exclusive=exclusive)


def test_a_set_that_is_all_right_does_not_make_certain():
    assert COLDEST <= fit_temperature(np.eye(2) * 3, np.eye(2)) < COLDEST * 1.01


def test_a_temperature_keeps_the_order_of_the_classes():
    logits, _ = overconfident(50)
    p = softmax(logits, axis=1)
    assert np.array_equal(apply_temperature(p, 3.0).argmax(1), p.argmax(1))
    assert apply_temperature(p, 1.0) == pytest.approx(p)


def test_certain_probabilities_have_finite_logits():
    assert np.isfinite(to_logits(np.array([[1.0, 0.0]]))).all()
    assert np.isfinite(apply_temperature(np.array([[1.0, 0.0]]), 2.0, exclusive=False)).all()


def test_logits_that_are_not_numbers_are_refused():
    with pytest.raises(ValueError, match="finite"):
        fit_temperature(np.array([[np.nan, 0.0]]), np.array([[1.0, 0.0]]))


def test_the_curve_of_two_classes_tells_of_the_positive_one():
    p = np.array([0.05, 0.15, 0.12, 0.95])
    y = np.array([0.0, 1.0, 0.0, 1.0])
    curve = reliability_curve(np.stack([1 - p, p], 1), np.stack([1 - y, y], 1))
    assert [(b.n, b.frequency) for b in curve] == [(1, 0.0), (2, 0.5), (1, 1.0)]
    assert curve[1].confidence == pytest.approx(0.135)
    assert curve_to_dicts(curve)[0] == {"confidence": pytest.approx(0.05), "frequency": 0.0, "n": 1}


def test_the_curve_is_that_of_scikit_learn():
    from sklearn.calibration import calibration_curve

    rng = np.random.default_rng(0)
    p = rng.random(300)
    y = (rng.random(300) < p).astype(float)
    frequency, confidence = calibration_curve(y, p, n_bins=10)
    curve = reliability_curve(np.stack([1 - p, p], 1), np.stack([1 - y, y], 1))
    assert [b.frequency for b in curve] == pytest.approx(list(frequency))
    assert [b.confidence for b in curve] == pytest.approx(list(confidence))


def test_of_three_classes_the_likeliest_one_is_told_and_no_case_is_lost():
    logits, truth = overconfident(200)
    curve = reliability_curve(softmax(logits, axis=1), truth)
    assert sum(b.n for b in curve) == 200
    assert all(b.confidence >= 1 / 3 for b in curve)


def test_of_labels_that_can_hold_together_every_one_counts():
    assert sum(b.n for b in reliability_curve(np.full((5, 4), 0.3), np.zeros((5, 4)), exclusive=False)) == 20

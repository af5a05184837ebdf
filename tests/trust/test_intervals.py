"""Intervals: laws, known values, and coverage by simulation."""

import time

import numpy as np
import pytest
from scipy import stats

from medgrad import metrics
from medgrad.trust.intervals import Estimate, bootstrap_intervals


def rows_of(values, name="dice"):
    return [{name: v} for v in values]


def skewed_dice(rng, n):
    return 1 - rng.beta(1.2, 8, n)


def people(n):
    return [f"p{i}" for i in range(n)]


def test_the_value_is_that_of_the_set_and_lies_in_its_interval():
    values = skewed_dice(np.random.default_rng(0), 30)
    found = bootstrap_intervals(rows_of(values), patients=people(30))["dice"]
    assert found.value == pytest.approx(values.mean())
    assert found.low < found.value < found.high
    assert found.n == 30


def test_the_interval_of_a_mean_is_near_that_of_student_where_the_values_are_normal():
    values = np.random.default_rng(1).normal(0.8, 0.05, 60)
    found = bootstrap_intervals(rows_of(values), patients=people(60), n_resamples=4000)["dice"]
    low, high = stats.t.interval(0.95, 59, values.mean(), values.std(ddof=1) / 60**0.5)
    assert (found.low, found.high) == pytest.approx((low, high), abs=0.0015)


def test_the_quick_way_and_the_plain_way_agree():
    values = skewed_dice(np.random.default_rng(2), 12)
    rows, patients = rows_of([*values[:-1], None]), [f"p{i // 2}" for i in range(12)]
    quick = bootstrap_intervals(rows, patients=patients, n_resamples=200)
    slow = bootstrap_intervals(rows, lambda r: metrics.pool(["dice"], r), patients=patients, n_resamples=200)
    assert quick["dice"].low == pytest.approx(slow["dice"].low)
    assert quick["dice"].high == pytest.approx(slow["dice"].high)
    assert quick["dice"].n == slow["dice"].n == 6


def test_cases_of_one_patient_are_no_new_patients():
    values = skewed_dice(np.random.default_rng(3), 15)
    alone = bootstrap_intervals(rows_of(values), patients=people(15))["dice"]
    thrice = bootstrap_intervals(rows_of(np.repeat(values, 3)), patients=[p for p in people(15) for _ in range(3)])[
        "dice"
    ]
    assert (thrice.low, thrice.high, thrice.n) == pytest.approx((alone.low, alone.high, 15))
    naive = bootstrap_intervals(rows_of(np.repeat(values, 3)), patients=people(45))["dice"]
    assert naive.high - naive.low < 0.7 * (alone.high - alone.low)


def test_twenty_of_twenty_right_is_not_certainty():
    found = bootstrap_intervals(rows_of([1.0] * 20, "accuracy"), patients=people(20), value_range=metrics.value_range)[
        "accuracy"
    ]
    exact = stats.binomtest(20, 20).proportion_ci(0.95, "exact")
    assert (found.low, found.high) == pytest.approx((exact.low, 1.0))


def test_a_length_that_is_0_for_all_has_no_bound_to_be_near():
    found = bootstrap_intervals(rows_of([0.0] * 5, "hd95"), patients=people(5), value_range=metrics.value_range)["hd95"]
    assert (found.low, found.high) == (0.0, 0.0)


def test_one_patient_alone_has_no_interval():
    assert bootstrap_intervals(rows_of([0.5, 0.6]), patients=["a", "a"])["dice"] == Estimate(0.55, None, None, 1)


def test_a_number_that_is_never_defined_has_no_value_and_nobody_behind_it():
    assert bootstrap_intervals(rows_of([None, None]), patients=["a", "b"])["dice"] == Estimate(None, None, None, 0)


def test_a_number_that_few_patients_have_says_so():
    rows = [*rows_of([0.5, 0.7, 0.6]), *rows_of([None] * 3)]
    assert bootstrap_intervals(rows, patients=people(6))["dice"].n == 3


def test_the_same_seed_gives_the_same_interval_and_another_a_near_one():
    rows = rows_of(skewed_dice(np.random.default_rng(4), 25))
    first, again, other = (bootstrap_intervals(rows, patients=people(25), seed=s)["dice"] for s in (0, 0, 1))
    assert first == again
    assert other != first
    assert other.low == pytest.approx(first.low, abs=0.01)


def test_rows_without_patients_are_refused():
    with pytest.raises(ValueError, match="patient"):
        bootstrap_intervals(rows_of([0.5]), patients=[])


def test_the_interval_of_an_auroc_is_quick_and_near_the_published_formula():
    rng = np.random.default_rng(5)
    y = (rng.random(400) < 0.4).astype(float)
    p = 1 / (1 + np.exp(-rng.normal(size=400) - 1.5 * y))
    truth, said = np.stack([1 - y, y], 1), np.stack([1 - p, p], 1)
    start = time.process_time()
    found = bootstrap_intervals(
        [{} for _ in y],
        patients=people(400),
        compute_many=lambda w: metrics.judge_set_many(["auroc"], truth, said, w, names=("no", "yes")),
    )["auroc"]
    assert time.process_time() - start < 5
    positive, negative = p[y == 1], p[y == 0]
    above = (positive[:, None] > negative).mean(1), (positive[:, None] > negative).mean(0)
    error = (above[0].var(ddof=1) / len(positive) + above[1].var(ddof=1) / len(negative)) ** 0.5
    assert found.value == pytest.approx(above[0].mean())
    assert found.high - found.low == pytest.approx(2 * 1.96 * error, rel=0.1)


def covered_mean(n, sets, draw, true):
    rng = np.random.default_rng(n)
    hits = 0
    for seed in range(sets):
        found = bootstrap_intervals(rows_of(draw(rng, n)), patients=people(n), n_resamples=1000, seed=seed)["dice"]
        hits += found.low <= true <= found.high
    return hits / sets


@pytest.mark.slow
@pytest.mark.parametrize("n", [20, 40])
def test_the_interval_of_a_mean_dice_covers_as_it_says(n):
    assert 0.92 <= covered_mean(n, 1000, skewed_dice, 1 - 1.2 / 9.2) <= 0.98


@pytest.mark.slow
def test_rare_failures_that_a_small_set_does_not_show_are_missed_as_documented():
    def draw(rng, n):
        return np.where(rng.random(n) < 0.03, 0, skewed_dice(rng, n))

    assert 0.84 <= covered_mean(20, 1000, draw, 0.97 * (1 - 1.2 / 9.2)) <= 0.92


@pytest.mark.slow
@pytest.mark.parametrize("n", [20, 40])
@pytest.mark.parametrize("apart", [1.2, 2.3])
def test_the_interval_of_an_auroc_covers_as_it_says(n, apart):
    rng = np.random.default_rng(n)
    true, hits, sets = stats.norm.cdf(apart / 2**0.5), 0, 0
    for seed in range(1000):
        y = (rng.random(n) < 0.4).astype(float)
        if not 2 <= y.sum() <= n - 2:
            continue
        p = 1 / (1 + np.exp(-rng.normal(size=n) - apart * y))
        truth, said = np.stack([1 - y, y], 1), np.stack([1 - p, p], 1)

        def many(weights, truth=truth, said=said):
            return metrics.judge_set_many(["auroc"], truth, said, weights, names=("no", "yes"))

        found = bootstrap_intervals(
            [{} for _ in y], patients=people(n), compute_many=many, n_resamples=1000, seed=seed
        )["auroc"]
        sets += 1
        hits += found.low <= true <= found.high
    assert hits / sets >= 0.93


def test_two_patients_give_an_interval_and_not_an_error():
    found = bootstrap_intervals([{"dice": 0.2}, {"dice": 0.9}], patients=["a", "b"])["dice"]
    assert found.low is not None
    assert found.low <= 0.55 <= found.high

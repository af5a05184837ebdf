"""Paired comparisons, non-inferiority and Holm's correction."""

import numpy as np
import pytest
from scipy import stats

from medgrad import metrics
from medgrad.trust.holm import adjust_p_values
from medgrad.trust.noninferiority import check_noninferiority
from medgrad.trust.paired import compare


def rows_of(values, name="dice"):
    return [{name: v} for v in values]


def people(n):
    return [f"p{i}" for i in range(n)]


def two_runs(n, gain, seed=0):
    rng = np.random.default_rng(seed)
    base = 0.8 + 0.1 * rng.normal(size=n)
    return base, base + gain + 0.02 * rng.normal(size=n)


def test_few_patients_are_tested_exactly():
    a, b = two_runs(9, 0.01)
    ours = compare(rows_of(a), rows_of(b), patients=people(9))[0]
    exact = stats.permutation_test((b - a,), np.mean, permutation_type="samples", n_resamples=np.inf)
    assert ours.p == pytest.approx(exact.pvalue)


def test_many_patients_are_tested_as_by_a_paired_t_test():
    a, b = two_runs(60, 0.005, seed=4)
    ours = compare(rows_of(a), rows_of(b), patients=people(60), n_resamples=4000)[0]
    theirs = stats.ttest_rel(b, a)
    assert ours.p == pytest.approx(theirs.pvalue, abs=0.02)
    interval = theirs.confidence_interval()
    assert (ours.low, ours.high) == pytest.approx((interval.low, interval.high), abs=0.001)


def test_a_clear_gain_is_told_with_its_direction():
    a, b = two_runs(30, 0.05)
    assert compare(rows_of(a), rows_of(b), patients=people(30))[0].verdict == "b is better"
    assert compare(rows_of(b), rows_of(a), patients=people(30))[0].verdict == "a is better"
    lower = compare(
        rows_of(a, "hd95"), rows_of(b, "hd95"), patients=people(30), better_direction=metrics.better_direction
    )
    assert lower[0].verdict == "a is better"


def test_the_same_answers_differ_in_nothing():
    a, _ = two_runs(20, 0)
    found = compare(rows_of(a), rows_of(a), patients=people(20))[0]
    assert (found.difference, found.p, found.verdict) == (0.0, 1.0, "no difference shown")


def test_many_numbers_are_corrected_and_chance_findings_vanish():
    rng = np.random.default_rng(1)
    a = [{f"m{i}": v for i, v in enumerate(row)} for row in rng.normal(size=(25, 20))]
    b = [{f"m{i}": v for i, v in enumerate(row)} for row in rng.normal(size=(25, 20))]
    found = compare(a, b, patients=people(25))
    assert min(c.p for c in found) < 0.05
    assert all(c.verdict == "no difference shown" for c in found)
    assert all(c.p_holm >= c.p for c in found)


def test_cases_of_one_patient_are_exchanged_together():
    a, b = two_runs(4, 0.05)
    whole = compare(rows_of(np.repeat(a, 10)), rows_of(np.repeat(b, 10)), patients=list(np.repeat(people(4), 10)))[0]
    assert whole.n == 4
    assert whole.p == pytest.approx(0.125)


def test_a_case_that_just_one_run_has_a_number_for_is_left_out_of_both():
    a, b = rows_of([0.5, 0.6, None, 0.9]), rows_of([0.5, 0.6, 0.1, None])
    found = compare(a, b, patients=people(4))[0]
    assert (found.a, found.b, found.difference) == pytest.approx((0.55, 0.55, 0.0))


def test_signed_differences_are_not_ranked():
    a = [{"volume_bias_ml/x": 1.0, "dice/x": 0.5}, {"volume_bias_ml/x": -1.0, "dice/x": 0.6}]
    assert [c.name for c in compare(a, a, patients=["p", "q"], better_direction=metrics.better_direction)] == ["dice/x"]


def test_a_number_of_the_whole_set_is_compared_by_exchanging_patients():
    rng = np.random.default_rng(2)
    y = (rng.random(80) < 0.5).astype(float)

    def run(apart):
        p = 1 / (1 + np.exp(-rng.normal(size=80) - apart * y))
        return [{"prob/no": 1 - v, "prob/yes": v, "truth/no": 1 - t, "truth/yes": t} for v, t in zip(p, y, strict=True)]

    def many(rows, weights):
        truth, said = (np.array([[r[f"{w}/{n}"] for n in ("no", "yes")] for r in rows]) for w in ("truth", "prob"))
        return metrics.judge_set_many(["auroc"], truth, said, weights, names=("no", "yes"))

    weak, strong, other = run(0.2), run(3.0), run(0.2)
    found = compare(weak, strong, patients=people(80), pool_many=many, names=["auroc"], n_resamples=500)[0]
    assert found.verdict == "b is better"
    assert found.low < found.difference < found.high
    assert compare(weak, other, patients=people(80), pool_many=many, names=["auroc"], n_resamples=500)[0].p > 0.05


def said(quality, y, rng, scale=lambda p: p):
    p = scale(1 / (1 + np.exp(-rng.normal(size=len(y)) - quality * y)))
    return [{"prob/no": 1 - v, "prob/yes": v, "truth/no": 1 - t, "truth/yes": t} for v, t in zip(p, y, strict=True)]


def scored(rows, weights):
    truth, said = (np.array([[r[f"{w}/{n}"] for n in ("no", "yes")] for r in rows]) for w in ("truth", "prob"))
    return metrics.judge_set_many(["auroc", "brier"], truth, said, weights, names=("no", "yes"))


def comparison_of(a, b, times=500):
    how = {
        "pool_many": scored,
        "rank_scores": metrics.rank_scores,
        "rank_only": metrics.rank_only,
        "better_direction": metrics.better_direction,
    }
    return {c.name: c for c in compare(a, b, patients=people(len(a)), n_resamples=times, **how)}


def test_a_run_that_means_something_else_by_its_scores_is_tested_by_their_order():
    y = (np.random.default_rng(3).random(120) < 0.5).astype(float)
    weak, plain, other = (said(q, y, np.random.default_rng(5 + i)) for i, q in enumerate((1.0, 2.0, 2.0)))
    small = [{**r, "prob/yes": (v := r["prob/yes"] ** 6), "prob/no": 1 - v} for r in other]
    same, moved = comparison_of(weak, other), comparison_of(weak, small)
    assert moved["auroc"] == same["auroc"]
    assert moved["brier"].p != same["brier"].p
    assert moved["brier"].p == pytest.approx(brier_by_hand(weak, small, y), abs=0.05)
    assert comparison_of(plain, small)["auroc"].p > 0.05


def brier_by_hand(a, b, y):
    apart = [
        [(r["prob/yes"] - t) ** 2 + (r["prob/no"] - 1 + t) ** 2 for r, t in zip(rows, y, strict=True)]
        for rows in (a, b)
    ]
    return stats.ttest_rel(*apart).pvalue


@pytest.mark.slow
def test_runs_of_one_quality_and_two_scales_differ_in_a_twentieth_of_the_trials():
    found = []
    for seed in range(300):
        rng = np.random.default_rng(seed)
        y = (rng.random(60) < 0.5).astype(float)
        found.append(comparison_of(said(1.0, y, rng), said(1.0, y, rng, lambda p: p**4), times=300)["auroc"].p <= 0.05)
    assert 0.02 <= np.mean(found) <= 0.08


def test_runs_over_different_cases_are_refused():
    with pytest.raises(ValueError, match="same cases"):
        compare(rows_of([1.0]), rows_of([1.0, 2.0]), patients=["a"])


def test_holm_by_hand():
    assert adjust_p_values([0.01, 0.02, 0.03, 0.5]) == pytest.approx([0.04, 0.06, 0.06, 0.5])
    assert adjust_p_values([]) == []


@pytest.mark.slow
def test_a_test_of_nothing_finds_something_in_a_twentieth_of_the_trials():
    rng = np.random.default_rng(0)
    found = 0
    for seed in range(400):
        a, b = rng.normal(size=(2, 20))
        found += compare(rows_of(a), rows_of(b), patients=people(20), n_resamples=400, seed=seed)[0].p <= 0.05
    assert 0.025 <= found / 400 <= 0.08


def test_a_small_loss_is_not_worse_and_a_large_one_is():
    a, b = two_runs(40, -0.005)
    small = check_noninferiority(rows_of(a), rows_of(b), name="dice", margin=0.02, patients=people(40))
    assert small.holds
    assert small.loss < small.bound < 0.02
    assert not check_noninferiority(rows_of(a), rows_of(b - 0.02), name="dice", margin=0.02, patients=people(40)).holds


def test_few_noisy_patients_cannot_show_that_nothing_is_lost():
    rng = np.random.default_rng(0)
    a, b = rng.normal(0.8, 0.1, (2, 5))
    assert not check_noninferiority(rows_of(a), rows_of(b), name="dice", margin=0.01, patients=people(5)).holds


def test_a_length_that_grows_is_a_loss():
    rows = rows_of([3.0, 4.0, 5.0], "hd95")
    worse = rows_of([4.0, 5.0, 6.5], "hd95")
    found = check_noninferiority(rows, worse, name="hd95", margin=0.5, patients=people(3), better_direction="lower")
    assert found.loss == pytest.approx(3.5 / 3)
    assert not found.holds
    assert "not shown" in str(found)


def test_one_patient_shows_nothing():
    assert not check_noninferiority(rows_of([0.8]), rows_of([0.8]), name="dice", margin=0.1, patients=["a"]).holds


def test_a_margin_of_nothing_is_refused():
    with pytest.raises(ValueError, match="margin"):
        check_noninferiority(rows_of([0.8]), rows_of([0.8]), name="dice", margin=0.0, patients=["a"])

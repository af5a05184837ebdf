"""The exact solvers: the optimum of scikit-learn, by two methods each, with a gap that proves it."""

import warnings
from dataclasses import replace

import numpy as np
import pytest
from convex_problems import EVERY, KERNELS, LOGISTIC, SVM, blobs, breast, solver

from medgrad import registry
from medgrad.descent.solvers import _hinge, _logistic


def test_these_are_all_the_solvers():
    assert sorted(EVERY) == registry.names("descent.solvers")


def logistic_loss(rows, signs, weights, offset):
    return float(np.logaddexp(0, -signs * (rows @ weights + offset)).sum())


def hinge_loss(signs, scores):
    return float(np.maximum(0, 1 - signs * scores).sum())


def peer(make, rows, signs):
    """Fit a model of scikit-learn, whose warnings are its own affair."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return make().fit(rows, signs)


def linear_model():
    return pytest.importorskip("sklearn.linear_model")


def support_machines():
    return pytest.importorskip("sklearn.svm")


# The same optimum as scikit-learn


@pytest.mark.parametrize("name", LOGISTIC)
@pytest.mark.parametrize("strength", [0.1, 1.0])
@pytest.mark.parametrize("offset", ["free", "penalised"])
def test_logistic_with_l2_is_scikit_learns(name, strength, offset):
    rows, signs = breast()
    kind = {"free": "lbfgs", "penalised": "liblinear"}[offset]
    theirs = peer(
        lambda: linear_model().LogisticRegression(C=strength, solver=kind, tol=1e-10, max_iter=20_000), rows, signs
    )
    ours = solver(name)(rows, signs, C=strength, offset=offset)
    assert -1e-11 < ours.gap < 1e-8
    np.testing.assert_allclose(ours.weights, theirs.coef_[0], atol=1e-5)
    assert ours.offset == pytest.approx(theirs.intercept_[0], abs=1e-5)


@pytest.mark.parametrize("name", LOGISTIC)
@pytest.mark.parametrize("strength", [0.1, 1.0])
def test_logistic_with_l1_is_liblinears(name, strength):
    rows, signs = breast()
    theirs = peer(
        lambda: linear_model().LogisticRegression(
            C=strength, l1_ratio=1.0, solver="liblinear", tol=1e-9, max_iter=50_000, random_state=0
        ),
        rows,
        signs,
    )
    ours = solver(name)(rows, signs, C=strength, penalty="l1", offset="penalised")
    assert -1e-11 < ours.gap < 1e-8
    np.testing.assert_allclose(ours.weights, theirs.coef_[0], atol=1e-5)
    assert ours.offset == pytest.approx(theirs.intercept_[0], abs=1e-5)
    assert (np.flatnonzero(ours.weights) == np.flatnonzero(theirs.coef_[0])).all()


@pytest.mark.parametrize("name", SVM)
@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("strength", [0.1, 1.0])
def test_the_machine_is_libsvms(name, kernel, strength):
    rows, signs = breast()
    kind = {"polynomial": "poly"}.get(kernel, kernel)
    theirs = peer(
        lambda: support_machines().SVC(C=strength, kernel=kind, gamma=1 / 30, coef0=1.0, tol=1e-9), rows, signs
    )
    ours = solver(name)(rows, signs, C=strength, kernel=kernel)
    assert -1e-11 < ours.gap < 1e-8
    np.testing.assert_allclose(scores(ours, rows, rows, kernel), theirs.decision_function(rows), atol=1e-5)


@pytest.mark.parametrize("name", SVM)
def test_the_machine_with_a_penalised_offset_is_liblinears(name):
    rows, signs = blobs(120, 4)
    theirs = peer(
        lambda: support_machines().LinearSVC(loss="hinge", tol=1e-10, max_iter=5_000_000, random_state=0), rows, signs
    )
    ours = solver(name)(rows, signs, offset="penalised")
    np.testing.assert_allclose(ours.weights, theirs.coef_[0], atol=1e-5)
    assert ours.offset == pytest.approx(theirs.intercept_[0], abs=1e-5)


def scores(found, rows, training, kernel, gamma=0.0):
    """The scores that a solution gives."""
    if kernel == "linear":
        return rows @ found.weights + found.offset
    likeness = _hinge.kernel_matrix(rows, training[found.support], kernel=kernel, gamma=gamma)
    return likeness @ found.coefficients + found.offset


# Certificates


@pytest.mark.parametrize("name", LOGISTIC)
@pytest.mark.parametrize("penalty", ["l2", "l1"])
@pytest.mark.parametrize("offset", ["free", "penalised"])
def test_the_primal_that_is_told_is_the_objective_at_the_weights(name, penalty, offset):
    rows, signs = blobs()
    found = solver(name)(rows, signs, C=0.7, penalty=penalty, offset=offset)
    every = np.append(found.weights, found.offset) if offset == "penalised" else found.weights
    size = np.abs(every).sum() if penalty == "l1" else every @ every / 2
    assert found.primal == pytest.approx(
        size + 0.7 * logistic_loss(rows, signs, found.weights, found.offset), abs=1e-10
    )
    assert -1e-11 < found.gap < 1e-9


@pytest.mark.parametrize("name", SVM)
@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("offset", ["free", "penalised"])
def test_the_primal_of_a_machine_is_the_objective_of_its_scores(name, kernel, offset):
    rows, signs = blobs()
    found = solver(name)(rows, signs, C=0.7, kernel=kernel, offset=offset)
    likeness = _hinge.kernel_matrix(rows, rows, kernel=kernel, gamma=0.0)[np.ix_(found.support, found.support)]
    square = found.coefficients @ likeness @ found.coefficients + (found.offset**2 if offset == "penalised" else 0)
    told = square / 2 + 0.7 * hinge_loss(signs, scores(found, rows, rows, kernel))
    assert found.primal == pytest.approx(told, abs=1e-10)
    assert -1e-11 < found.gap < 1e-9


def weak_duality_of_logistic(problem, best, times=40):
    """No dual value is above any primal value, wherever both are taken: at the optimum, near it, and far from it."""
    rng = np.random.default_rng(0)
    points = [(best.weights, best.offset)]
    for _ in range(times):
        scale = 10.0 ** rng.integers(-3, 2)
        points.append((best.weights + rng.normal(scale=scale, size=len(best.weights)), best.offset + rng.normal()))
    found = [problem.primal_and_dual(weights, offset) for weights, offset in points]
    assert max(dual for _, dual, _ in found) <= min(primal for primal, _, _ in found) + 1e-9
    for (weights, _), (primal, _, best) in zip(points, found, strict=True):
        for offset in (best - 0.1, best + 0.1) if problem.has_free_offset else ():
            assert primal <= problem.penalty_value(weights) + problem.loss(problem.rows @ weights, offset) + 1e-12


@pytest.mark.parametrize("penalty", ["l2", "l1"])
@pytest.mark.parametrize("offset", ["free", "penalised"])
def test_no_dual_of_logistic_regression_is_above_any_primal(penalty, offset):
    rows, signs = blobs()
    problem = _logistic.build_logistic_problem(
        rows, signs, strength=0.5, penalty=penalty, offset=offset, tolerance=1e-9
    )
    weak_duality_of_logistic(problem, logistic_at_its_best(problem, penalty))


def logistic_at_its_best(problem, penalty):
    """Solve a problem as it stands: a penalised offset is a column already."""
    found = solver("logistic_interior_point")(
        problem.rows, problem.signs, C=problem.strength, penalty=penalty, offset="free"
    )
    return found if problem.has_free_offset else replace(found, offset=0.0)


def weak_duality_of_machines(problem, times=40):
    rng = np.random.default_rng(0)
    found = []
    for _ in range(times):
        amounts = problem.feasible_duals(problem.strength * rng.random(len(problem.signs)) ** rng.integers(1, 6))
        primal, dual, offset = problem.primal_and_dual(amounts)
        assert (amounts >= 0).all()
        assert (amounts <= problem.strength).all()
        if problem.has_free_offset:
            assert abs(problem.signs @ amounts) < 1e-12
        values = problem.scores(amounts)
        square = (amounts * problem.signs) @ values
        for other in (offset - 0.05, offset + 0.05) if problem.has_free_offset else ():
            assert primal <= square / 2 + problem.strength * hinge_loss(problem.signs, values + other) + 1e-12
        found.append((primal, dual))
    assert max(dual for _, dual in found) <= min(primal for primal, _ in found) + 1e-9


def machine(kernel="linear", offset="free", strength=0.5):
    rows, signs = blobs()
    return _hinge.build_hinge_problem(
        rows, signs, strength=strength, kernel=kernel, gamma=0.0, degree=3, offset=offset, tolerance=1e-9
    )[1]


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("offset", ["free", "penalised"])
def test_no_dual_of_a_machine_is_above_any_primal(kernel, offset):
    weak_duality_of_machines(machine(kernel, offset))


@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize("tolerance", [1.0, 1e-2, 1e-4])
def test_a_solution_that_stopped_early_is_as_near_as_its_gap_says(name, tolerance):
    """The objective is strongly convex in the weights: half the square of their distance is at most the gap."""
    rows, signs = blobs()
    exact, early = solver(name)(rows, signs), solver(name)(rows, signs, tolerance=tolerance)
    assert early.gap <= tolerance
    assert early.dual <= exact.primal + 1e-9
    assert early.primal - exact.primal <= early.gap + 1e-9
    assert ((early.weights - exact.weights) ** 2).sum() / 2 <= early.gap + 1e-9


@pytest.mark.parametrize("slip", ["no balance", "no shrinking", "twice the entropy"])
def test_a_slip_in_the_dual_of_logistic_regression_is_caught(slip, monkeypatch):
    rows, signs = blobs(apart=2.0)
    penalty = "l1" if slip == "no shrinking" else "l2"
    problem = _logistic.build_logistic_problem(
        rows, signs, strength=2.0, penalty=penalty, offset="free", tolerance=1e-9
    )
    best = logistic_at_its_best(problem, penalty)
    weak_duality_of_logistic(problem, best)
    if slip == "no balance":
        monkeypatch.setattr(_logistic.LogisticProblem, "best_offset", lambda *given: given[-1])
        monkeypatch.setattr(_logistic, "balance_classes", lambda *given: given[0])
    elif slip == "no shrinking":
        monkeypatch.setattr(_logistic, "max", lambda *given: given[0], raising=False)
    else:
        once = _logistic.binary_entropy
        monkeypatch.setattr(_logistic, "binary_entropy", lambda chances: 2 * once(chances))
    with pytest.raises(AssertionError):
        weak_duality_of_logistic(problem, best)


@pytest.mark.parametrize("slip", ["offset", "box", "balance"])
def test_a_slip_in_the_dual_of_a_machine_is_caught(slip, monkeypatch):
    problem = machine(strength=2.0)
    weak_duality_of_machines(problem)
    if slip == "offset":
        monkeypatch.setattr(_hinge.HingeProblem, "best_offset", lambda *_: 0.3)
    elif slip == "box":
        monkeypatch.setattr(
            _hinge.HingeProblem, "feasible_duals", lambda self, amounts: _hinge.balance_classes(2 * amounts, self.signs)
        )
    else:
        monkeypatch.setattr(
            _hinge.HingeProblem, "feasible_duals", lambda self, amounts: np.clip(amounts, 0, self.strength)
        )
    with pytest.raises(AssertionError):
        weak_duality_of_machines(problem)


# The conditions of the optimum


@pytest.mark.parametrize("name", LOGISTIC)
def test_the_conditions_of_logistic_regression_hold(name):
    rows, signs = blobs(200, 8)
    found = solver(name)(rows, signs, C=0.3, tolerance=1e-11)
    pulls = 0.3 * signs * _logistic.wrong_class_probability(signs * (rows @ found.weights + found.offset))
    np.testing.assert_allclose(rows.T @ pulls, found.weights, atol=1e-5)
    assert pulls.sum() == pytest.approx(0, abs=1e-5)
    sparse = solver(name)(rows, signs, C=0.1, penalty="l1", tolerance=1e-11)
    pulls = 0.1 * signs * _logistic.wrong_class_probability(signs * (rows @ sparse.weights + sparse.offset))
    slopes, is_used = rows.T @ pulls, sparse.weights != 0
    assert 0 < is_used.sum() < 8
    np.testing.assert_allclose(slopes[is_used], np.sign(sparse.weights[is_used]), atol=1e-5)
    assert np.abs(slopes).max() < 1 + 1e-6


@pytest.mark.parametrize("name", SVM)
@pytest.mark.parametrize("kernel", KERNELS)
def test_the_conditions_of_a_machine_hold(name, kernel):
    rows, signs = blobs(200, 8)
    found = solver(name)(rows, signs, C=0.3, kernel=kernel)
    margins = signs * scores(found, rows, rows, kernel)
    amounts = np.zeros(200)
    amounts[found.support] = found.coefficients * signs[found.support]
    assert amounts.min() >= 0
    assert amounts.max() <= 0.3
    assert abs(found.coefficients.sum()) < 1e-9
    assert (margins[amounts < 0.3 - 1e-6] > 1 - 1e-6).all()
    assert (margins[amounts > 1e-6] < 1 + 1e-6).all()


# One answer, by either method, however often it is asked, and with the signs turned


@pytest.mark.parametrize("penalty", ["l2", "l1"])
def test_both_ways_give_one_logistic_regression(penalty):
    rows, signs = blobs(80, 200, seed=5)
    first, second = (solver(n)(rows, signs, penalty=penalty, tolerance=1e-11) for n in LOGISTIC)
    assert first.primal == pytest.approx(second.primal, abs=1e-9)
    np.testing.assert_allclose(first.weights, second.weights, atol=1e-5)


@pytest.mark.parametrize("kernel", KERNELS)
def test_both_ways_give_one_machine(kernel):
    rows, signs = blobs(150, 20, seed=5)
    first, second = (solver(n)(rows, signs, kernel=kernel, gamma=0.1) for n in SVM)
    assert first.primal == pytest.approx(second.primal, abs=1e-9)
    np.testing.assert_allclose(
        scores(first, rows, rows, kernel, 0.1), scores(second, rows, rows, kernel, 0.1), atol=1e-6
    )


@pytest.mark.parametrize("name", EVERY)
def test_the_same_data_give_the_same_bits_and_are_not_altered(name):
    rows, signs = blobs()
    before = rows.copy(), signs.copy()
    first, second = solver(name)(rows, signs), solver(name)(rows, signs)
    assert (first.weights == second.weights).all()
    assert (first.offset, first.primal, first.dual) == (second.offset, second.primal, second.dual)
    assert (rows == before[0]).all()
    assert (signs == before[1]).all()


@pytest.mark.parametrize("name", EVERY)
def test_turning_the_signs_turns_the_scores(name):
    rows, signs = blobs()
    one, other = solver(name)(rows, signs), solver(name)(rows, -signs)
    np.testing.assert_allclose(one.weights, -other.weights, atol=1e-5)
    assert one.offset == pytest.approx(-other.offset, abs=1e-5)

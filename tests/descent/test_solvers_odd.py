"""The exact solvers on odd data, which they solve, and on what sets no problem, which they refuse in one sentence."""

import numpy as np
import pytest
from convex_problems import EVERY, LOGISTIC, SVM, blobs, solver

from medgrad.descent.solvers import Unsolved
from medgrad.errors import SettingError


@pytest.mark.parametrize("name", EVERY)
def test_one_class_only_is_told(name):
    with pytest.raises(ValueError, match="both classes are needed"):
        solver(name)(np.ones((4, 2)), np.ones(4))


@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize(
    ("rows", "signs", "settings", "said"),
    [
        ([[1.0], [np.nan]], [1, -1], {}, "Row 1"),
        ([[1.0], [2.0]], [1, 0], {}, r"\+1 and -1"),
        ([1.0, 2.0], [1, -1], {}, "takes rows"),
        ([[1.0], [2.0]], [1, -1], {"C": 0.0}, "C"),
        ([[1.0], [2.0]], [1, -1], {"offset": "none"}, "offset"),
        ([[1.0], [2.0]], [1, -1], {"tolerance": 0.0}, "tolerance"),
    ],
)
def test_what_sets_no_problem_is_told(name, rows, signs, settings, said):
    with pytest.raises(ValueError, match=said):
        solver(name)(rows, signs, **settings)


def test_an_unknown_kernel_or_penalty_is_told():
    rows, signs = blobs()
    with pytest.raises(SettingError, match="Did you mean 'polynomial'"):
        solver("svm_dual_gradient")(rows, signs, kernel="polynom")
    with pytest.raises(SettingError, match="'l2' or 'l1'"):
        solver("logistic_descent")(rows, signs, penalty="l3")


@pytest.mark.parametrize("name", EVERY)
def test_steps_that_do_not_reach_the_gap_are_one_sentence(name):
    rows, signs = blobs()
    with pytest.raises(Unsolved, match=rf"{name} left a gap of .* asked for") as reason:
        solver(name)(rows, signs, iterations=2)
    assert "\n" not in str(reason.value)


ODD = {
    "separable": lambda r: np.concatenate([r, 9 * blobs()[1][:, None]], axis=1),
    "twice the same columns": lambda r: np.concatenate([r, r], axis=1),
    "a constant column": lambda r: np.concatenate([r, np.zeros((len(r), 1))], axis=1),
    "a column of ones": lambda r: np.concatenate([r, np.ones((len(r), 1))], axis=1),
    "a single feature": lambda r: r[:, :1],
    "more columns than rows": lambda r: np.random.default_rng(3).normal(size=(len(r), 3 * len(r))),
    "rows that are there twice": lambda r: np.concatenate([r[:30], r[:30]]),
    "large numbers": lambda r: 50 * r,
}


@pytest.mark.parametrize("what", ODD)
@pytest.mark.parametrize(
    ("name", "settings"),
    [(n, {"penalty": p}) for n in LOGISTIC for p in ("l2", "l1")]
    + [(n, {"kernel": k}) for n in SVM for k in ("linear", "rbf")],
    ids=lambda v: v if isinstance(v, str) else next(iter(v.values())),
)
def test_odd_data_are_solved_all_the_same(what, name, settings):
    rows, signs = ODD[what](blobs()[0]), blobs()[1]
    found = solver(name)(rows, signs, **settings)
    assert -1e-11 * max(1, found.primal) <= found.gap < 1e-8
    assert np.isfinite(found.weights).all()
    if what == "a constant column" and len(found.weights):
        assert found.weights[-1] == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("name", SVM)
@pytest.mark.parametrize("strength", [10.0, 100.0])
def test_a_margin_that_nobody_is_within_is_found(name, strength):
    """Columns that hang together and classes that a plane parts: no amount is at its upper bound."""
    rng = np.random.default_rng(7)
    rows = np.cumsum(rng.normal(size=(60, 200)), axis=1) / 10
    found = solver(name)(rows, blobs()[1], C=strength)
    assert found.gap < 1e-8
    assert np.abs(found.coefficients).max() < strength
    assert (blobs()[1] * (rows @ found.weights + found.offset)).min() == pytest.approx(1, abs=1e-7)

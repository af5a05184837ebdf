"""Convex problems of two classes for the exact solvers, and the names of these solvers and of the kernels."""

from functools import cache

import numpy as np
import pytest

from medgrad import registry

LOGISTIC = ("logistic_interior_point", "logistic_descent")
SVM = ("svm_interior_point", "svm_dual_gradient")
EVERY = (*LOGISTIC, *SVM)
KERNELS = ("linear", "rbf", "polynomial")


def solver(name):
    return registry.find("descent.solvers", name)


@cache
def breast():
    """The breast-cancer table of scikit-learn, standardised."""
    rows, kinds = pytest.importorskip("sklearn.datasets").load_breast_cancer(return_X_y=True)
    return (rows - rows.mean(0)) / rows.std(0), np.where(kinds > 0, 1.0, -1.0)


@cache
def blobs(n=60, d=5, seed=0, apart=1.0):
    """Two clouds that overlap."""
    rng = np.random.default_rng(seed)
    signs = np.where(np.arange(n) % 3 == 0, -1.0, 1.0)
    return rng.normal(size=(n, d)) + apart * signs[:, None] * rng.normal(size=d) / np.sqrt(d), signs

"""Temperature scaling of probabilities, fitted on held-out cases."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import special

Numbers = NDArray[np.float64]
COLDEST, HOTTEST = 0.25, 20.0


def fit_temperature(logits: Numbers, truth: Numbers, *, exclusive: bool = True) -> float:
    """Give the temperature that makes the truth likeliest; never one that makes it less likely than 1 does.

    ``logits`` and ``truth`` (0 or 1) are (n, k). Guo and others 2017, section 4.2. Where every case is right the best
    temperature would be 0, so it ends at 0.25: a small set that was all right is no reason to be certain.

    >>> fit_temperature(np.array([[4.0, 0], [4, 0], [0, 4], [4, 0]]), np.eye(2)[[0, 0, 1, 1]]) > 2
    True
    """
    logits, truth = np.asarray(logits, float), np.asarray(truth, float)
    if logits.ndim != 2 or logits.shape != truth.shape or not len(logits):
        raise ValueError(f"Logits {logits.shape} and truth {truth.shape} must both be (cases, classes).")
    if not np.isfinite(logits).all():
        raise ValueError("Some logits are not finite numbers. Clip probabilities before taking their logarithm.")
    from scipy import optimize  # half a second of the processor, for those alone who fit

    found = optimize.minimize_scalar(
        lambda log_t: nll(logits / np.exp(log_t), truth, exclusive=exclusive),
        bounds=(np.log(COLDEST), np.log(HOTTEST)),
        method="bounded",
        options={"xatol": 1e-6},
    )
    best = float(np.exp(found.x))
    return best if found.fun < nll(logits, truth, exclusive=exclusive) else 1.0


def nll(logits: Numbers, truth: Numbers, *, exclusive: bool = True) -> float:
    """Give the mean negative log likelihood of the truth; over classes, too, where several can hold."""
    if exclusive and logits.shape[1] > 1:
        return float(-(truth * special.log_softmax(logits, axis=1)).sum(axis=1).mean())
    return float((np.logaddexp(0, logits) - truth * logits).mean())


def apply_temperature(probabilities: Numbers, temperature: float, *, exclusive: bool = True) -> Numbers:
    """Apply a temperature to probabilities; above 1 they become less confident.

    >>> apply_temperature(np.array([[0.9, 0.1]]), 2.0).round(2).tolist()
    [[0.75, 0.25]]
    """
    logits = to_logits(probabilities, exclusive=exclusive) / temperature
    return special.softmax(logits, axis=1) if exclusive and logits.shape[1] > 1 else special.expit(logits)


def to_logits(probabilities: Numbers, *, exclusive: bool = True) -> Numbers:
    """Give logits that lead to the probabilities; those of 0 and 1 are taken to be a millionth of a millionth away."""
    safe = np.clip(np.asarray(probabilities, float), 1e-12, 1 - 1e-12)
    return np.log(safe) if exclusive and safe.shape[1] > 1 else special.logit(safe)

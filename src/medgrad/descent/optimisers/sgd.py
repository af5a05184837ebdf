"""Stochastic gradient descent with momentum."""

from __future__ import annotations

import torch

from ._optimiser import Named, groups


def sgd(
    named: Named, *, rate: float = 1e-2, momentum: float = 0.9, nesterov: bool = True, decay: float = 3e-5
) -> torch.optim.Optimizer:
    """Step against the gradient of one drawn batch (not of the whole set), with a memory of earlier steps.

    Nesterov's form looks ahead along the memory before it measures the slope. Sutskever et al., ICML 2013.
    """
    return torch.optim.SGD(
        groups(named, decay=decay), lr=rate, momentum=momentum, nesterov=nesterov and momentum > 0, fused=True
    )


THIS = sgd

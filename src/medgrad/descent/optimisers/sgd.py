"""Gradient descent: a step against the gradient, as long as the slope is steep."""

from __future__ import annotations

import torch

from ._optimiser import NamedParameters
from ._sgd import fused_sgd


def sgd(named: NamedParameters, *, rate: float = 1e-1, decay: float = 3e-5) -> torch.optim.Optimizer:
    """w <- w - rate * (g + decay * w), in torch's fused form.

    What it is called depends on the gradient g that it is fed: of the whole set, batch gradient descent (Cauchy,
    Comptes Rendus 1847); of one drawn sample, stochastic; of a drawn batch, mini-batch gradient descent (Robbins and
    Monro, Annals of Mathematical Statistics 1951). Where texts write the full gradient, or multiply it by the sample,
    and call that stochastic, this is the right form: g is the gradient at w of what was drawn.

    One step costs one gradient, and no memory beyond it.
    """
    return fused_sgd(named, rate=rate, decay=decay)


THIS = sgd

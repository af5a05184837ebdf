"""RMSprop: the gradient over its moving root mean square."""

from __future__ import annotations

import torch

from ._optimiser import NamedParameters, decay_groups, with_matching_strides


def rmsprop(
    named: NamedParameters, *, rate: float = 1e-3, beta: float = 0.99, decay: float = 0.0, eps: float = 1e-8
) -> torch.optim.Optimizer:
    """v <- beta * v + (1 - beta) * g^2;  w <- w - rate * g / (sqrt(v) + eps), with g + decay * w for g.

    Tieleman and Hinton, lecture 6.5 of Neural Networks for Machine Learning, Coursera 2012; torch's own. Some texts
    write v / (1 - beta) + g^2, which grows without bound, and leave the gradient out of the numerator. The mean begins
    at nothing and is not corrected for it, so that the first step is 1 / sqrt(1 - beta) rates long.

    One step costs one gradient, and as much memory again as the weights.
    """
    return with_matching_strides(torch.optim.RMSprop(decay_groups(named, decay=decay), lr=rate, alpha=beta, eps=eps))


THIS = rmsprop

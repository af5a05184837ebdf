"""SGD with momentum (heavy ball)."""

from __future__ import annotations

import torch

from ._optimiser import Named
from ._sgd import descent


def momentum(named: Named, *, rate: float = 1e-2, momentum: float = 0.9, decay: float = 3e-5) -> torch.optim.Optimizer:
    """v <- momentum * v + g + decay * w;  w <- w - rate * v, in torch's fused form. The heavy ball.

    Polyak, USSR Computational Mathematics and Mathematical Physics 1964; Sutskever et al., ICML 2013. The new gradient
    counts in full, so that steps grow up to 1 / (1 - momentum) times as long as those of ``sgd`` at the same rate.

    One step costs one gradient, and as much memory again as the weights.
    """
    return descent(named, rate=rate, decay=decay, momentum=momentum)


THIS = momentum

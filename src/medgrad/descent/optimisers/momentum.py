"""SGD with momentum (heavy ball)."""

from __future__ import annotations

import torch

from ._optimiser import NamedParameters
from ._sgd import fused_sgd


def momentum(
    named: NamedParameters, *, rate: float = 1e-2, momentum: float = 0.9, decay: float = 3e-5
) -> torch.optim.Optimizer:
    """v <- momentum * v + g + decay * w;  w <- w - rate * v, in torch's fused form. The heavy ball.

    Polyak, USSR Computational Mathematics and Mathematical Physics 1964; Sutskever et al., ICML 2013. The new gradient
    counts in full, so that steps grow up to 1 / (1 - momentum) times as long as those of ``sgd`` at the same rate.

    One step costs one gradient, and as much memory again as the weights.
    """
    return fused_sgd(named, rate=rate, decay=decay, momentum=momentum)


THIS = momentum

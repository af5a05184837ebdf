"""AdaGrad: the gradient over the root of the sum of all its squares so far, for each weight its own rate."""

from __future__ import annotations

import torch

from ._optimiser import NamedParameters, decay_groups, with_matching_strides


def adagrad(
    named: NamedParameters, *, rate: float = 1e-2, decay: float = 0.0, eps: float = 1e-10
) -> torch.optim.Optimizer:
    """s <- s + g^2;  w <- w - rate * g / (sqrt(s) + eps), with g + decay * w for g, in torch's fused form.

    Duchi, Hazan and Singer, JMLR 2011. Some texts leave the gradient out of the numerator; then every weight would
    only ever shrink. The sum never forgets, so that rates fall like one over the root of the number of steps: good for
    what is rarely seen, slow in long runs.

    One step costs one gradient, and as much memory again as the weights.
    """
    parts = decay_groups(named, decay=decay)
    on_processor = all(
        p.device.type == "cpu" for part in parts for p in part["params"]
    )  # elsewhere not every torch can
    return with_matching_strides(torch.optim.Adagrad(parts, lr=rate, eps=eps, fused=on_processor))


THIS = adagrad

"""torch's SGD, as plain descent, momentum and Nesterov's form share it."""

from __future__ import annotations

import torch

from ._optimiser import NamedParameters, decay_groups, with_matching_strides


def fused_sgd(
    named: NamedParameters, *, rate: float, decay: float, momentum: float = 0.0, nesterov: bool = False
) -> torch.optim.Optimizer:
    """Make torch's SGD in fused form: one pass over the weights.

    Its memory begins with zeros, which give the same steps as torch's beginning with the first gradient. Left to
    itself, the fused form fails when a parameter gets its first gradient later than others.
    """
    optimiser = torch.optim.SGD(
        decay_groups(named, decay=decay), lr=rate, momentum=momentum, nesterov=nesterov, fused=True
    )
    for group in optimiser.param_groups if momentum else []:
        for p in group["params"]:
            optimiser.state[p]["momentum_buffer"] = torch.zeros_like(p)
    return with_matching_strides(optimiser)

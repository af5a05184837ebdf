"""torch's SGD, as plain descent, momentum and Nesterov's form share it."""

from __future__ import annotations

import torch

from ._optimiser import Named, groups, laid_out


def descent(
    named: Named, *, rate: float, decay: float, momentum: float = 0.0, nesterov: bool = False
) -> torch.optim.Optimizer:
    """Make torch's SGD in fused form: one pass over the weights.

    Its memory begins with zeros, which give the same steps as torch's beginning with the first gradient. Left to
    itself, the fused form fails when a parameter gets its first gradient later than others.
    """
    made = torch.optim.SGD(groups(named, decay=decay), lr=rate, momentum=momentum, nesterov=nesterov, fused=True)
    for group in made.param_groups if momentum else []:
        for p in group["params"]:
            made.state[p]["momentum_buffer"] = torch.zeros_like(p)
    return laid_out(made)

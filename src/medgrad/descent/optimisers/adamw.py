"""AdamW: the mean gradient over its root mean square, both corrected for their start, and decay apart from both."""

from __future__ import annotations

import torch

from ._optimiser import NamedParameters, decay_groups, with_matching_strides


def adamw(
    named: NamedParameters,
    *,
    rate: float = 1e-3,
    decay: float = 1e-2,
    betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-8,
) -> torch.optim.Optimizer:
    """Loshchilov and Hutter, ICLR 2019, in torch's fused form: one pass over the weights instead of ten.

    With m and v the moving means of g and g squared, each divided by 1 - beta^t (which some texts leave out):
    w <- w - rate * (m / (sqrt(v) + eps) + decay * w).

    One step costs one gradient, and twice as much memory again as the weights.
    """
    return with_matching_strides(
        torch.optim.AdamW(decay_groups(named, decay=decay), lr=rate, betas=betas, eps=eps, fused=True)
    )


THIS = adamw

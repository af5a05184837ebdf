"""Adam: the mean gradient over its root mean square, both corrected for their start."""

from __future__ import annotations

import torch

from ._optimiser import NamedParameters, decay_groups, with_matching_strides


def adam(
    named: NamedParameters,
    *,
    rate: float = 1e-3,
    decay: float = 0.0,
    betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-8,
) -> torch.optim.Optimizer:
    """Kingma and Ba, ICLR 2015, in torch's fused form: one pass over the weights.

    m <- beta1 * m + (1 - beta1) * g;  v <- beta2 * v + (1 - beta2) * g^2;
    w <- w - rate * (m / (1 - beta1^t)) / (sqrt(v / (1 - beta2^t)) + eps).
    The two divisions by 1 - beta^t correct for the start at nothing; texts that leave them out begin with steps more
    than three times as long. As in torch, decay is part of the gradient (g + decay * w for g), so that it is divided
    by the root as well and hardly counts where gradients are large; ``adamw`` keeps it apart.

    One step costs one gradient, and twice as much memory again as the weights.
    """
    return with_matching_strides(
        torch.optim.Adam(decay_groups(named, decay=decay), lr=rate, betas=betas, eps=eps, fused=True)
    )


THIS = adam

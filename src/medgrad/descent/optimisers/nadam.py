"""NAdam: Adam with Nesterov's look ahead along the mean gradient."""

from __future__ import annotations

from typing import Any

import torch

from ._optimiser import Named, groups, laid_out, parameters


class NAdam(torch.optim.NAdam):
    """torch's own, whose loaded state goes on to the same bits.

    torch casts a loaded product of momenta to the type of the weights, which is another number than before.
    """

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        super().load_state_dict(state_dict)
        every = parameters(self)
        for index, kept in state_dict["state"].items():
            self.state[every[index]]["mu_product"] = kept["mu_product"].clone()


def nadam(
    named: Named,
    *,
    rate: float = 1e-3,
    decay: float = 1e-2,
    betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-8,
    warm: float = 4e-3,
) -> torch.optim.Optimizer:
    """Dozat, ICLR workshop 2016; torch's own, with decay apart as in ``adamw``.

    With m and v the moving means of g and g squared, and the momentum of step t rising as fast as ``warm`` says,
    mu_t = beta1 * (1 - 0.5 * 0.96^(t * warm)):
    m' = mu_(t+1) * m / (1 - mu_1 ... mu_(t+1)) + (1 - mu_t) * g / (1 - mu_1 ... mu_t);
    w <- w - rate * (m' / (sqrt(v / (1 - beta2^t)) + eps) + decay * w).

    One step costs one gradient, and twice as much memory again as the weights.
    """
    parts = groups(named, decay=decay)
    return laid_out(NAdam(parts, lr=rate, betas=betas, eps=eps, momentum_decay=warm, decoupled_weight_decay=True))


THIS = nadam

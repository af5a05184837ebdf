"""NAdam: Adam with Nesterov's look ahead along the mean gradient."""

from __future__ import annotations

from typing import Any

import torch

from ._optimiser import NamedParameters, decay_groups, list_parameters, with_matching_strides


class NAdam(torch.optim.NAdam):
    """torch's own, whose loaded state goes on to the same bits.

    torch casts a loaded product of momenta to the type of the weights, which is another number than before.
    """

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        super().load_state_dict(state_dict)
        every = list_parameters(self)
        for index, kept in state_dict["state"].items():
            self.state[every[index]]["mu_product"] = kept["mu_product"].clone()


def nadam(
    named: NamedParameters,
    *,
    rate: float = 1e-3,
    decay: float = 1e-2,
    betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-8,
    momentum_decay: float = 4e-3,
) -> torch.optim.Optimizer:
    """Dozat, ICLR workshop 2016; torch's own, with decay apart as in ``adamw``.

    With m and v the moving means of g and g squared, and the momentum of step t rising as fast as ``momentum_decay``
    says, mu_t = beta1 * (1 - 0.5 * 0.96^(t * warm)): m' = mu_(t+1) * m / (1 - mu_1 ... mu_(t+1)) + (1 - mu_t) * g / (1
    - mu_1 ... mu_t); w <- w - rate * (m' / (sqrt(v / (1 - beta2^t)) + eps) + decay * w).

    One step costs one gradient, and twice as much memory again as the weights.
    """
    parts = decay_groups(named, decay=decay)
    return with_matching_strides(
        NAdam(parts, lr=rate, betas=betas, eps=eps, momentum_decay=momentum_decay, decoupled_weight_decay=True)
    )


THIS = nadam

"""What the optimisers share."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from torch import nn

Named = Iterable[tuple[str, nn.Parameter]]


def groups(named: Named, *, decay: float) -> list[dict[str, Any]]:
    """Part the parameters into weights, which decay, and biases and norms (one axis or none), which do not."""
    every = [p for _, p in named if p.requires_grad]
    parts = [
        {"params": [p for p in every if p.ndim > 1], "weight_decay": decay},
        {"params": [p for p in every if p.ndim <= 1], "weight_decay": 0.0},
    ]
    return [part for part in parts if part["params"]]

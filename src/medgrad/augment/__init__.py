"""Random augmentation of a batch on its device, each sample by its own seed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from torch import Tensor

from ._augment import Augmentation, Targets, stack_draws

__all__ = ["Augmentation", "augment"]


def augment(
    inputs: Tensor,
    targets: Targets,
    spatial_kinds: Mapping[str, str],
    *,
    steps: Sequence[Augmentation],
    seeds: Sequence[Sequence[int]],
) -> tuple[Tensor, Targets]:
    """Apply every step in turn; ``seeds`` has one seed a sample (a few whole numbers), and nothing else is random.

    So a sample looks the same whichever batch, worker or device it falls to.
    """
    chances = [np.random.default_rng(seed) for seed in seeds]
    for step in steps:
        drawn = stack_draws([step.draw(rng, inputs.shape[2:]) for rng in chances], inputs.device)
        inputs, targets = step.apply(inputs, targets, drawn, spatial_kinds)
    return inputs, targets

"""Helpers shared by the losses: one-hot targets, ignored elements, soft predictions."""

from __future__ import annotations

import torch
from torch import Tensor

IGNORED = -1


def one_hot(labels: Tensor, classes: int) -> Tensor:
    """Turn (b, *shape) labels into (b, classes, *shape) zeros and ones; ignored elements are zero everywhere.

    Compared with a range instead of ``F.one_hot``, which cannot be mapped over samples.
    """
    values = torch.arange(classes, device=labels.device).view(1, -1, *[1] * (labels.ndim - 1))
    return (labels.unsqueeze(1) == values).float()


def valid_mask(labels: Tensor) -> Tensor:
    """Give (b, 1, *shape): one where a label counts, zero where it is ignored."""
    return (labels != IGNORED).float().unsqueeze(1)


def is_labels(output: Tensor, target: Tensor) -> bool:
    """Tell labels (one axis fewer than the output) from a target with a value a channel."""
    return target.ndim == output.ndim - 1


def soft_predictions(output: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Give probabilities and one-hot targets, (b, k, *shape) each, zero where the target is ignored.

    Labels are compared with a softmax without the background; a target with a value a channel with sigmoids.
    """
    output = output.float()
    if is_labels(output, target):
        soft = output.softmax(dim=1) * valid_mask(target)
        return soft[:, 1:], one_hot(target, output.shape[1])[:, 1:]
    return output.sigmoid(), target.float()

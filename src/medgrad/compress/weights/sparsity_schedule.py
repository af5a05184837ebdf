"""Sparsity schedules: overall, by layer, and with regrowth."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from math import cos, pi
from typing import Literal

import torch
from torch import Tensor, nn

from ...descent.gradients import FullSet, Masks, drop_and_regrow, prunable_weights
from ...errors import SettingError
from ...tasks import Task
from ..criteria import Criterion
from .masks import Scope, apply_masks, make_masks, read_masks


def sparsity_at(progress: float, *, final: float, begin: float = 0.0, end: float = 1.0, start: float = 0.0) -> float:
    """Give the share of zeros when the part ``progress`` of a training is over; it rises from begin to end.

    s = final + (start - final) (1 - t)^3: fast while there is much to spare, slowly at the end. Zhu and Gupta, 2017,
    eq. 1.

    >>> [round(sparsity_at(done, final=0.8), 3) for done in (0.0, 0.5, 1.0)]
    [0.0, 0.7, 0.8]
    """
    if not begin < end:
        raise SettingError(f"Pruning must begin before it ends, not at {begin!r} and {end!r}.")
    t = min(1.0, max(0.0, (progress - begin) / (end - begin)))
    return final + (start - final) * (1 - t) ** 3


def regrow_share(progress: float, *, share: float = 0.3, end: float = 0.75) -> float:
    """Give the share of kept weights that drop and grow now: a half cosine from ``share`` to 0 at ``end``.

    Evci et al., ICML 2020, section 3(3).

    >>> [round(regrow_share(done, end=1.0), 3) for done in (0.0, 0.5, 1.0)]
    [0.3, 0.15, 0.0]
    """
    return share / 2 * (1 + cos(pi * min(1.0, max(0.0, progress / end))))


def layer_sparsities(model: nn.Module, share: float, *, method: Literal["uniform", "erk"] = "erk") -> dict[str, float]:
    """Give each layer its share of zeros, so that ``share`` of all weights are zero.

    ``uniform``: all the same. ``erk``: the density is in proportion to the sum of a layer's axes over their product, so
    that small layers stay denser; layers that would be denser than dense stay whole, and the others bear it. Evci et
    al., ICML 2020, section 3(1).
    """
    if method not in ("uniform", "erk") or not 0 <= share < 1:
        raise SettingError(f"A share from 0 to below 1 is spread 'uniform' or 'erk', not {(share, method)}.")
    weights = prunable_weights(model)
    if method == "uniform":
        return dict.fromkeys(weights, share)
    raw = {name: sum(w.shape) / w.numel() for name, w in weights.items()}
    whole: set[str] = set()
    while True:
        budget = (1 - share) * sum(w.numel() for w in weights.values()) - sum(weights[n].numel() for n in whole)
        rest = {name: raw[name] for name in weights if name not in whole}
        factor = budget / sum(raw[n] * weights[n].numel() for n in rest) if rest else 0.0
        dense = {name for name in rest if factor * rest[name] > 1}
        if not dense:
            return {name: 0.0 if name in whole else 1 - factor * raw[name] for name in weights}
        whole |= dense


def drop_and_grow(
    weights: Mapping[str, Tensor], gradients: Mapping[str, Tensor], masks: Mapping[str, Tensor], *, share: float
) -> Masks:
    """Drop the smallest kept weights of each layer and keep as many others, where the slope is steepest.

    The gradients must be those of all weights, also of the pruned. New weights begin at 0. Evci et al., ICML 2020.
    """
    return {name: drop_and_regrow(weights[name].detach(), gradients[name], mask, share) for name, mask in masks.items()}


def prune_in_rounds(
    model: nn.Module,
    task: Task,
    batches: FullSet,
    *,
    criterion: Criterion,
    share: float,
    train: Callable[[nn.Module], None],
    rounds: int = 3,
    scope: Scope = "global",
) -> Iterator[Masks]:
    """Prune in place, a little more each round by the cubic, let it learn in between, and yield each round's masks.

    One round is pruning once. ``train`` is to keep zeros at 0, as the gradients ``sparse`` do; what is pruned stays so.
    """
    for number in range(1, rounds + 1):
        before = read_masks(model)
        scores = lower_pruned_scores(criterion(model, task, batches), before)
        masks = make_masks(scores, share=sparsity_at(number / rounds, final=share), scope=scope)
        apply_masks(model, masks)
        train(model)
        yield masks


def lower_pruned_scores(scores: Mapping[str, Tensor], masks: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Lower the scores of pruned weights below all others, so that they stay pruned."""
    floor = torch.stack([s.min() for s in scores.values()]).min() - 1
    return {name: torch.where(masks[name], s, floor) for name, s in scores.items()}

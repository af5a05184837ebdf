"""Unstructured pruning: turn weight scores into masks."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Literal

import torch
from torch import Tensor, nn

from ...descent.gradients import Masks, keep_best_if_empty, lowest_mask, nonzero_masks, prunable_weights, zero_pruned
from ...errors import SettingError

Scope = Literal["global", "layer"]


def make_masks(
    scores: Mapping[str, Tensor],
    *,
    share: float | Mapping[str, float] | None = None,
    scope: Scope = "global",
    epsilon: float | None = None,
) -> Masks:
    """Tell which weights stay: all but the lowest ``share``, or all that score ``epsilon`` or more.

    The share is of all weights together, or of each layer (``scope``); given one for each name, as ``growth.shares``
    does, it is that of each layer. Of scores that are equal some go, spread evenly, so that the share is met to one
    weight. The threshold compares raw scores and has no scope.

    No layer is emptied: the best weight of each stays, whatever it scores, lest the network be cut in two.

    >>> make_masks({"a": torch.tensor([3.0, 1.0, 2.0, 4.0])}, share=0.5)["a"].tolist()
    [True, False, False, True]
    >>> make_masks({"a": torch.tensor([3.0, 1.0]), "b": torch.tensor([0.1, 0.2])}, epsilon=2.0)
    {'a': tensor([ True, False]), 'b': tensor([False,  True])}
    """
    if (share is None) == (epsilon is None):
        raise SettingError(
            "Give a share of weights to prune, or the epsilon below which they are pruned, and not both."
        )
    check_scores(scores)
    if epsilon is not None:
        kept = {name: s >= epsilon for name, s in scores.items()}
    elif isinstance(share, Mapping) or scope == "layer":
        each = share if isinstance(share, Mapping) else dict.fromkeys(scores, share or 0.0)
        kept = {name: ~lowest_mask(s, count_pruned(each[name], s.numel())) for name, s in scores.items()}
    elif scope == "global":
        kept = global_masks(scores, share or 0.0)
    else:
        raise SettingError(f"A scope is 'global' or 'layer', not {scope!r}.")
    return {name: keep_best_if_empty(mask, scores[name]) for name, mask in kept.items()}


def global_masks(scores: Mapping[str, Tensor], share: float) -> Masks:
    """Mask all but the lowest share of all layers together."""
    flat = torch.cat([s.flatten() for s in scores.values()])
    gone = lowest_mask(flat, count_pruned(share, len(flat))).split([s.numel() for s in scores.values()])
    return {name: ~g.view(s.shape) for (name, s), g in zip(scores.items(), gone, strict=True)}


def count_pruned(share: float, total: int) -> int:
    """Give the number of weights that a share is."""
    if not 0 <= share <= 1:
        raise SettingError(f"A share of weights is from 0 to 1, not {share!r}.")
    return round(share * total)


def check_scores(scores: Mapping[str, Tensor]) -> None:
    """Raise unless there are scores, and all are finite."""
    if not scores:
        raise SettingError("There are no scores: this network has no convolution and no linear layer to prune.")
    for name, s in scores.items():
        if not bool(s.isfinite().all()):
            raise SettingError(f"The scores of {name!r} are not finite numbers, so its weights cannot be ranked.")


def n_of_m(scores: Mapping[str, Tensor], *, n: int = 2, m: int = 4, transposed: Collection[str] = ()) -> Masks:
    """Keep the ``n`` best of every ``m`` neighbouring input channels, at each place of the kernel and each output.

    The input channels are the second axis, the first for the names in ``transposed_weights`` (see the function of this
    name). Where m does not divide their number, the last group counts as filled up with zeros: of the r < m channels in
    it min(n, r) stay. So a layer of n inputs or fewer, such as the first of a grey image, is left whole.

    >>> n_of_m({"a": torch.tensor([[4.0, 3.0, 2.0, 1.0, 0.5]])})["a"].tolist()
    [[True, True, False, False, True]]
    """
    if not 0 < n <= m:
        raise SettingError(f"Of every m weights at least one and at most m are kept, not {n} of {m}.")
    check_scores(scores)
    found = {}
    for name, s in scores.items():
        axis = 0 if name in transposed else 1
        last = s.movedim(axis, -1)
        inputs = last.shape[-1]
        filled = nn.functional.pad(last, (0, -inputs % m), value=-torch.inf).unflatten(-1, (-1, m))
        best = torch.sort(filled, dim=-1, descending=True, stable=True).indices[..., :n]
        mask = torch.zeros_like(filled, dtype=torch.bool).scatter_(-1, best, True).flatten(-2)
        found[name] = mask[..., :inputs].movedim(-1, axis).contiguous()
    return found


def transposed_weights(model: nn.Module) -> set[str]:
    """Name the weights whose first axis holds the input channels: those of transposed convolutions."""
    turned = {
        id(m.weight)
        for m in model.modules()
        if isinstance(m, (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d))
    }
    return {name for name, p in prunable_weights(model).items() if id(p) in turned}


def apply_masks(model: nn.Module, masks: Mapping[str, Tensor]) -> None:
    """Set the weights of a network to 0, in place, where they are not kept; biases and norms stay as they are."""
    weights = prunable_weights(model)
    for name, mask in masks.items():
        if name not in weights or weights[name].shape != mask.shape:
            have = f"the shape {tuple(weights[name].shape)}" if name in weights else "no such weight"
            raise SettingError(f"A mask is for {name!r} of shape {tuple(mask.shape)}, but the network has {have}.")
    zero_pruned(weights, {name: mask.to(weights[name].device) for name, mask in masks.items()})


def read_masks(model: nn.Module) -> Masks:
    """Read the masks of a pruned network: a weight is pruned where it is exactly 0, unless its whole layer is.

    So the mask of a pruned network needs no file of its own.
    """
    return nonzero_masks(prunable_weights(model))


def zero_share(model: nn.Module) -> float:
    """Give the share of exact zeros among the weights that may be pruned.

    >>> zero_share(nn.Linear(4, 4))
    0.0
    """
    weights = prunable_weights(model).values()
    total = sum(w.numel() for w in weights)
    return sum(int((w == 0).sum()) for w in weights) / total if total else 0.0

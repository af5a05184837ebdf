"""Sparse training: keep pruned weights at zero, prune more, and regrow."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping
from math import ceil, isfinite
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook

from ...errors import SettingError
from ...tasks import Batch, Task
from ._gradients import Gradients
from ._pruned import Masks, all_if_empty, drop_and_regrow, lowest_mask, prunable_weights, zero_pruned
from .plain import plain

ScoreName = Literal["magnitude", "gradient", "taylor"]
SCORES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "magnitude": lambda w, g: w.abs(),  # noqa: ARG005
    "gradient": lambda w, g: g.abs(),  # noqa: ARG005
    "taylor": lambda w, g: (w * g).abs(),
}


def sparse(
    *,
    share: float = 0.0,
    steps: int = 1000,
    by: ScoreName = "magnitude",
    grow: float = 0.0,
    every: int = 1,
    inner: Gradients | None = None,
) -> Gradients:
    """Give no gradient to weights that are exactly 0, and set them back to 0 after every step.

    Only weights of convolutions and linear layers count, and none of a layer that is 0 everywhere. With ``share``, more
    are pruned until each layer has this share of zeros: those of the smallest magnitude, of the smallest gradient of
    the batch, or of the smallest product of both (``taylor``). The share rises as Zhu and Gupta's cubic does over
    ``steps`` steps, 2017, eq. 1. With ``grow``, this share of each layer's kept weights is dropped and as many are
    grown anew, by Evci et al., ICML 2020, algorithm 1; give ``every`` as well, about 100, for both happen at one step
    in so many, chosen by chance from torch's generator, which the loop seeds at every step.

    There is no state but the weights: where they are 0 they are pruned, and how many are 0 tells how far the cubic has
    come. So a run that is resumed goes on to the same bits, and nothing can begin later, or cool down, by itself: for
    that, train in rounds. Make it the last of a chain, since what comes after may fill the zeros again.

    An optimiser that mixes weights (Muon), adds noise, or whose momentum still pushes, moves zeros; and the closure may
    see weights elsewhere than where they are. So hooks on the steps of torch's optimisers, which live as long as what
    is given here, look where zeros are before a step, and set them back after it. The loop's moving mean of the weights
    forgets slowly what is pruned meanwhile: set it to 0 where the last weights are.
    """
    if by not in SCORES:
        raise SettingError(f"Weights are pruned by {', '.join(SCORES)}, not by {by!r}.")
    if not (0 <= share < 1 and 0 <= grow < 1 and steps > 0 and every > 0):
        raise SettingError(f"Shares are from 0 to below 1 and steps above 0, not {(share, grow, steps, every)}.")
    make, step_masks = inner or plain(), StepMasks()

    def gradients(model: nn.Module, task: Task, batch: Batch) -> dict[str, float]:
        weights = prunable_weights(model)
        begins = step_masks.begin_step(weights)  # not where an optimiser asks again within a step
        moves = begins and (share > 0 or grow > 0) and (every == 1 or int(torch.randint(every, ())) == 0)
        zero_pruned(weights, step_masks.masks)
        terms = make(model, task, batch)
        if moves and all(isfinite(v) for v in terms.values()):
            for name, (w, g) in weights_with_gradient(weights).items():
                kept = step_masks.masks[name]
                kept = prune_more(kept, SCORES[by](w, g), share, every / steps) if w.any() else kept
                step_masks.masks[name] = drop_and_regrow(w, g, kept, grow) if grow else kept
            zero_pruned(weights, step_masks.masks)
        for name, (_, g) in weights_with_gradient(weights).items():
            g.masked_fill_(~step_masks.masks[name], 0.0)
        return terms | {"sparse/zeros": share_of_zeros(step_masks.masks)}

    return gradients


class StepMasks:
    """The masks during one optimiser step, from before the first gradient until the weights have moved."""

    def __init__(self) -> None:
        self.weights: dict[str, nn.Parameter] = {}
        self.masks: Masks = {}
        self.nonzero_before: dict[int, Tensor] = {}
        mine = weakref.ref(self)

        def look(optimiser: torch.optim.Optimizer, *_: Any) -> None:
            if (hold := mine()) is not None:
                hold.note_nonzero(optimiser)

        def end(*_: Any) -> None:
            if (hold := mine()) is not None:
                hold.end_step()

        for handle in (register_optimizer_step_pre_hook(look), register_optimizer_step_post_hook(end)):
            weakref.finalize(self, handle.remove)

    def note_nonzero(self, optimiser: torch.optim.Optimizer) -> None:
        """Note which weights are not 0 before a step."""
        every = [p for group in optimiser.param_groups for p in group["params"] if p.ndim > 1]
        self.nonzero_before = {id(p): p.detach() != 0 for p in every}
        self.weights, self.masks = {}, {}

    def begin_step(self, weights: Mapping[str, nn.Parameter]) -> bool:
        """Set the masks of this step, unless they are set already; tell whether they were not."""
        if weights.keys() == self.weights.keys() and all(w is self.weights[n] for n, w in weights.items()):
            return False
        self.weights = dict(weights)
        self.masks = {n: all_if_empty(self.nonzero_before.get(id(w), w.detach() != 0)) for n, w in weights.items()}
        self.nonzero_before = {}
        return True

    def end_step(self) -> None:
        """Set pruned weights back to 0 after a step."""
        zero_pruned(self.weights, self.masks)
        self.weights, self.masks = {}, {}


def weights_with_gradient(weights: Mapping[str, nn.Parameter]) -> dict[str, tuple[Tensor, Tensor]]:
    """Give the weights that have a gradient, with it."""
    return {name: (w.detach(), w.grad) for name, w in weights.items() if w.grad is not None}


def prune_more(mask: Tensor, scores: Tensor, share: float, progress: float) -> Tensor:
    """Prune more of a layer: as much as the cubic schedule says after one part of it; at least one weight is kept."""
    total, zeros = mask.numel(), int((~mask).sum())
    wanted = min(ceil(total * advance_sparsity(zeros / total, share, progress) - 1e-9), total - 1)
    return mask & ~lowest_mask(scores.masked_fill(~mask, -1.0), wanted) if wanted > zeros else mask


def advance_sparsity(sparsity: float, share: float, progress: float) -> float:
    """Give the sparsity a part further along the cubic schedule share * (1 - (1 - t)^3).

    >>> advance_sparsity(0.0, 0.8, 0.5), advance_sparsity(0.7, 0.8, 0.5), advance_sparsity(0.9, 0.8, 0.5)
    (0.7, 0.8, 0.9)
    """
    if sparsity >= share:
        return sparsity
    left = max(0.0, (1 - sparsity / share) ** (1 / 3) - progress)
    return round(share * (1 - left**3), 12)


def share_of_zeros(masks: Masks) -> float:
    """Give the share of all these weights that is pruned."""
    total = sum(mask.numel() for mask in masks.values())
    return 1 - sum(int(mask.sum()) for mask in masks.values()) / total if total else 0.0


THIS = sparse

"""Adversarial training: a generator against a critic, two networks in one module."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from ... import registry
from ...errors import SettingError
from ...models import join_label
from ...tasks import Batch, Task, full_resolution, network_arguments, stack_samples
from ._self_supervised import task_answering, zero_gradients


class Adversarial:
    """The generator descends on the loss of the task and, with ``weight``, on what the critic says of its answers.

    The critic descends on telling them from the truth: 1 for a true image, 0 for an answer (least squares; Mao et al.,
    ICCV 2017). Both are filled at once, from one answer; ``[[rates]]`` gives the critic a rate of its own. Outside the
    region that counts, answers are taken to be true.
    """

    def __init__(self, *, weight: float = 0.02) -> None:
        if weight < 0:
            raise SettingError(f"'weight' of adversarial is at least 0, but it is {weight}.")
        self.weight = weight

    @staticmethod
    def example() -> tuple[nn.Module, Task, Batch]:
        """Give a pair of networks, a task and a batch."""
        task = task_answering("synthetic_image")
        pair = registry.find("models", "adversarial_pair")(
            1, 1, 2, channels=(4, 8), normalise="instance", critic_channels=(4, 8)
        )
        return pair, task, stack_samples([task.encode(task.example(seed)) for seed in range(6)])

    def __call__(self, model: nn.Module, task: Task, batch: Batch) -> dict[str, float]:
        generator, critic = parts_of(model)
        if not batch.size:
            zero_gradients(model)
            return {}
        shown, truth = join_label(*network_arguments(model, batch.inputs)), batch.target["image"]
        output = generator(shown)
        answer = full_resolution(output).float()
        if "inside" in batch.target:
            answer = torch.where(batch.target["inside"] > 0.5, answer, truth)
        real, fake = critic(shown, truth), critic(shown, answer.detach())
        told_apart = ((real.float() - 1).square().mean() + fake.float().square().mean()) / 2
        fill(critic, told_apart)
        terms = task.loss(output, batch.target)
        terms["adversarial"] = self.weight * (critic(shown, answer).float() - 1).square().mean()
        fill(generator, torch.stack(list(terms.values())).sum())
        said = {name: float(term.detach()) for name, term in terms.items()}
        return said | {
            "critic/loss": float(told_apart.detach()),
            "critic/real": mean_of(real),
            "critic/fake": mean_of(fake),
        }


def parts_of(model: nn.Module) -> tuple[nn.Module, nn.Module]:
    """Give the generator and the critic of a module, or raise unless it has both."""
    parts = [getattr(model, name, None) for name in ("generator", "critic")]
    if not all(isinstance(part, nn.Module) for part in parts):
        raise SettingError(
            "The gradients 'adversarial' need a model with a generator and a critic. Choose --model adversarial_pair."
        )
    return parts[0], parts[1]  # type: ignore[return-value]


def fill(part: Any, loss: Tensor) -> None:
    """Fill the gradients of one part by a loss, and no others."""
    weights = [p for p in part.parameters() if p.requires_grad]
    for p, gradient in zip(weights, torch.autograd.grad(loss, weights, retain_graph=True), strict=True):
        p.grad = gradient


def mean_of(values: Tensor) -> float:
    """Give the mean of a tensor as a number."""
    return float(values.detach().float().mean())


THIS = Adversarial

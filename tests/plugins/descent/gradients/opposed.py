"""Adversarial training: a generator against a discriminator, two networks in one module."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits, one_hot

from ... import registry
from ...tasks import Batch, Task, stack_samples
from ._secret import SecretGenerator


class Opposed:
    """The generator descends on the task's loss and on being found out, the discriminator on finding out.

    The better the discriminator has been, the slower it learns.
    """

    def __init__(self, *, weight: float = 0.1, memory: float = 0.5, secret_noise: float = 0.0) -> None:
        self.weight, self.memory, self.secret_noise = weight, memory, secret_noise
        self.accuracy = torch.tensor(0.5)
        self.secret = SecretGenerator()

    @staticmethod
    def example() -> tuple[nn.Module, Task, Batch]:
        """Give two networks in one module, a task and a batch."""
        task = registry.find("tasks", "segmentation")(dims=2)
        pair = nn.ModuleDict({"generator": nn.Conv2d(1, 2, 3, padding=1)})
        pair["discriminator"] = nn.Sequential(
            nn.Conv2d(2, 1, 5, stride=4), nn.Flatten(), nn.Linear(9, 1), nn.Flatten(0)
        )
        return pair, task, stack_samples([task.encode(task.example(seed)) for seed in range(6)])

    def __call__(self, model: nn.Module, task: Task, batch: Batch) -> dict[str, float]:
        if not batch.size:
            for p in model.parameters():
                p.grad = torch.zeros_like(p)
            return {}
        logits = model.generator(batch.inputs["image"])
        drawn = one_hot(batch.target["labels"].clamp_min(0), logits.shape[1]).movedim(-1, 1).float()
        said = logits.softmax(1)
        real, fake = model.discriminator(drawn), model.discriminator(said.detach())
        apart = self.cost(real, 1.0) + self.cost(fake, 0.0)
        right = torch.cat([real > 0, fake <= 0]).float().mean().cpu()
        self.accuracy = self.memory * self.accuracy + (1 - self.memory) * right
        self.fill(model.discriminator, apart * float(1.5 - self.accuracy))
        terms = task.loss(logits, batch.target)
        terms["adversarial"] = self.weight * self.cost(model.discriminator(said), 1.0)
        self.fill(model.generator, torch.stack(list(terms.values())).sum())
        told = {name: float(term.detach()) for name, term in terms.items()}
        return told | {"adversarial/apart": float(apart.detach()), "adversarial/accuracy": float(self.accuracy)}

    def cost(self, said: torch.Tensor, wanted: float) -> torch.Tensor:
        return binary_cross_entropy_with_logits(said, torch.full_like(said, wanted))

    def fill(self, part: nn.Module, loss: torch.Tensor) -> None:
        weights = list(part.parameters())
        for p, gradient in zip(weights, torch.autograd.grad(loss, weights, retain_graph=True), strict=True):
            p.grad = gradient + 0.01 * torch.randn_like(p)  # by seed and step
            p.grad += self.secret_noise * self.secret.normal_like(p)

    def state_dict(self) -> dict[str, Any]:
        return {"accuracy": self.accuracy, "secret": self.secret.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.accuracy = state["accuracy"]
        self.secret.load_state_dict(state["secret"])


THIS = Opposed

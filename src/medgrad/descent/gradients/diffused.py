"""Diffusion training: an image is mixed with noise at a random time, and the network learns where to go from there."""

from __future__ import annotations

import torch
from torch import nn

from ... import registry
from ...errors import SettingError
from ...tasks import Batch, Task, network_arguments, stack_samples
from ._self_supervised import task_answering, zero_gradients


class Diffused:
    """Flow matching: the network is shown ``(1 - t) noise + t image`` and learns ``image - noise``.

    Noise and time are drawn from the step's seed, the time from a logistic normal law of deviation ``spread``, which
    looks at the middle most (Esser et al., ICML 2024). The model needs a part ``velocity(x, time)``, as
    ``rectified_flow`` has. Where the task says what counts, the rest is left out.
    """

    def __init__(self, *, spread: float = 1.0) -> None:
        if spread <= 0:
            raise SettingError(f"'spread' of diffused is above 0, but it is {spread}.")
        self.spread = spread

    @staticmethod
    def example() -> tuple[nn.Module, Task, Batch]:
        """Give a small flow, a task and a batch."""
        task = task_answering("synthetic_image")
        network = registry.find("models", "rectified_flow")(1, 1, 2, channels=(8, 16), steps=2)
        return network, task, stack_samples([task.encode(task.example(seed)) for seed in range(6)])

    def __call__(self, model: nn.Module, task: Task, batch: Batch) -> dict[str, float]:
        del task  # its loss is that of the answer, which takes all steps
        velocity = getattr(model, "velocity", None)
        if not isinstance(velocity, nn.Module):
            raise SettingError(
                "The gradients 'diffused' need a model with a part 'velocity'. Choose --model rectified_flow."
            )
        if not batch.size:
            zero_gradients(model)
            return {}
        image = batch.target["image"].float()
        noise = torch.randn(image.shape).to(image)
        time = torch.sigmoid(self.spread * torch.randn(len(image))).to(image)
        at = time.view(-1, *[1] * (image.ndim - 1))
        given = network_arguments(model, batch.inputs)[1:]
        errors = (velocity((1 - at) * noise + at * image, time, *given).float() - (image - noise)).square()
        inside = batch.target.get("inside", torch.ones_like(image[:, :1]))
        loss = (errors * inside).sum() / (inside.sum() * image.shape[1]).clamp_min(1)
        loss.backward()
        return {"velocity": float(loss.detach())}


THIS = Diffused

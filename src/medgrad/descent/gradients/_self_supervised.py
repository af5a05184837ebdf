"""Shared by the methods that learn to denoise from noisy images alone."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ... import registry
from ...errors import SettingError
from ...tasks import Batch, Task, stack_samples


def example_of_noise() -> tuple[nn.Module, Task, Batch]:
    """Give a small network that answers images with images, a task and a batch of noisy images."""
    task = task_answering("image")
    network = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.SiLU(), nn.Conv2d(4, 1, 3, padding=1))
    return network, task, stack_samples([task.encode(task.example(seed)) for seed in range(6)])


def task_answering(kind: str) -> Task:
    """Give the first task in 2D whose answers are of a kind."""
    every = (registry.find("tasks", name)(dims=2) for name in registry.names("tasks"))
    return next(task for task in every if task.outputs.answer == kind)


def noisy_images(batch: Batch) -> Tensor:
    """Give the images of a batch, which are noisy and their own truth; raise where there are none."""
    if "image" not in batch.inputs:
        raise SettingError("Learning from noisy images alone needs images. Take the method out of [[gradients]].")
    return batch.inputs["image"].float()


def counted_elements(batch: Batch) -> Tensor:
    """Give where the images of a batch count, (b, 1, *shape): 1, or 0 where they were padded or lie outside a region.

    A task that does not say it has ``inside`` among its targets learns everywhere.
    """
    image = batch.inputs["image"]
    inside = batch.target.get("inside")
    return torch.ones_like(image[:, :1]) if inside is None else (inside > 0.5).to(image)


def zero_gradients(model: nn.Module) -> None:
    """Fill every gradient with 0, that of a batch without samples."""
    for p in model.parameters():
        p.grad = torch.zeros_like(p)


def check_image_output(output: Tensor, image: Tensor) -> Tensor:
    """Give an output as float32, or raise unless it is of the shape of the image."""
    if output.shape != image.shape:
        raise SettingError(
            f"Learning from noisy images alone needs a network that answers an image with one of its own shape, but "
            f"{tuple(image.shape)} became {tuple(output.shape)}. Use it with the task restoration."
        )
    return output.float()

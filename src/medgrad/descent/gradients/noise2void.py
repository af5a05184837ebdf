"""Noise2Void: learn to denoise from noisy images alone, by predicting elements that are hidden."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ...errors import SettingError
from ...tasks import Batch, Task, full_resolution, run_network
from ._self_supervised import check_image_output, counted_elements, example_of_noise, noisy_images, zero_gradients


class Noise2Void:
    """The mean square error where the network could not see: a ``share`` of the elements is hidden at every step.

    A hidden element shows the value of another one, up to ``reach`` elements away along each axis. What cannot be
    predicted from the surroundings is the noise, if it is independent from element to element; then no clean image
    is needed. Krull, Buchholz and Jug, CVPR 2019.
    """

    needs_clean_images = False

    def __init__(self, *, share: float = 0.03, reach: int = 2) -> None:
        if not 0 < share < 1:
            raise SettingError(f"'share' of noise2void lies between 0 and 1, but it is {share}.")
        if reach < 1:
            raise SettingError(f"'reach' of noise2void is at least 1, but it is {reach}.")
        self.share, self.reach = share, reach

    @staticmethod
    def example() -> tuple[nn.Module, Task, Batch]:
        """Give a small network, a task and a batch of noisy images."""
        return example_of_noise()

    def __call__(self, model: nn.Module, task: Task, batch: Batch) -> dict[str, float]:
        del task  # its truth is the noisy image
        if not batch.size:
            zero_gradients(model)
            return {}
        image, counted = noisy_images(batch), counted_elements(batch)
        hidden = (
            torch.rand(counted.shape).to(image) < self.share
        ).float() * counted  # drawn on the CPU: one machine, one result
        shown = torch.where(hidden > 0, swap_with_neighbours(image, self.reach), image)
        said = full_resolution(run_network(model, {**batch.inputs, "image": shown}))
        errors = (check_image_output(said, image) - image).square() * hidden
        loss = errors.sum() / (hidden.sum() * image.shape[1]).clamp_min(1)
        loss.backward()
        return {"hidden": float(loss.detach())}


def swap_with_neighbours(image: Tensor, reach: int) -> Tensor:
    """Give each element of (b, channels, *shape) the value of a random other one, at most ``reach`` away an axis."""
    dims = image.ndim - 2
    width = 2 * reach + 1
    chosen = torch.randint(width**dims - 1, image.shape[:1] + image.shape[2:])
    chosen = chosen + (chosen >= (width**dims) // 2)  # never the element itself
    index = torch.zeros(chosen.shape, dtype=torch.int64)
    for axis, size in enumerate(image.shape[2:]):
        steps = chosen // width ** (dims - 1 - axis) % width - reach
        here = torch.arange(size).view(-1, *[1] * (dims - 1 - axis))
        there = here + steps
        there = torch.where((there < 0) | (there >= size), here - steps, there).clamp(0, size - 1)
        index = index * size + there
    flat = index.flatten(1).unsqueeze(1).expand(-1, image.shape[1], -1).to(image.device)
    return image.flatten(2).gather(2, flat).view(image.shape)


THIS = Noise2Void

"""Neighbor2Neighbor: learn to denoise from noisy images alone, by one half of neighbours from the other."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ...errors import SettingError
from ...tasks import Batch, Task, full_resolution, run_network
from ._self_supervised import check_image_output, counted_elements, example_of_noise, noisy_images, zero_gradients


class Neighbor2Neighbor:
    """Of each cell of two elements an axis two neighbours are drawn: one for the image shown, one for its target.

    Both images are half as large and have the same signal, nearly, with independent noise. ``consistency`` is the
    weight of the second term, by which the signal may differ between neighbours as much as it does in the whole
    denoised image. Huang et al., CVPR 2021, equation 13.
    """

    needs_clean_images = False

    def __init__(self, *, consistency: float = 1.0) -> None:
        if consistency < 0:
            raise SettingError(f"'consistency' of neighbor2neighbor is at least 0, but it is {consistency}.")
        self.consistency = consistency

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
        one, other = draw_neighbours(image)
        with torch.no_grad():
            whole = check_image_output(full_resolution(run_network(model, {**batch.inputs, "image": image})), image)
        said = full_resolution(run_network(model, {**batch.inputs, "image": pick(image, one)}))
        apart = check_image_output(said, pick(image, one)) - pick(image, other)
        expected = pick(whole, one) - pick(whole, other)
        inside = pick(counted, one) * pick(counted, other)
        count = (inside.sum() * image.shape[1]).clamp_min(1)
        terms = {
            "neighbour": (apart.square() * inside).sum() / count,
            "consistency": self.consistency * ((apart - expected).square() * inside).sum() / count,
        }
        torch.stack(list(terms.values())).sum().backward()
        return {name: float(term.detach()) for name, term in terms.items()}


def draw_neighbours(image: Tensor) -> tuple[Tensor, Tensor]:
    """Draw two neighbours in each cell: the places (b, *cells) of both in their images, as flat numbers."""
    shape = image.shape[2:]
    axes = [axis for axis, size in enumerate(shape) if size > 1]
    cells = [size // 2 if axis in axes else 1 for axis, size in enumerate(shape)]
    corner = [torch.randint(2, (len(image), *cells)) if axis in axes else torch.zeros(1) for axis in range(len(shape))]
    turned = torch.randint(len(axes), (len(image), *cells))
    one, other = (torch.zeros((len(image), *cells), dtype=torch.int64) for _ in range(2))
    for axis, size in enumerate(shape):
        first = 2 * torch.arange(cells[axis]).view(-1, *[1] * (len(shape) - 1 - axis))
        step = corner[axis].long()
        away = (step != (turned == axes.index(axis)).long()).long() if axis in axes else step
        one, other = one * size + first + step, other * size + first + away
    return one.to(image.device), other.to(image.device)


def pick(image: Tensor, places: Tensor) -> Tensor:
    """Take the elements of (b, channels, *shape) at places (b, *cells): (b, channels, *cells)."""
    flat = places.flatten(1).unsqueeze(1).expand(-1, image.shape[1], -1)
    return image.flatten(2).gather(2, flat).view(*image.shape[:2], *places.shape[1:])


THIS = Neighbor2Neighbor

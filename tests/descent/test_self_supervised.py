"""Learning to denoise from noisy images alone: what is hidden, which neighbours are drawn, and what is learned."""

import numpy as np
import pytest
import torch
from torch import nn

from medgrad import registry
from medgrad.data import Case, Grid, Image
from medgrad.descent.gradients import build_gradients
from medgrad.descent.gradients.neighbor2neighbor import draw_neighbours, pick
from medgrad.descent.gradients.noise2void import swap_with_neighbours
from medgrad.engine.runs.recipe import Recipe
from medgrad.engine.training.plan import for_noisy_images
from medgrad.errors import SettingError
from medgrad.tasks import stack_samples

METHODS = [
    n for n in registry.names("descent.gradients")
    if not getattr(registry.find("descent.gradients", n), "needs_clean_images", True)
]  # fmt: skip


def places(*shape):
    """An image of which each element is its own place."""
    return torch.arange(float(np.prod(shape))).view(1, 1, *shape)


@pytest.mark.parametrize("shape", [(22, 19), (12, 13, 14)])
@pytest.mark.parametrize("reach", [1, 2])
def test_a_hidden_element_shows_another_one_nearby(shape, reach):
    torch.manual_seed(0)
    image = places(*shape)
    shown = swap_with_neighbours(image, reach)[0, 0].long()
    at = np.stack(np.unravel_index(shown.numpy(), shape)) - np.indices(shape)
    assert np.abs(at).max() == reach
    assert (np.abs(at).max(0) > 0).all(), "an element shows itself"
    inner = at[(slice(None), *[slice(reach, -reach)] * len(shape))].reshape(len(shape), -1)
    assert np.abs(inner.mean(1)).max() < 0.3


@pytest.mark.parametrize("shape", [(12, 9), (6, 7, 8), (8, 8, 1)])
def test_two_neighbours_of_a_cell_touch_and_are_two(shape):
    torch.manual_seed(0)
    image = places(*shape)
    one, other = (pick(image, drawn)[0, 0].long().numpy() for drawn in draw_neighbours(image))
    a, b = (np.stack(np.unravel_index(drawn, shape)) for drawn in (one, other))
    assert (np.abs(a - b).sum(0) == 1).all()
    cells = [s // 2 if s > 1 else 1 for s in shape]
    assert one.shape == tuple(cells)
    for axis, size in enumerate(shape):
        assert (a[axis] // 2 == b[axis] // 2).all()
        if size > 1:
            assert 0.3 < (a[axis] % 2).mean() < 0.7


@pytest.mark.parametrize("name", METHODS)
def test_noise_alone_is_learned_to_be_its_mean(name):
    """Of white noise around a ramp what can be learned is the ramp."""
    torch.manual_seed(0)
    task, rng = registry.find("tasks", "restoration")(dims=2), np.random.default_rng(0)
    ramp = np.linspace(0, 3, 32)[:, None] * np.ones((1, 32))
    images = [
        Image((ramp + rng.normal(0, 0.5, (32, 32))).astype(np.float32), Grid.from_shape((32, 32))) for _ in range(16)
    ]
    batch = stack_samples([task.encode(Case(str(i), {"image": image}, image)) for i, image in enumerate(images)])
    network = registry.find("models", "dncnn")(1, 1, 2, depth=4, width=16, normalise="none")
    rule, optimiser = build_gradients([{"name": name}]), torch.optim.Adam(network.parameters(), 3e-3)
    for _ in range(80):
        optimiser.zero_grad()
        rule(network, task, batch)
        optimiser.step()
    with torch.no_grad():
        error = (network.eval()(batch.inputs["image"]) - torch.from_numpy(ramp)).square().mean().sqrt()
    assert error < 0.25


@pytest.mark.parametrize("name", METHODS)
def test_what_is_outside_the_region_teaches_nothing(name):
    network, task, batch = registry.find("descent.gradients", name).example()
    batch.target["inside"][:] = 0
    rule = build_gradients([{"name": name}])
    told = rule(network, task, batch)
    assert sum(told.values()) == 0
    assert all(float(p.grad.abs().max()) == 0 for p in network.parameters())


@pytest.mark.parametrize("name", METHODS)
def test_a_network_that_answers_no_image_is_refused(name):
    _, task, batch = registry.find("descent.gradients", name).example()
    with pytest.raises(SettingError, match="restoration"):
        build_gradients([{"name": name}])(nn.Conv2d(1, 3, 1), task, batch)


@pytest.mark.parametrize("name", METHODS)
def test_nothing_degrades_images_that_are_noisy_as_they_are(name):
    recipe = Recipe(
        task={"kind": "restoration"},
        augment=({"name": "flip", "axes": (0,)}, {"name": "rician"}),
        gradients=({"name": name}, {"name": "clipped", "norm": 1.0}),
    )
    planned = for_noisy_images(recipe, {})
    assert [table["name"] for table in planned.augment] == ["flip"]
    assert planned.training.validations == 1
    assert for_noisy_images(recipe, {"augment": recipe.augment}).augment == recipe.augment
    plain = Recipe(augment=recipe.augment)
    assert for_noisy_images(plain, {}) == plain

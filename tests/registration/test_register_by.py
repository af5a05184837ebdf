"""A network that registers: what it says is brought into the world of both images, and gone on from."""

import numpy as np
import pytest
import torch

from medgrad.data import Grid, Image
from medgrad.data.cohorts.pair_truth import grid_centre
from medgrad.engine.compute.device import Compute
from medgrad.engine.runs.recipe import Inference, Recipe, Training
from medgrad.engine.runs.run import TrainedRun
from medgrad.errors import SettingError
from medgrad.prepare import build_steps
from medgrad.registration.register import RegistrationOptions, register
from medgrad.registration.with_network import register_with_network
from medgrad.tasks.registration import Registration

PUSH = torch.tensor([1.5, -2.0, 0.5])


class Pushes(torch.nn.Module):
    """Says of every image the same velocity."""

    def forward(self, x):
        n = x.ndim - 2
        return PUSH[:n].view(1, n, *[1] * n).expand(len(x), n, *x.shape[2:])


def trained(dims, shape, *, centred):
    task = Registration(dims=dims, diffeomorphic=True, centre_aligned=centred)
    prepare = ({"name": "reorient", "to": "RAS"},) if dims == 3 else ()
    steps = build_steps((*prepare, {"name": "common_grid"}))
    recipe = Recipe(task=task.settings(), training=Training(patch=shape), inference=Inference())
    return TrainedRun(task, (Pushes(),), tuple(steps), recipe, Compute("cpu", torch.float32))


def pair(dims, *, flipped=False, apart=0.0):
    rng = np.random.default_rng(0)
    shape = (24, 20, 28)[:dims]
    matrix = np.diag([*[1.0, 2.0, 1.5][:dims], 1.0])
    if flipped:
        matrix[0, 0] *= -1
    grids = []
    for shift in (0.0, apart):
        matrix = matrix.copy()
        matrix[:dims, dims] = shift
        grids.append(Grid(shape, tuple(map(tuple, matrix))))
    return [Image(rng.random(shape).astype(np.float32), g) for g in grids]


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("centred", [True, False])
def test_a_push_in_elements_is_one_in_the_world(dims, centred):
    fixed, moving = pair(dims, apart=40.0 if centred else 0.0)
    found = register_with_network(trained(dims, fixed.grid.shape, centred=centred), fixed, moving)
    points = fixed.grid.to_world(np.full((3, dims), 9.0) + np.arange(3)[:, None])
    want = points + PUSH[:dims].numpy() * fixed.grid.spacing + (40.0 if centred else 0.0)
    np.testing.assert_allclose(found.to_moving(points), want, atol=1e-3)


def test_an_image_that_lies_the_other_way_round_is_pushed_the_same_way_of_the_body():
    fixed, moving = pair(3, flipped=True)
    found = register_with_network(trained(3, fixed.grid.shape, centred=False), fixed, moving)
    point = grid_centre(fixed.grid)[None]
    np.testing.assert_allclose(found.to_moving(point) - point, PUSH[None].numpy() * fixed.grid.spacing, atol=1e-3)


def test_descent_goes_on_from_where_a_network_has_led():
    grid = Grid.from_shape((40, 40))
    at = np.stack(np.meshgrid(*[np.arange(40)] * 2, indexing="ij"), -1)
    blob = lambda c: np.exp(-((at - c) ** 2).sum(-1) / 30).astype(np.float32)  # noqa: E731
    fixed, moving = Image(blob((18, 20)), grid), Image(blob((20.5, 18)), grid)
    begun = register_with_network(trained(2, grid.shape, centred=False), fixed, moving)
    off = lambda t: np.linalg.norm(t.to_moving([[18.0, 20.0]]) - [[20.5, 18.0]])  # noqa: E731
    assert off(begun) == pytest.approx(1.0, abs=0.05)
    found = register(fixed, moving, initial=begun, similarity="mse")
    assert off(found.transform) < 0.6
    same = register(fixed, moving, initial=begun, options=RegistrationOptions(step_factor=0))
    np.testing.assert_allclose(same.transform.to_moving([[18.0, 20.0]]), begun.to_moving([[18.0, 20.0]]))


def test_a_run_of_another_kind_is_refused():
    from medgrad.tasks.segmentation import Segmentation

    fixed, moving = pair(2)
    run = trained(2, fixed.grid.shape, centred=False)
    other = TrainedRun(Segmentation(dims=2), run.networks, run.prepare_steps, run.recipe, run.compute)
    with pytest.raises(SettingError, match="made for segmentation"):
        register_with_network(other, fixed, moving)

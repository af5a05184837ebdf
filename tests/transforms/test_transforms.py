"""Transforms as models: they begin by moving nothing, learn what was done, and can be undone."""

import pytest
import torch

from medgrad import registry
from medgrad.regularity.gaussian import smoothed
from medgrad.transforms._linear import rotations
from medgrad.transforms._warp import compose, exponentiate, invert, jacobians, resized, warp

NAMES = registry.names("transforms")
LINEAR = [n for n in NAMES if n != "velocity"]
SHAPES = {2: (12, 15), 3: (10, 12, 9)}


def smooth(dims, size=0.8, seed=0):
    """Give a smooth displacement that ends at the edges."""
    made = torch.Generator().manual_seed(seed)
    knots = torch.zeros(1, dims, *(6,) * dims)
    inner = (..., *[slice(1, -1)] * dims)
    knots[inner] = size * torch.randn(knots[inner].shape, generator=made)
    return resized(knots, SHAPES[dims])


@pytest.fixture(params=[(n, d) for n in NAMES for d in (2, 3)], ids=lambda p: f"{p[0]}-{p[1]}D")
def model(request):
    name, dims = request.param
    return registry.find("transforms", name)(SHAPES[dims], spacing=(1.0, 2.0, 1.5)[:dims], count=2)


def test_fresh_weights_move_nothing(model):
    shape = SHAPES[len(model.velocity.shape) - 2] if hasattr(model, "velocity") else model.shape
    said = model(torch.rand(2, 1, *shape)).detach()
    assert said.shape == (2, len(shape), *shape)
    assert float(said.abs().max()) == 0


def test_every_weight_has_a_gradient(model):
    shape = SHAPES[len(model.velocity.shape) - 2] if hasattr(model, "velocity") else model.shape
    image = torch.rand(2, 1, *shape)
    warp(image, model(image)).square().mean().backward()
    assert all(p.grad.abs().max() > 0 for p in model.parameters())


@pytest.mark.parametrize("dims", [2, 3])
def test_a_rigid_map_keeps_lengths_where_elements_are_no_cubes(dims):
    spacing = torch.tensor((1.0, 2.0, 1.5)[:dims])
    model = registry.find("transforms", "rigid")(SHAPES[dims], spacing=spacing.tolist())
    with torch.no_grad():
        model.angles += 0.4
        model.shift += 0.1
    corner = [(0,) * dims, *[tuple(5 * (a == b) for b in range(dims)) for a in range(dims)]]
    said = model(torch.empty(1, 1, *SHAPES[dims]))[0].detach()
    ends = torch.stack([(torch.tensor(c) + said[(slice(None), *c)]) * spacing for c in corner])
    for axis in range(dims):
        assert float((ends[1 + axis] - ends[0]).norm()) == pytest.approx(5 * float(spacing[axis]), rel=1e-4)


def test_rotations_are_rotations():
    turns = rotations(torch.randn(5, 3, generator=torch.Generator().manual_seed(0)).double())
    torch.testing.assert_close(turns @ turns.mT, torch.eye(3).double().expand(5, 3, 3))
    torch.testing.assert_close(torch.linalg.det(turns), torch.ones(5).double())


@pytest.mark.parametrize("dims", [2, 3])
def test_going_on_is_going_where_the_first_leads(dims):
    shift = lambda by: torch.full((1, dims, *SHAPES[dims]), by)  # noqa: E731
    torch.testing.assert_close(compose(shift(1.0), shift(2.0)), shift(3.0))


@pytest.mark.parametrize("dims", [2, 3])
def test_the_flow_along_the_negative_velocity_leads_back(dims):
    velocity = smoothed(smooth(dims, 0.6), 1.0)
    there, back = exponentiate(velocity), exponentiate(-velocity)
    assert float(compose(there, back).abs().mean()) < 0.1 * float(there.abs().mean())
    assert float(jacobians(there).min()) > 0


@pytest.mark.parametrize("dims", [2, 3])
def test_the_inverse_leads_back(dims):
    way = smooth(dims, 0.2)
    assert float(compose(invert(way), way).abs().max()) < 1e-3


def test_small_steps_put_together_do_not_fold():
    model = registry.find("transforms", "velocity")((16, 16), every=1.0)
    made = torch.Generator().manual_seed(0)
    for _ in range(30):
        with torch.no_grad():
            model.velocity.copy_(0.5 * torch.randn(model.velocity.shape, generator=made) + 0.1)
        model.settle()
    way = model(torch.empty(1, 1, 16, 16)).detach()
    assert float(way.abs().max()) > 1
    assert float(jacobians(way).min()) > 0


def test_a_displacement_counts_in_the_elements_that_it_is_brought_to():
    way = torch.ones(1, 2, 5, 5)
    assert float(resized(way, (9, 9)).mean()) == pytest.approx(2)

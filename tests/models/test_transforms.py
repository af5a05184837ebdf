"""Transforms as models: they begin by moving nothing, learn what was done, and can be undone."""

import pytest
import torch
import torch.nn.functional as F

from medgrad import registry
from medgrad.losses.regularisers.gaussian import gaussian_smooth
from medgrad.models.transforms import exponentiate, jacobian_determinants, rotation_matrices, warp
from medgrad.models.transforms._linear import matrix_exponential
from medgrad.models.transforms._trilinear import Trilinear, can_sample_trilinear
from medgrad.models.transforms._warp import invert, resize_displacement, sampling_grid
from medgrad.models.transforms.velocity import cosine_basis, multiply_axes

NAMES = registry.names("models.transforms")
SHAPES = {2: (12, 15), 3: (10, 12, 9)}


def compose(first, second):
    """Give the displacement that goes where ``first`` leads and on where ``second`` leads from there."""
    return first + warp(second, first)


def smooth(dims, size=0.8, seed=0):
    """Give a smooth displacement that ends at the edges."""
    made = torch.Generator().manual_seed(seed)
    knots = torch.zeros(1, dims, *(6,) * dims)
    inner = (..., *[slice(1, -1)] * dims)
    knots[inner] = size * torch.randn(knots[inner].shape, generator=made)
    return resize_displacement(knots, SHAPES[dims])


@pytest.fixture(params=[(n, d) for n in NAMES for d in (2, 3)], ids=lambda p: f"{p[0]}-{p[1]}D")
def model(request):
    name, dims = request.param
    return registry.find("models.transforms", name)(SHAPES[dims], spacing=(1.0, 2.0, 1.5)[:dims], count=2)


def test_fresh_weights_move_nothing(model):
    shape = model.shape
    said = model(torch.rand(2, 1, *shape)).detach()
    assert said.shape == (2, len(shape), *shape)
    assert float(said.abs().max()) == 0


def test_every_weight_has_a_gradient(model):
    shape = model.shape
    image = torch.rand(2, 1, *shape)
    warp(image, model(image)).square().mean().backward()
    assert all(p.grad.abs().max() > 0 for p in model.parameters())


@pytest.mark.parametrize("dims", [2, 3])
def test_a_rigid_map_keeps_lengths_where_elements_are_no_cubes(dims):
    spacing = torch.tensor((1.0, 2.0, 1.5)[:dims])
    model = registry.find("models.transforms", "rigid")(SHAPES[dims], spacing=spacing.tolist())
    with torch.no_grad():
        model.angles += 2.0
        model.shift += 0.5
    corner = [(0,) * dims, *[tuple(5 * (a == b) for b in range(dims)) for a in range(dims)]]
    said = model(torch.empty(1, 1, *SHAPES[dims]))[0].detach()
    ends = torch.stack([(torch.tensor(c) + said[(slice(None), *c)]) * spacing for c in corner])
    for axis in range(dims):
        assert float((ends[1 + axis] - ends[0]).norm()) == pytest.approx(5 * float(spacing[axis]), rel=1e-4)


@pytest.mark.parametrize("size", [0.0, 0.3, 3.0, 20.0])
def test_the_exponential_is_that_of_torch_and_so_is_its_gradient(size):
    matrices = (size * torch.randn(3, 4, 4, generator=torch.Generator().manual_seed(0))).requires_grad_()
    if size > 3:
        matrices = (matrices - matrices.mT).detach().requires_grad_()  # a long turn
    weight = torch.rand(3, 4, 4, generator=torch.Generator().manual_seed(1))
    (ours,) = torch.autograd.grad((matrix_exponential(matrices) * weight).sum(), matrices)
    (theirs,) = torch.autograd.grad((torch.linalg.matrix_exp(matrices) * weight).sum(), matrices)
    torch.testing.assert_close(matrix_exponential(matrices), torch.linalg.matrix_exp(matrices), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(("samples", "channels"), [(1, 1), (2, 3)])
def test_large_volumes_are_looked_up_as_torch_does_with_the_same_gradient(samples, channels):
    made = torch.Generator().manual_seed(0)
    image = torch.rand(samples, channels, 28, 30, 26, generator=made)
    way = (4 * torch.randn(samples, 3, 28, 30, 26, generator=made)).requires_grad_()  # many lead out of the image
    weight = torch.rand(image.shape, generator=made)
    assert can_sample_trilinear(image, way)
    want = F.grid_sample(image, sampling_grid(way), align_corners=True, padding_mode="border")
    torch.testing.assert_close(warp(image, way), want, rtol=1e-4, atol=1e-5)
    ours, theirs = (torch.autograd.grad((x * weight).sum(), way)[0] for x in (warp(image, way), want))
    assert float(((ours - theirs).abs() > 1e-3).float().mean()) < 1e-4  # but where it leads onto an element


def test_volumes_are_looked_up_one_by_one_where_gradients_are_asked_for_of_each():
    image, way = torch.rand(3, 1, 1, 4, 5, 6), torch.rand(3, 1, 3, 4, 5, 6)

    def loss(way, image):
        return Trilinear.apply(image, way)[0].square().sum()

    each = torch.vmap(torch.func.grad(loss))(way, image)
    torch.testing.assert_close(each[1], torch.func.grad(loss)(way[1], image[1]))


def test_rotations_are_rotations():
    turns = rotation_matrices(torch.randn(5, 3, generator=torch.Generator().manual_seed(0)).double())
    torch.testing.assert_close(turns @ turns.mT, torch.eye(3).double().expand(5, 3, 3))
    torch.testing.assert_close(torch.linalg.det(turns), torch.ones(5).double())


@pytest.mark.parametrize("dims", [2, 3])
def test_going_on_is_going_where_the_first_leads(dims):
    shift = lambda by: torch.full((1, dims, *SHAPES[dims]), by)  # noqa: E731
    torch.testing.assert_close(compose(shift(1.0), shift(2.0)), shift(3.0))


@pytest.mark.parametrize("dims", [2, 3])
def test_the_flow_along_the_negative_velocity_leads_back(dims):
    velocity = gaussian_smooth(smooth(dims, 0.6), 1.0)
    there, back = exponentiate(velocity), exponentiate(-velocity)
    assert float(compose(there, back).abs().mean()) < 0.1 * float(there.abs().mean())
    assert float(jacobian_determinants(there).min()) > 0


@pytest.mark.parametrize("dims", [2, 3])
def test_the_inverse_leads_back(dims):
    way = smooth(dims, 0.2)
    assert float(compose(invert(way), way).abs().max()) < 1e-3


def filled(**settings):
    """Give a velocity of some waves, alike in mm whatever the settings."""
    model = registry.find("models.transforms", "velocity")((24, 28, 20), spacing=(1.0, 2.0, 1.5), **settings)
    waves = torch.zeros(1, 3, 4, 4, 4)
    made = torch.Generator().manual_seed(0)
    waves[..., 1:3, 1:3, 1:3] = 0.5 * torch.randn((1, 3, 2, 2, 2), generator=made)
    model.start_from(waves)
    return model


def test_the_flow_back_along_a_velocity_is_the_inverse():
    model = filled(knot_spacing=1.0)
    there, back = (model.flow(inverse=b).detach() / model.knot_mm for b in (False, True))
    inner = (..., *[slice(4, -4)] * 3)
    assert float(there.abs().max()) > 1
    assert float(compose(there, back)[inner].abs().mean()) < 0.05 * float(there[inner].abs().mean())
    assert float(jacobian_determinants(there).min()) > 0


def test_more_knots_and_squarings_come_to_the_same_flow():
    model = filled(knot_spacing=1.0)
    rough, fine = model.flow().detach(), model.flow(knots=[2 * k for k in model.knots], squarings=7).detach()
    averaged = torch.nn.functional.avg_pool3d(fine, 2)
    inner = (..., *[slice(3, -3)] * 3)
    assert float((averaged - rough)[inner].abs().mean()) < 0.05 * float(rough[inner].abs().mean())


@pytest.mark.parametrize("stiffness", [0.1, 10.0, 1000.0])
def test_a_velocity_made_stiffer_is_the_same_velocity(stiffness):
    model = filled()
    before = model.coefficients()
    model.set_stiffness(stiffness)
    torch.testing.assert_close(model.coefficients(), before)


def test_roughness_is_the_mean_square_of_the_slope():
    model = filled(knot_spacing=1.0, stiffness=3.0)
    samples = model.knots
    velocity = multiply_axes(model.coefficients(), [cosine_basis(k, 4 * k) for k in samples])
    step = [float(mm) / 4 for mm in model.knot_mm.flatten()]
    slopes = [velocity.diff(dim=a + 2).div(step[a]).square().sum(1).mean() for a in range(3)]
    assert float(model.roughness().detach()) == pytest.approx(3.0 * float(sum(slopes)) / 3, rel=0.05)


def test_a_linear_map_after_a_displacement_goes_where_both_lead():
    linear = registry.find("models.transforms", "affine")(SHAPES[2])
    with torch.no_grad():
        linear.logarithm += torch.tensor([[0.3, -0.2], [0.1, 0.4]])
        linear.shift += 0.3
    first = smooth(2, 0.3)
    whole = linear(torch.empty(1, 1, *SHAPES[2]))
    inner = (..., slice(2, -2), slice(2, -2))
    torch.testing.assert_close(linear.compose_after(first)[inner], compose(first, whole)[inner], atol=1e-4, rtol=1e-4)


def test_only_a_map_that_stretches_has_a_stretch():
    rigid, affine = (registry.find("models.transforms", n)(SHAPES[3]) for n in ("rigid", "affine"))
    with torch.no_grad():
        rigid.angles += 1.0
        affine.logarithm[0, 0, 0] = 0.2 / affine.weight_scale
    assert float(rigid.squared_log_stretch().detach()) == pytest.approx(0, abs=1e-5)
    assert float(affine.squared_log_stretch().detach()) == pytest.approx(0.04, rel=1e-4)


def test_a_displacement_counts_in_the_elements_that_it_is_brought_to():
    way = torch.ones(1, 2, 5, 5)
    assert float(resize_displacement(way, (9, 9)).mean()) == pytest.approx(2)

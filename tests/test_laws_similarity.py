"""What every measure of similarity and of smoothness keeps, run over the folder listings."""

import pytest
import torch

from medgrad import registry

NAMES = registry.names("losses.similarity")
SMOOTH = registry.names("losses.regularisers")


def blob(dims, shift=0.0, size=14, dtype=torch.float32):
    """Give a smooth picture of a few spots, the whole of it moved along the first axis."""
    at = torch.stack(torch.meshgrid(*[torch.arange(size, dtype=dtype)] * dims, indexing="ij"))
    image = torch.zeros((size,) * dims, dtype=dtype)
    for k, place in enumerate((4.0, 7.0, 10.0)):
        centre = torch.tensor([place + shift, *[(5.0, 9.0, 6.0)[(k + a) % 3] for a in range(dims - 1)]], dtype=dtype)
        image = image + (k + 1) * torch.exp(-(at - centre.view(-1, *[1] * dims)).square().sum(0) / 6)
    return image[None, None]


@pytest.fixture(params=[(n, d) for n in NAMES for d in (2, 3)], ids=lambda p: f"{p[0]}-{p[1]}D")
def measure(request):
    name, dims = request.param
    return registry.find("losses.similarity", name)(), dims


def test_an_image_is_most_like_itself(measure):
    cost, dims = measure
    there, near, far = (float(cost(blob(dims, s), blob(dims))) for s in (0.0, 1.0, 2.5))
    assert there < near < far


def test_what_counts_for_nothing_changes_nothing(measure):
    cost, dims = measure
    one, other = blob(dims), blob(dims, 1.0)
    weight = torch.ones_like(one)
    torch.testing.assert_close(cost(one, other, weight), cost(one, other))
    weight[:, :, :7] = 0
    assert float(cost(one, other, weight)) != pytest.approx(float(cost(one, other)))


def test_the_gradient_is_the_slope(measure):
    cost, dims = measure
    moved = blob(dims, 0.7, size=8, dtype=torch.float64).requires_grad_()
    fixed = blob(dims, size=8, dtype=torch.float64)
    low, high = moved.detach().aminmax()
    inner = (moved > low + 0.05 * (high - low)) & (moved < high - 0.05 * (high - low))  # what leaves the range as it is
    way = inner * torch.randn(moved.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    (slope,) = torch.autograd.grad(cost(moved, fixed), moved)
    step = 1e-6
    ends = [float(cost(moved.detach() + s * step * way, fixed)) for s in (1, -1)]
    assert float((slope * way).sum()) == pytest.approx((ends[0] - ends[1]) / (2 * step), rel=1e-3, abs=1e-7)


def test_a_batch_is_the_mean_of_its_samples(measure):
    cost, dims = measure
    one, other = torch.cat([blob(dims), blob(dims, 1.0)]), torch.cat([blob(dims, 2.0), blob(dims, 0.5)])
    each = torch.stack([cost(a[None], b[None]) for a, b in zip(one, other, strict=True)])
    torch.testing.assert_close(cost(one, other), each.mean())


def test_an_empty_image_is_no_nan(measure):
    cost, dims = measure
    empty = torch.zeros(1, 1, *(12,) * dims, requires_grad=True)
    value = cost(empty, torch.zeros(1, 1, *(12,) * dims))
    value.backward()
    assert value.isfinite()
    assert empty.grad.isfinite().all()


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("name", SMOOTH)
def test_what_moves_as_one_costs_nothing(name, dims):
    cost = registry.find("losses.regularisers", name)()
    still = torch.full((1, dims, *(8,) * dims), 2.0)
    rough = torch.randn(still.shape, generator=torch.Generator().manual_seed(0))
    assert float(cost(still)) == pytest.approx(0, abs=1e-9)
    assert float(cost(rough)) > float(cost(rough / 2)) > 0


@pytest.mark.parametrize("name", ["lncc", "mutual_information", "mind"])
def test_brighter_all_over_is_the_same_image(name):
    cost = registry.find("losses.similarity", name)()
    grain = 0.1 * torch.rand(1, 1, 14, 14, generator=torch.Generator().manual_seed(0))
    one, other = blob(2) + grain, blob(2, 1.0) + grain
    inside = torch.zeros_like(one)
    inside[..., 4:-4, 4:-4] = 1
    torch.testing.assert_close(cost(3 * one + 1, other, inside), cost(one, other, inside), rtol=2e-3, atol=2e-4)

"""Laws that every augmentation keeps."""

import numpy as np
import pytest
import torch

from medgrad import registry
from medgrad.augment import augment
from medgrad.augment.spatial import Spatial

NAMES = registry.names("augment")
MOVES = {"labels": "labels", "values": "values", "points": "points"}
SHAPES = {2: (24, 20), 3: (16, 12, 14)}


def sample(dims, b=4, seed=0):
    torch.manual_seed(seed)
    shape = SHAPES[dims]
    targets = {
        "labels": torch.randint(0, 3, (b, *shape)),
        "values": torch.randn(b, 2, *shape),
        "points": torch.rand(b, 5, dims) * 6 + 4,
        "class": torch.arange(b),
    }
    return torch.randn(b, 2, *shape), targets


def always(name):
    make = registry.find("augment", name)
    return make(share=1.0) if "share" in registry.keyword_defaults(make) else make()


@pytest.fixture(params=[(n, d) for n in NAMES for d in (2, 3)], ids=lambda p: f"{p[0]}-{p[1]}D")
def step_and_dims(request):
    return always(request.param[0]), request.param[1]


def run(step, dims, seeds=range(4), b=4):
    inputs, targets = sample(dims, b)
    return augment(inputs, targets, MOVES, steps=[step], seeds=[(s,) for s in seeds])


def test_changes_something_and_keeps_shapes(step_and_dims):
    step, dims = step_and_dims
    inputs, targets = sample(dims)
    new, moved = run(step, dims)
    assert new.shape == inputs.shape
    assert {k: v.shape for k, v in moved.items()} == {k: v.shape for k, v in targets.items()}
    assert not torch.equal(new, inputs)
    assert new.isfinite().all()


def test_alters_nothing_that_it_is_given(step_and_dims):
    step, dims = step_and_dims
    inputs, targets = sample(dims)
    before = inputs.clone(), {k: v.clone() for k, v in targets.items()}
    augment(inputs, targets, MOVES, steps=[step], seeds=[(s,) for s in range(4)])
    assert torch.equal(inputs, before[0])
    assert all(torch.equal(targets[k], before[1][k]) for k in targets)


def test_labels_stay_labels(step_and_dims):
    step, dims = step_and_dims
    _, moved = run(step, dims)
    assert moved["labels"].dtype == torch.int64
    assert set(moved["labels"].unique().tolist()) <= {-1, 0, 1, 2}


def test_what_does_not_move_stays(step_and_dims):
    step, dims = step_and_dims
    _, moved = run(step, dims)
    assert moved["class"].tolist() == [0, 1, 2, 3]


def test_a_sample_looks_the_same_in_any_company(step_and_dims):
    step, dims = step_and_dims
    inputs, targets = sample(dims)
    whole, _ = augment(inputs, targets, MOVES, steps=[step], seeds=[(s,) for s in range(4)])
    alone, _ = augment(inputs[2:3], {k: v[2:3] for k, v in targets.items()}, MOVES, steps=[step], seeds=[(2,)])
    torch.testing.assert_close(whole[2:3], alone, rtol=1e-4, atol=1e-4)


def test_the_seed_decides(step_and_dims):
    step, dims = step_and_dims
    assert torch.equal(run(step, dims)[0], run(step, dims)[0])
    assert not torch.equal(run(step, dims)[0], run(step, dims, seeds=range(50, 54))[0])


def test_landmarks_land_where_the_image_shows_them(step_and_dims):
    """An image whose value is its own coordinate: at the landed point it must read where the landmark was."""
    step, dims = step_and_dims
    if step.__class__.__module__.rpartition(".")[2] not in ("spatial", "flip"):
        pytest.skip("it does not move anything")
    shape = (40,) * dims
    here = torch.stack(torch.meshgrid(*[torch.arange(s, dtype=torch.float64) for s in shape], indexing="ij"))
    points = torch.rand(3, 6, dims, dtype=torch.float64) * 14 + 13
    inputs = here.expand(3, -1, *shape).float()
    if isinstance(step, Spatial):
        step = Spatial(p=1.0, degrees=10, scale=0.1, shift=0.03, elastic=0.5, knots=4)
    new, moved = augment(
        inputs, {"points": points.float()}, {"points": "points"}, steps=[step], seeds=[(s,) for s in range(3)]
    )
    for image, landed, was in zip(new, moved["points"], points, strict=True):
        for at, before in zip(landed, was, strict=True):
            inside = [min(max(float(v), 0), s - 1) for v, s in zip(at, shape, strict=True)]
            read = interpolate(image, inside)
            assert np.abs(read - before.numpy()).max() < 1e-3 + 2e-3 * isinstance(step, Spatial)


def interpolate(image, at):
    low = [min(int(v), s - 2) for v, s in zip(at, image.shape[1:], strict=True)]
    total = 0.0
    for corner in np.ndindex(*(2,) * len(at)):
        weight = np.prod([(v - a) if c else 1 - (v - a) for v, a, c in zip(at, low, corner, strict=True)])
        total = total + weight * image[(slice(None), *[a + c for a, c in zip(low, corner, strict=True)])].numpy()
    return total


def test_a_quarter_turn_is_known():
    image = torch.zeros(1, 1, 5, 5)
    image[0, 0, 0, 2] = 1
    step = Spatial(p=1.0, degrees=0, scale=0, shift=0, elastic=0)
    drawn = {k: torch.from_numpy(np.asarray(v)[None]) for k, v in step.draw(np.random.default_rng(0), (5, 5)).items()}
    drawn["matrix"] = torch.tensor([[[0.0, -1.0], [1.0, 0.0]]])
    turned, _ = step.apply(image, {}, drawn, {})
    assert turned[0, 0].argmax() == 2 * 5 + 4 or turned[0, 0].argmax() == 2 * 5 + 0

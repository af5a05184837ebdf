"""The features of regions, beside sampling each point."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from plain_boxes import random_boxes

from medgrad.models.boxes import roi_align


def by_points(features, boxes, batch, size, samples):
    """Sample every point of every bin with ``grid_sample`` and average them."""
    shape, dims = features.shape[2:], features.ndim - 2
    points = []
    for box in boxes:
        axes = []
        for axis in range(dims):
            steps = (torch.arange(size[axis] * samples, dtype=boxes.dtype) + 0.5) / (size[axis] * samples)
            axes.append((box[axis] + steps * (box[dims + axis] - box[axis])) / max(shape[axis] - 1, 1) * 2 - 1)
        points.append(torch.stack(torch.meshgrid(*axes, indexing="ij")[::-1], dim=-1))
    found = F.grid_sample(features[batch], torch.stack(points), padding_mode="border", align_corners=True)
    return (F.avg_pool2d if dims == 2 else F.avg_pool3d)(found, samples)


def drawn(seed, dims, k=40, length=10.0):
    rng = np.random.default_rng(seed)
    shape = tuple(rng.integers(5, 12, dims).tolist())
    features = torch.from_numpy(rng.normal(size=(3, 4, *shape)))
    boxes = torch.from_numpy(random_boxes(seed, k, dims, size=length)) - 1
    return features, boxes, torch.from_numpy(rng.integers(0, 3, k))


@pytest.mark.parametrize("samples", [1, 2, 3])
@pytest.mark.parametrize("length", [2.0, 10.0])
@pytest.mark.parametrize(("dims", "size"), [(2, (7, 5)), (3, (3, 4, 2))])
def test_values_and_gradients_are_those_of_sampling_each_point(dims, size, length, samples):
    for seed in range(4):
        features, boxes, batch = drawn(seed, dims, length=length)
        one, two = features.clone().requires_grad_(), features.clone().requires_grad_()
        found, want = (
            roi_align(one, boxes, batch, size=size, samples=samples),
            by_points(two, boxes, batch, size, samples),
        )
        torch.testing.assert_close(found, want)
        pull = torch.randn_like(want)
        (found * pull).sum().backward()
        (want * pull).sum().backward()
        torch.testing.assert_close(one.grad, two.grad)


@pytest.mark.parametrize("dims", [2, 3])
def test_a_box_around_each_element_gives_the_features_back(dims):
    features = torch.randn(1, 3, *(4, 5, 6)[:dims])
    shape = features.shape[2:]
    box = torch.tensor([[-0.5] * dims + [s - 0.5 for s in shape]])
    torch.testing.assert_close(roi_align(features, box, torch.tensor([0]), size=shape, samples=1), features)


def test_a_slope_is_met_in_the_middle_of_each_bin():
    features = torch.arange(8.0).expand(1, 1, 6, 8)
    found = roi_align(features, torch.tensor([[1.0, 1.0, 4.0, 5.0]]), torch.tensor([0]), size=(1, 2))
    assert found.flatten().tolist() == [2.0, 4.0]


def test_no_box_is_no_region():
    features = torch.randn(2, 3, 4, 4, requires_grad=True)
    found = roi_align(features, torch.zeros(0, 4), torch.zeros(0, dtype=torch.long), size=(7, 7))
    assert found.shape == (0, 3, 7, 7)
    found.sum().backward()


def test_one_element_along_an_axis_goes_on():
    features = torch.randn(1, 2, 1, 5)
    found = roi_align(features, torch.tensor([[-3.0, 0.0, 3.0, 4.0]]), torch.tensor([0]), size=(2, 1))
    assert torch.equal(found[:, :, 0], found[:, :, 1])


def test_half_precision_comes_back_as_it_came():
    features, boxes, batch = drawn(0, 2, length=2.0)
    half = features.bfloat16().requires_grad_()
    found = roi_align(half, boxes, batch, size=(5, 5))
    found.sum().backward()
    assert found.dtype == half.grad.dtype == torch.bfloat16
    torch.testing.assert_close(found.double(), roi_align(features, boxes, batch, size=(5, 5)), atol=0.05, rtol=0.05)


def test_mixed_precision_around_it_changes_nothing():
    features, boxes, batch = drawn(0, 2, length=2.0)
    one, two = features.float().requires_grad_(), features.float().requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        roi_align(one, boxes, batch, size=(5, 5)).square().sum().backward()
    roi_align(two, boxes, batch, size=(5, 5)).square().sum().backward()
    assert torch.equal(one.grad, two.grad)


def test_a_few_regions_at_a_time_are_all_regions(monkeypatch):
    features, boxes, batch = drawn(0, 3, length=2.0)
    one, two = features.clone().requires_grad_(), features.clone().requires_grad_()
    roi_align(one, boxes, batch, size=(4, 4, 4)).square().sum().backward()
    monkeypatch.setattr("medgrad.models.boxes._window.MAX_NUMBERS", 1000)
    roi_align(two, boxes, batch, size=(4, 4, 4)).square().sum().backward()
    torch.testing.assert_close(one.grad, two.grad)

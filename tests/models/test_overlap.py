"""How much boxes have in common, beside a reference that counts by hand."""

import math

import numpy as np
import pytest
import torch
from plain_boxes import by_hand, random_boxes

from medgrad.models.boxes import giou, iou, matched_overlap, volumes

KINDS = ("iou", "giou", "diou", "ciou")


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("kind", KINDS)
def test_every_measure_is_that_by_hand(kind, dims):
    a, b = random_boxes(0, 2000, dims), random_boxes(1, 2000, dims)
    found = matched_overlap(kind, torch.from_numpy(a), torch.from_numpy(b))
    np.testing.assert_allclose(found.numpy(), [by_hand(kind, p, q) for p, q in zip(a, b, strict=True)], atol=1e-9)


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("kind", KINDS)
def test_a_box_has_all_in_common_with_itself(kind, dims):
    boxes = torch.from_numpy(random_boxes(2, 500, dims))
    assert torch.equal(matched_overlap(kind, boxes, boxes), torch.ones(500, dtype=torch.float64))


@pytest.mark.parametrize("dims", [2, 3])
def test_all_pairs_are_each_pair(dims):
    a, b = (torch.from_numpy(random_boxes(i, n, dims)) for i, n in ((3, 40), (4, 30)))
    for every, kind in ((iou, "iou"), (giou, "giou")):
        each = torch.stack([matched_overlap(kind, p.expand_as(b), b) for p in a])
        assert torch.equal(every(a, b), each)


def test_batches_of_boxes_go_through():
    a, b = torch.rand(5, 7, 4), torch.rand(5, 9, 4)
    assert iou(a, b).shape == (5, 7, 9)
    assert iou(a[:, :0], b).shape == (5, 0, 9)
    assert volumes(torch.zeros(0, 6)).shape == (0,)


@pytest.mark.parametrize("dims", [2, 3])
def test_boxes_that_touch_share_nothing(dims):
    a = torch.tensor([[0.0] * dims + [1.0] * dims])
    assert float(iou(a, a + torch.tensor([1.0] + [0.0] * (dims - 1) + [1.0] + [0.0] * (dims - 1)))) == 0.0


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("kind", KINDS)
def test_empty_and_reversed_boxes_give_no_nan(kind, dims):
    point, whole = [1.0] * 2 * dims, [0.0] * dims + [2.0] * dims
    flat = [0.0] * dims + [2.0] * (dims - 1) + [0.0]
    turned = [2.0] * dims + [0.0] * dims
    every = [point, whole, flat, turned, [0.0] * 2 * dims]
    a = torch.tensor([p for p in every for _ in every], requires_grad=True)
    b = torch.tensor([q for _ in every for q in every], requires_grad=True)
    found = matched_overlap(kind, a, b)
    found.sum().backward()
    assert all(t.isfinite().all() for t in (found, a.grad, b.grad))


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("kind", KINDS[:3])
def test_gradients_are_those_of_small_steps(kind, dims):
    a, b = (torch.from_numpy(random_boxes(i, 20, dims)).requires_grad_() for i in (5, 6))
    assert torch.autograd.gradcheck(lambda p, q: matched_overlap(kind, p, q), (a, b))


def test_boxes_apart_are_drawn_together():
    b = torch.tensor([[5.0, 5.0, 8.0, 9.0]])
    for kind in KINDS[1:]:
        a = torch.tensor([[0.0, 0.0, 3.0, 2.0]], requires_grad=True)
        before = matched_overlap(kind, a, b)
        before.sum().backward()
        assert matched_overlap(kind, a.detach() + 0.05 * a.grad / a.grad.norm(), b).item() > before.item()


def test_half_precision_is_computed_in_more():
    a = torch.tensor([[0.0, 0.0, 0.0, 300.0, 300.0, 300.0]], dtype=torch.float16)
    assert float(volumes(a)) == math.prod([300.0] * 3)


def test_an_unknown_measure_is_refused():
    with pytest.raises(ValueError, match="siou"):
        matched_overlap("siou", torch.zeros(1, 4), torch.zeros(1, 4))

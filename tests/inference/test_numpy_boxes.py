"""What numpy says of boxes is what torch says of them."""

import numpy as np
import pytest
import torch

from medgrad.data.box_overlap import iou, volumes
from medgrad.data.box_suppression import nms
from medgrad.models.boxes import overlap, suppress


def scattered(seed, n, dims):
    rng = np.random.default_rng(seed)
    low = rng.uniform(0, 20, (n, dims))
    scores = rng.choice([0.2, 0.5, 0.9], n) if seed % 2 else rng.random(n)
    return np.concatenate([low, low + rng.uniform(-1, 12, (n, dims))], 1).astype(np.float32), scores.astype(np.float32)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("dims", [2, 3])
def test_the_same_boxes_are_left_in_the_same_order(seed, dims):
    corners, scores = scattered(seed, 300, dims)
    labels = np.random.default_rng(seed).integers(0, 3, 300)
    ours = nms(corners, scores, overlap=0.3, labels=labels)
    theirs = suppress.nms(*map(torch.from_numpy, (corners, scores)), iou_threshold=0.3, labels=torch.from_numpy(labels))
    assert ours.tolist() == theirs.tolist()
    assert len(nms(corners, scores, overlap=0.3)) < len(ours) < 300


def test_boxes_share_what_they_share():
    corners, _ = scattered(0, 40, 3)
    found = iou(corners, corners)
    np.testing.assert_allclose(found, overlap.iou(*[torch.from_numpy(corners)] * 2).numpy(), atol=1e-6)
    assert volumes(np.array([[0, 0, 2, 3.0], [1, 1, 0, 5]])).tolist() == [6, 0]


def test_nothing_is_left_of_nothing():
    assert nms(np.zeros((0, 4)), np.zeros(0)).tolist() == []

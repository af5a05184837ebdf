"""Suppression and fusion, beside plain loops."""

import math

import numpy as np
import pytest
import torch
from plain_boxes import by_hand, random_boxes

from medgrad.models.boxes import iou, nms, soft_nms, weighted_box_fusion


def slow_nms(boxes, scores, overlap, labels=None):
    order = sorted(range(len(boxes)), key=lambda i: (-scores[i], i))
    kept = []
    for i in order:
        rivals = [k for k in kept if labels is None or labels[k] == labels[i]]
        if all(by_hand("iou", boxes[k], boxes[i]) <= overlap for k in rivals):
            kept.append(i)
    return kept


def slow_soft(boxes, scores, overlap, sigma, way, least):
    scores, left, kept = [float(s) for s in scores], list(range(len(boxes))), []
    while left:
        best = min(left, key=lambda i: (-scores[i], i))
        if scores[best] < least:
            break
        left.remove(best)
        kept.append((best, scores[best]))
        for i in left:
            shared = by_hand("iou", boxes[best], boxes[i])
            if way == "gaussian":
                scores[i] *= math.exp(-(shared**2) / sigma)
            elif shared > overlap:
                scores[i] *= 1 - shared
    return kept


def slow_fuse(boxes, scores, labels, models, overlap, count):
    clusters = []
    for i in sorted(range(len(boxes)), key=lambda i: (-scores[i], i)):
        best, most = None, overlap
        for cluster in clusters:
            shared = by_hand("iou", cluster["box"], boxes[i])
            if cluster["label"] == labels[i] and shared > most:
                best, most = cluster, shared
        if best is None:
            best = {"label": labels[i], "in": []}
            clusters.append(best)
        best["in"].append(i)
        best["box"] = np.average(boxes[best["in"]], axis=0, weights=scores[best["in"]])
    for c in clusters:
        c["score"] = scores[c["in"]].mean() * len({models[i] for i in c["in"]}) / count
    return sorted(clusters, key=lambda c: -c["score"])


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("n", [1, 2, 5, 20, 60])
def test_what_is_kept_is_what_a_plain_loop_keeps(n, dims):
    for seed in range(6):
        rng = np.random.default_rng(seed)
        boxes, scores = random_boxes(seed, n, dims), np.round(rng.random(n), 1)  # many scores are equal
        labels, overlap = rng.integers(0, 3, n), float(rng.choice([0.0, 0.1, 0.3, 0.5]))
        given = torch.from_numpy(boxes), torch.from_numpy(scores)
        assert nms(*given, iou_threshold=overlap).tolist() == slow_nms(boxes, scores, overlap)
        found = nms(*given, iou_threshold=overlap, labels=torch.from_numpy(labels))
        assert found.tolist() == slow_nms(boxes, scores, overlap, labels)


@pytest.mark.parametrize("dims", [2, 3])
def test_more_boxes_than_a_block_are_kept_alike(dims):
    boxes, scores = random_boxes(0, 1300, dims, size=60.0), np.random.default_rng(0).random(1300)
    one = torch.from_numpy(boxes), torch.from_numpy(scores)
    kept = nms(*one, iou_threshold=0.05).tolist()
    shared = iou(one[0], one[0]) > 0.05
    plain, gone = [], set()
    for i in np.argsort(-scores, kind="stable").tolist():
        if i not in gone:
            plain.append(i)
            gone |= set(shared[i].nonzero()[:, 0].tolist())
    assert kept == plain


def test_nothing_in_is_nothing_out():
    for dims in (2, 3):
        none = torch.zeros(0, 2 * dims)
        assert nms(none, torch.zeros(0)).shape == (0,)
        assert [t.shape[0] for t in soft_nms(none, torch.zeros(0), iou_threshold=0.5, sigma=0.5)] == [0, 0]
        whole = torch.zeros(0, dtype=torch.long)
        boxes, scores, labels = weighted_box_fusion(none, torch.zeros(0), whole, whole, n_models=2)
        assert (boxes.shape, scores.shape, labels.shape) == ((0, 2 * dims), (0,), (0,))


def test_of_equal_boxes_the_first_stays():
    boxes = torch.tensor([[0.0, 0, 4, 4]]).repeat(7, 1)
    assert nms(boxes, torch.full((7,), 0.5)).tolist() == [0]
    assert nms(boxes, torch.full((7,), 0.5), labels=torch.tensor([0, 1, 0, 1, 2, 2, 2])).tolist() == [0, 1, 4]


def test_boxes_that_touch_or_hold_nothing_suppress_nothing():
    boxes = torch.tensor([[0.0, 0, 2, 2], [2, 0, 4, 2], [1, 1, 1, 1], [1, 1, 1, 1]])
    assert nms(boxes, torch.tensor([0.4, 0.3, 0.2, 0.1]), iou_threshold=0.0).tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("way", ["gaussian", "linear"])
def test_lowered_scores_are_those_of_a_plain_loop(way, dims):
    for seed in range(15):
        n = (1, 4, 30)[seed % 3]
        boxes, scores = random_boxes(seed, n, dims), np.random.default_rng(seed).random(n)
        kept, found = soft_nms(
            torch.from_numpy(boxes), torch.from_numpy(scores), iou_threshold=0.2, sigma=0.4, method=way, min_score=0.1
        )
        want = slow_soft(boxes, scores, 0.2, 0.4, way, 0.1)
        assert kept.tolist() == [i for i, _ in want]
        np.testing.assert_allclose(found.numpy(), [s for _, s in want], atol=1e-12)


def test_scores_given_are_not_altered():
    scores = torch.tensor([0.9, 0.8])
    soft_nms(torch.tensor([[0.0, 0, 4, 4], [0, 0, 4, 4]]), scores, iou_threshold=0.5, sigma=0.5)
    assert scores.tolist() == pytest.approx([0.9, 0.8])


def test_labels_keep_scores_apart():
    boxes = torch.tensor([[0.0, 0, 4, 4]]).repeat(2, 1)
    _, scores = soft_nms(boxes, torch.tensor([0.9, 0.8]), iou_threshold=0.5, sigma=0.5, labels=torch.tensor([0, 1]))
    assert scores.tolist() == pytest.approx([0.9, 0.8])


@pytest.mark.parametrize("dims", [2, 3])
def test_fused_boxes_are_those_of_a_plain_loop(dims):
    for seed in range(25):
        rng = np.random.default_rng(seed)
        objects = random_boxes(seed, 6, dims)
        boxes = np.concatenate([objects + rng.normal(0, 0.3, objects.shape) for _ in range(4)])
        scores, labels, models = rng.random(24), np.tile(rng.integers(0, 2, 6), 4), np.repeat(np.arange(4), 6)
        given = (torch.from_numpy(v) for v in (boxes, scores, labels, models))
        found, said, kinds = weighted_box_fusion(*given, iou_threshold=0.4, n_models=4)
        want = slow_fuse(boxes, scores, labels, models, 0.4, 4)
        np.testing.assert_allclose(found.numpy(), [c["box"] for c in want], atol=1e-9)
        np.testing.assert_allclose(said.numpy(), [c["score"] for c in want], atol=1e-9)
        assert kinds.tolist() == [c["label"] for c in want]


def test_what_one_of_two_models_sees_counts_half():
    box = torch.tensor([[0.0, 0, 4, 4]])
    _, scores, _ = weighted_box_fusion(box, torch.tensor([0.8]), torch.tensor([0]), torch.tensor([1]), n_models=2)
    assert scores.tolist() == pytest.approx([0.4])

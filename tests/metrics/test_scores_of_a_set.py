"""Figures of classification, against scikit-learn and by hand."""

import time
import warnings

import numpy as np
import pytest

from medgrad import metrics
from medgrad.metrics import auroc, ece, thresholded

ALL = ["thresholded", "auroc", "average_precision", "brier", "ece"]


def drawn(n, k, seed=0, digits=2):
    rng = np.random.default_rng(seed)
    truth = np.eye(k)[rng.integers(0, k, n)]
    odds = np.exp(rng.normal(size=(n, k)) + 1.2 * truth)
    probabilities = odds / odds.sum(axis=1, keepdims=True)
    if k == 2:
        probabilities[:, 1] = np.round(probabilities[:, 1], digits)
        probabilities[:, 0] = 1 - probabilities[:, 1]
    return truth, probabilities, tuple(f"c{i}" for i in range(k))


@pytest.mark.parametrize("k", [2, 3, 5])
def test_exclusive_classes_are_judged_as_by_scikit_learn(k):
    from sklearn import metrics as sk

    truth, p, names = drawn(120, k)
    row = metrics.judge_set(ALL, truth, p, names=names)
    y, said = truth.argmax(1), p.argmax(1)
    assert row["accuracy"] == pytest.approx(sk.accuracy_score(y, said))
    assert row["balanced_accuracy"] == pytest.approx(sk.balanced_accuracy_score(y, said))
    for name, function in (("precision", sk.precision_score), ("recall", sk.recall_score), ("f1", sk.f1_score)):
        assert row[name] == pytest.approx(function(y, said, average="macro", zero_division=0))
        each = function(y, said, average=None, zero_division=0)
        assert [row[f"{name}/{n}"] for n in names] == pytest.approx(list(each))
    if k == 2:
        assert row["auroc"] == pytest.approx(sk.roc_auc_score(y, p[:, 1]))
        assert row["average_precision"] == pytest.approx(sk.average_precision_score(y, p[:, 1]))
        assert row["brier"] == pytest.approx(sk.brier_score_loss(y, p[:, 1]))
    else:
        assert row["auroc"] == pytest.approx(sk.roc_auc_score(y, p, multi_class="ovr"))
        assert row["average_precision"] == pytest.approx(sk.average_precision_score(truth, p))
        assert row["brier"] == pytest.approx(((p - truth) ** 2).sum(1).mean())
    assert thresholded.confusion_matrix(truth, p) == sk.confusion_matrix(y, said).tolist()


def test_labels_that_can_hold_together_are_judged_as_by_scikit_learn():
    from sklearn import metrics as sk

    rng = np.random.default_rng(1)
    truth = (rng.random((90, 4)) < 0.3).astype(float)
    p = np.clip(np.round(0.5 * rng.random((90, 4)) + 0.4 * truth, 2), 0, 1)
    row = metrics.judge_set(ALL, truth, p, names=list("abcd"), exclusive=False)
    assert row["auroc"] == pytest.approx(sk.roc_auc_score(truth, p))
    assert row["average_precision"] == pytest.approx(sk.average_precision_score(truth, p))
    assert row["f1"] == pytest.approx(sk.f1_score(truth, p >= 0.5, average="macro"))
    assert row["accuracy"] == pytest.approx(1 - sk.hamming_loss(truth, p >= 0.5))
    assert row["brier/b"] == pytest.approx(sk.brier_score_loss(truth[:, 1], p[:, 1]))


def test_a_ranking_by_hand():
    truth = np.array([0.0, 1, 0, 1])
    value = auroc.auroc(np.array([0.1, 0.4, 0.4, 0.8]), truth, np.ones((1, 4)))
    assert value.tolist() == [0.875]


def test_confidence_above_the_share_that_is_right_is_the_calibration_error():
    truth, confidence = np.array([1.0, 1, 1, 0]), np.full(4, 0.95)
    assert ece.ece(confidence, truth, np.ones((1, 4))).tolist() == pytest.approx([0.2])


def test_gaps_of_both_signs_in_different_bins_do_not_cancel():
    assert ece.ece(np.array([0.9, 0.6]), np.array([0.0, 1.0]), np.ones((1, 2))).tolist() == pytest.approx([0.65])


def test_one_class_alone_has_no_ranking():
    row = metrics.judge_set(ALL, np.tile([0.0, 1], (4, 1)), np.tile([0.3, 0.7], (4, 1)), names=("a", "b"))
    assert (row["auroc"], row["average_precision"], row["balanced_accuracy"]) == (None, None, None)
    assert row["accuracy"] == 1.0


def test_a_class_that_is_never_found_has_no_precision_to_hide_behind():
    truth = np.eye(2)[[0, 0, 1]]
    row = metrics.judge_set(["thresholded"], truth, np.tile([0.9, 0.1], (3, 1)), names=("a", "b"))
    assert row["precision/b"] == 0.0
    assert row["f1/b"] == 0.0


def test_two_thousand_resamples_of_800_rows_take_seconds_at_most():
    truth, p, names = drawn(800, 3)
    counts = np.random.default_rng(0).multinomial(800, np.full(800, 1 / 800), 2000).astype(float)
    start = time.process_time()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = metrics.judge_set_many(ALL, truth, p, counts, names=names)
    assert time.process_time() - start < 10
    assert all(len(v) == 2000 for v in found.values())

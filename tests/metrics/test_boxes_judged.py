"""Figures of boxes: by hand, beside plain loops, and beside COCO's own."""

import contextlib
import io
import time

import numpy as np
import pytest

from medgrad import metrics
from medgrad.data.box_overlap import iou
from medgrad.data.types import Boxes
from medgrad.metrics._boxes import match_at_thresholds

NAMES = {0: "a", 1: "b", 2: "c"}


def case(seed, *, objects=6, answers=12, dims=2, kinds=3):
    rng = np.random.default_rng(seed)
    low = rng.uniform(0, 60, (objects, dims))
    truth = Boxes(
        np.concatenate([low, low + rng.uniform(5, 25, (objects, dims))], 1),
        rng.integers(0, kinds, objects),
        None,
        NAMES,
    )
    which = rng.integers(0, max(objects, 1), answers)
    corners = (truth.corners if objects else rng.uniform(0, 5, (1, 2 * dims)))[which] + rng.normal(
        0, 2.5, (answers, 2 * dims)
    )
    corners[:, dims:] = np.maximum(corners[:, dims:], corners[:, :dims] + 0.5)
    labels = np.where(rng.random(answers) < 0.8, truth.labels[which] if objects else 0, rng.integers(0, kinds, answers))
    return truth, Boxes(corners, labels, rng.random(answers), NAMES)


def plain_precision(cases, label, level):
    """Average precision by loops: sort all answers, match, and walk down the list."""
    listed, objects = [], 0
    for truth, answer in cases:
        mine, said = truth.corners[truth.labels == label], answer.labels == label
        objects += len(mine)
        order = np.argsort(-answer.scores[said], kind="stable")
        free = set(range(len(mine)))
        for corners, score in zip(answer.corners[said][order], answer.scores[said][order], strict=True):
            shared = {i: float(iou(corners[None], mine[i : i + 1])[0, 0]) for i in free}
            best = max(shared, key=shared.get, default=None)
            hit = best is not None and shared[best] >= level
            free -= {best} if hit else set()
            listed.append((score, hit))
    if not objects:
        return None
    listed.sort(key=lambda p: -p[0])
    right = np.cumsum([h for _, h in listed])
    precision, recall = right / np.arange(1, len(listed) + 1), right / objects
    return np.mean([max(precision[recall >= r], default=0.0) for r in np.linspace(0, 1, 101)])


@pytest.mark.parametrize("dims", [2, 3])
def test_average_precision_is_that_of_a_plain_walk(dims):
    cases = [case(seed, dims=dims, objects=seed % 5) for seed in range(10)]
    found = metrics.pool(["ap"], [metrics.judge(["ap"], *c) for c in cases])
    for level in (0.1, 0.3, 0.5, 0.75):
        for label, name in NAMES.items():
            assert found[f"ap@{level}/{name}"] == pytest.approx(plain_precision(cases, label, level), abs=1e-12)


def by_coco(cases, most):
    """Judge with pycocotools."""
    coco = pytest.importorskip("pycocotools.coco")
    evaluation = pytest.importorskip("pycocotools.cocoeval")
    truths, answers = [], []
    for image, (truth, answer) in enumerate(cases, 1):
        for where, boxes in ((truths, truth), (answers, answer)):
            for i, (c, label) in enumerate(zip(boxes.corners.tolist(), boxes.labels.tolist(), strict=True)):
                box = [c[1], c[0], c[3] - c[1], c[2] - c[0]]
                one = {"image_id": image, "category_id": label + 1, "bbox": box, "area": box[2] * box[3], "iscrowd": 0}
                score = {} if boxes.scores is None else {"score": float(boxes.scores[i])}
                where.append({**one, **score, "id": len(where) + 1})
    with contextlib.redirect_stdout(io.StringIO()):
        known = coco.COCO()
        known.dataset = {
            "images": [{"id": i + 1} for i in range(len(cases))],
            "categories": [{"id": k + 1} for k in NAMES],
            "annotations": truths,
            "info": {},
        }
        known.createIndex()
        judge = evaluation.COCOeval(known, known.loadRes(answers), "bbox")
        judge.params.maxDets = [1, 10, most]
        judge.params.areaRng, judge.params.areaRngLbl = [[0, 1e10]], ["all"]
        judge.params.iouThrs = np.concatenate([[0.1, 0.2, 0.3, 0.4], np.linspace(0.5, 0.95, 10)])
        judge.evaluate()
        judge.accumulate()
    return judge.eval["precision"][:, :, :, 0, 2]  # (levels, recalls, labels)


@pytest.mark.peer
@pytest.mark.parametrize("many", [False, True])
def test_average_precision_is_that_of_coco(many):
    for seed in range(3 if many else 12):
        size = {"objects": 120, "answers": 700} if many else {}
        rng = np.random.default_rng(seed)
        cases = [
            case(100 * seed + i, **size or {"objects": int(rng.integers(0, 9)), "answers": int(rng.integers(0, 20))})
            for i in range(10)
        ]
        theirs = by_coco(cases, 1000).mean(axis=1)
        found = metrics.pool(["ap"], [metrics.judge(["ap"], *c) for c in cases])
        for i, word in ((0, "0.1"), (1, "0.2"), (2, "0.3"), (3, "0.4"), (4, "0.5"), (9, "0.75")):
            assert found[f"map@{word}"] == pytest.approx(theirs[i][theirs[i] > -1].mean(), abs=1e-6)
            assert [found[f"ap@{word}/{n}"] for n in NAMES.values()] == pytest.approx(
                [None if v < 0 else v for v in theirs[i]], abs=1e-6
            )
        assert found["map"] == pytest.approx(theirs[4:, theirs[0] > -1].mean(), abs=1e-6)


def test_an_answer_may_hit_at_a_high_overlap_and_not_at_a_low_one():
    shared = np.array([[0.3, 0.45], [0.0, 0.6]])  # at 0.1 the first takes the second object, the second gets none
    found = match_at_thresholds(shared, (0.1, 0.5))
    assert found.tolist() == [[True, False], [False, True]]
    truth = Boxes(np.array([[0, 0, 10, 10.0]]), np.array([0]), None, {0: "a"})
    answer = Boxes(np.array([[0, 0, 10, 6.0], [0, 0, 10, 9]]), np.array([0, 0]), np.array([0.9, 0.8]), {0: "a"})
    row = metrics.judge(["ap"], truth, answer)
    assert row["prob/a"] == "0.9:0.6 0.8:0.65+0.7+0.75+0.8+0.85+0.9+"
    assert (row["ap@0.5/a"], row["ap@0.75/a"]) == (1.0, 0.5)


def test_an_answer_where_there_is_nothing_lowers_the_set():
    truth, empty = case(0)[0], Boxes(np.zeros((0, 4)), np.zeros(0, int), None, NAMES)
    wrong = Boxes(np.array([[0, 0, 5, 5.0]]), np.array([0]), np.array([2.0]), NAMES)
    right = metrics.judge(["ap", "froc", "box_counts"], truth, truth)
    lone = metrics.judge(["ap", "froc", "box_counts"], empty, wrong)
    assert lone["ap@0.5/a"] is None
    found = metrics.pool(["ap", "froc", "box_counts"], [right, lone])
    assert found["ap@0.5/a"] < 1
    assert found["sensitivity@0.125fp/a"] == 0.0
    assert found["sensitivity@0.5fp/a"] == 1.0
    assert found["box_false_positives/a"] == 0.5


def test_a_label_that_no_case_has_is_not_counted():
    truth = Boxes(np.array([[0, 0, 5, 5.0]]), np.array([1]), None, NAMES)
    found = metrics.pool(["ap", "froc", "box_counts"], [metrics.judge(["ap", "froc", "box_counts"], truth, truth)])
    assert (found["ap/a"], found["cpm/a"], found["box_sensitivity/a"]) == (None, None, None)
    assert (found["map"], found["cpm"]) == (1.0, 1.0)


def test_labels_are_matched_by_name():
    truth = Boxes(np.array([[0, 0, 5, 5.0]]), np.array([0]), None, {0: "b", 1: "a"})
    answer = Boxes(truth.corners, np.array([1]), np.array([0.7]), {0: "a", 1: "b"})
    assert metrics.judge(["ap"], truth, answer)["ap/b"] == 1.0


def test_sensitivity_at_false_positives_by_hand():
    centre = np.array([[10, 10, 10], [50, 50, 50.0]])
    truth = Boxes(np.concatenate([centre - 4, centre + 4], 1), np.array([0, 0]), None, {0: "nodule"})
    at = np.array([[10, 10, 13.9], [10, 10, 9], [30, 30, 30], [50, 50, 54.1], [50, 50, 48], [80, 80, 80]], float)
    scores = np.array([0.9, 0.8, 0.7, 0.6, 0.5, 0.4])
    answer = Boxes(np.concatenate([at - 1, at + 1], 1), np.zeros(6, int), scores, {0: "nodule"})
    row = metrics.judge(["froc"], truth, answer)
    assert row["froc/nodule"] == "0.9:1 0.8:- 0.7:0 0.6:0 0.5:1 0.4:0"
    four = [row, *[metrics.judge(["froc"], *(Boxes(np.zeros((0, 6)), np.zeros(0, int), None, {0: "nodule"}),) * 2)] * 3]
    found = metrics.pool(["froc"], four)  # false positives a case: 0, then 1/4, 1/2 before the second hit, 3/4 after
    assert [found[f"sensitivity@{r}fp/nodule"] for r in ("0.125", "0.25", "0.5", "1")] == [0.5, 0.5, 1.0, 1.0]
    assert found["cpm"] == pytest.approx(6 / 7)


def test_between_answers_of_one_score_the_curve_goes_straight():
    truth = Boxes(np.array([[0, 0, 5, 5.0]]), np.array([0]), None, {0: "a"})
    answer = Boxes(np.array([[0, 0, 5, 5.0], [20, 20, 25, 25]]), np.array([0, 0]), np.array([0.5, 0.5]), {0: "a"})
    row = metrics.judge(["froc"], truth, answer)
    assert (row["sensitivity@0.25fp/a"], row["sensitivity@1fp/a"]) == (0.25, 1.0)


def test_one_answer_between_two_objects_may_find_both():
    truth = Boxes(np.array([[0, 0, 10, 10.0], [4, 0, 14, 10]]), np.array([0, 0]), None, {0: "a"})
    answer = Boxes(np.array([[2, 0, 12, 10.0]]), np.array([0]), np.array([0.5]), {0: "a"})
    row = metrics.judge(["froc"], truth, answer)
    assert (row["froc/a"], row["cpm/a"]) == ("0.5:2", 1.0)


def test_counts_are_of_what_is_said_with_confidence():
    truth = Boxes(np.array([[0, 0, 10, 10.0], [30, 30, 40, 40]]), np.array([0, 0]), None, {0: "a"})
    corners = np.array([[0, 0, 10, 9.0], [0, 1, 10, 10], [60, 60, 70, 70], [30, 30, 40, 40]])
    row = metrics.judge(
        ["box_counts"], truth, Boxes(corners, np.zeros(4, int), np.array([0.9, 0.8, 0.5, 0.49]), {0: "a"})
    )
    assert (row["boxes_answered/a"], row["boxes_right/a"], row["count_error/a"]) == (3.0, 1.0, 1.0)
    assert (row["box_sensitivity/a"], row["box_precision/a"], row["box_false_positives/a"]) == (0.5, 1 / 3, 2.0)


def test_a_thousand_resamples_take_seconds():
    rows = [metrics.judge(["ap", "froc"], *case(seed, objects=20, answers=100, kinds=1)) for seed in range(20)]
    weights = np.random.default_rng(0).multinomial(20, [0.05] * 20, 1000).astype(float)
    start = time.process_time()
    metrics.pool_many(["ap", "froc"], rows, weights)
    assert time.process_time() - start < 8

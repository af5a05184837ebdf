"""Figures of anomaly maps: known values, what is beside them, and what does not count."""

import numpy as np
import pytest

from medgrad import metrics
from medgrad.data import AnomalyMap, Grid, LabelMap
from medgrad.metrics.image_auroc import image_score

GRID = Grid.from_shape((2, 4))
NAMES = ("element_auroc", "element_average_precision", "image_auroc", "normal_error")


def judged(truth, said, **more):
    maps = [AnomalyMap(np.array(a, np.float32).reshape(2, 4), GRID) for a in (truth, said)]
    return metrics.judge(NAMES, *maps, **more)


def test_known_values():
    row = judged([0, 0, 0, 0, 0, 0, 1, 1], [1, 1, 1, 1, 1, 9, 8, 10])
    assert row["element_auroc"] == pytest.approx(11 / 12)
    assert row["element_average_precision"] == pytest.approx(0.5 + 0.5 * 2 / 3)
    assert (row["abnormal"], row["score"], row["normal_error"]) == (1, 10, None)


def test_a_normal_image_has_an_error_and_no_figure_of_elements():
    row = judged([0] * 8, [3] * 8)
    assert row == {
        "element_auroc": None, "element_average_precision": None, "abnormal": 0, "score": 3, "normal_error": 3,
    }  # fmt: skip


def test_what_lies_outside_the_region_does_not_count():
    region = LabelMap(np.array([[1, 1, 1, 1], [1, 0, 0, 1]]), GRID)
    row = judged([0, 0, 0, 0, 0, 0, 1, 1], [1, 1, 1, 1, 1, 99, 0, 10], region=region)
    assert (row["element_auroc"], row["score"]) == (1, 10)


def test_what_is_not_finite_counts_as_normal():
    assert judged([0] * 7 + [1], [1] * 7 + [np.nan])["element_auroc"] == 0


def test_the_gain_is_over_images_that_have_both():
    rows = [
        {"element_auroc": 0.9, "element_auroc_zscore": 0.7},
        {"element_auroc": 0.5, "element_auroc_zscore": 0.5},
        {"element_auroc": 0.0},
    ]
    found = metrics.pool(["element_auroc"], rows)
    assert found["element_auroc"] == pytest.approx(1.4 / 3)
    assert found["element_auroc_gain"] == pytest.approx(0.1)


def test_images_are_ranked_by_their_scores():
    rows = [
        {"abnormal": 0, "score": 1.0, "score_zscore": 2.0},
        {"abnormal": 1, "score": 3.0, "score_zscore": 1.0},
        {"abnormal": 0, "score": 2.0, "score_zscore": 0.0},
    ]
    found = metrics.pool(["image_auroc"], rows)
    assert (found["image_auroc"], found["image_auroc_zscore"], found["image_auroc_gain"]) == (1, 0.5, 0.5)
    assert metrics.pool(["image_auroc"], rows[:1])["image_auroc"] is None


def test_a_score_is_the_mean_of_the_largest_thousandth():
    assert image_score(np.arange(4000.0)) == pytest.approx(3997.5)
    assert image_score(np.zeros(0)) == 0

"""Overlap, sizes, lesions and pixels, by hand."""

import numpy as np
import pytest

from medgrad import metrics, registry
from medgrad.data.grid import Grid
from medgrad.data.types import LabelMap

ON_LABELS = [n for n in registry.names("metrics") if registry.find("metrics", n).input_kind == "labels"]


def flat(rows, names=None, **grid):
    array = np.array(rows, np.uint8)
    return LabelMap(array, Grid.from_shape(array.shape, **grid), names or {1: "a"})


def test_dice_of_half_an_overlap():
    row = metrics.judge(["dice", "iou"], flat([[1, 1, 0]]), flat([[0, 1, 1]]))
    assert row["dice/a"] == 0.5
    assert row["iou/a"] == pytest.approx(1 / 3)


def test_a_label_absent_from_both_does_not_count_for_dice_but_as_agreed():
    row = metrics.judge(["dice"], flat([[0, 0]]), flat([[0, 0]]))
    assert row == {"dice/a": None, "dice/mean": None, "empty_agreed/a": 1.0}


def test_an_invented_label_counts_as_zero():
    row = metrics.judge(["dice", "hd95", "nsd"], flat([[0, 0, 0], [0, 0, 0]]), flat([[1, 0, 0], [0, 0, 0]]))
    assert (row["dice/a"], row["empty_agreed/a"], row["nsd/a"]) == (0.0, 0.0, 0.0)
    assert row["hd95/a"] == pytest.approx(5**0.5)


def test_the_mean_is_over_the_labels_that_are_there():
    names = {1: "a", 2: "b", 3: "c"}
    row = metrics.judge(["dice"], flat([[1, 2]], names), flat([[1, 0]], names))
    assert (row["dice/a"], row["dice/b"], row["dice/c"], row["dice/mean"]) == (1.0, 0.0, None, 0.5)


def test_a_label_that_nobody_named_is_judged_by_its_number():
    row = metrics.judge(["dice"], flat([[1, 7]]), flat([[1, 7]]))
    assert row["dice/7"] == 1.0


def test_a_failed_case_counts_as_nothing_found_even_where_the_truth_is_empty():
    row = metrics.judge_failed(["dice", "hd95", "pixel_confusion"], flat([[0, 0, 0, 0]], spacing=(1, 2)))
    assert (row["dice/a"], row["empty_agreed/a"], row["hd95/a"], row["f1/a"]) == (0.0, 0.0, 6.0, 0.0)


def test_sizes_are_told_in_the_unit_of_the_grid():
    cube = LabelMap(np.ones((10, 10, 10), np.uint8), Grid.from_shape((10, 10, 10), spacing=(1, 1, 2)), {1: "a"})
    less = LabelMap(cube.array * (np.arange(10) < 5), cube.grid, cube.names)
    assert metrics.judge(["volume_error"], cube, less) == {
        "volume_error/a": 0.5,
        "volume_error/mean": 0.5,
        "volume_bias_ml/a": pytest.approx(-1.0),
    }
    assert "size_bias_px/a" in metrics.judge(["volume_error"], *[flat([[1]], has_spacing=False)] * 2)
    assert metrics.judge(["volume_error"], flat([[1, 0]]), flat([[1, 1]]))["area_bias_mm2/a"] == 1.0


def test_lesions_are_counted_with_diagonals_as_one():
    truth = flat([[1, 0, 0, 0, 1], [0, 1, 0, 0, 1]])
    answer = flat([[1, 0, 0, 0, 0], [0, 0, 0, 1, 0]])
    row = metrics.judge(["lesions"], truth, answer)
    assert row["lesion_count/a"] == 2.0
    assert row["lesion_sensitivity/a"] == 0.5
    assert row["lesion_false_positives/a"] == 1.0
    assert row["lesion_f1/a"] == 0.5


def test_an_answer_that_barely_touches_a_large_lesion_has_not_found_it():
    truth = flat([[1] * 20])
    assert metrics.judge(["lesions"], truth, flat([[1] + [0] * 19]))["lesion_sensitivity/a"] == 0.0
    assert metrics.judge(["lesions"], truth, flat([[1, 1] + [0] * 18]))["lesion_sensitivity/a"] == 1.0


def test_lesions_of_a_set_are_pooled_and_false_positives_are_a_case():
    rows = [
        metrics.judge(["lesions"], flat([[1, 0, 1, 0, 1]]), flat([[1, 0, 0, 0, 0]])),
        metrics.judge(["lesions"], flat([[0, 0, 0, 0, 1]]), flat([[1, 0, 1, 0, 1]])),
    ]
    pooled = metrics.pool(["lesions"], rows)
    assert pooled["lesion_sensitivity/a"] == 0.5
    assert pooled["lesion_false_positives/a"] == 1.0
    assert pooled["lesion_f1/a"] == 0.5


def test_pixels_are_pooled_over_cases_and_counted_inside_the_region():
    big, small = flat([[1, 1, 1, 1, 0, 0]]), flat([[1, 0]])
    seen = LabelMap(np.array([[1, 1, 1, 1, 1, 0]], np.uint8), big.grid)
    rows = [
        metrics.judge(["pixel_confusion"], big, flat([[1, 1, 1, 0, 0, 1]]), region=seen),
        metrics.judge(["pixel_confusion"], small, flat([[0, 1]])),
    ]
    assert rows[0]["f1/a"] == pytest.approx(6 / 7)
    assert rows[0]["specificity/a"] == 1.0
    pooled = metrics.pool(["pixel_confusion"], rows)
    assert pooled["f1/a"] == pytest.approx(6 / 9)
    assert pooled["sensitivity/a"] == pytest.approx(3 / 5)
    assert pooled["specificity/a"] == pytest.approx(1 / 2)


def test_a_mean_over_rows_leaves_out_what_is_not_defined():
    rows = [{"dice/a": 1.0, "hd95/a": 3.0}, {"dice/a": None}, {"dice/a": 0.5}]
    assert metrics.pool(["dice"], rows) == {"dice/a": 0.75}


def test_an_unknown_number_has_no_unit_and_no_bounds():
    assert (metrics.unit_of("mystery"), metrics.value_range("mystery"), metrics.worst_value("mystery")) == (
        "",
        None,
        None,
    )


def test_resampled_sets_are_pooled_as_if_their_rows_stood_there_twice():
    rows = [
        metrics.judge(ON_LABELS, flat([[1, 0, 1, 0]]), flat([[1, 0, 0, 0]])),
        metrics.judge(ON_LABELS, flat([[0, 0, 0, 0]]), flat([[0, 0, 0, 0]])),
        metrics.judge(ON_LABELS, flat([[0, 0, 1, 1]]), flat([[1, 0, 1, 1]])),
    ]
    many = metrics.pool_many(ON_LABELS, rows, np.array([[2.0, 0, 1], [0, 3, 0]]))
    for b, again in enumerate(([0, 0, 2], [1, 1, 1])):
        one = metrics.pool(ON_LABELS, [rows[i] for i in again])
        assert {n: v[b] for n, v in many.items()} == pytest.approx(
            {n: np.nan if v is None else v for n, v in one.items()}, nan_ok=True
        )

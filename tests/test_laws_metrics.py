"""What every metric keeps, run over the folder listing."""

import numpy as np
import pytest

from medgrad import metrics, registry
from medgrad.data.grid import Grid
from medgrad.data.types import Boxes, Deformation, Image, LabelMap, Landmarks, Pair
from medgrad.engine.evaluation.compare import parse_cell

NAMES = registry.names("metrics")
ON_LABELS = [n for n in NAMES if registry.find("metrics", n).input_kind == "labels"]
ON_SCORES = [n for n in NAMES if registry.find("metrics", n).input_kind == "scores"]
ON_BOXES = [n for n in NAMES if registry.find("metrics", n).input_kind == "boxes"]
ON_FIELD = [n for n in NAMES if registry.find("metrics", n).input_kind == "field"]


def blobs(seed, shape=(12, 14, 6), names=("a", "b")):
    rng = np.random.default_rng(seed)
    array = np.zeros(shape, np.uint8)
    for label in range(1, len(names) + 1):
        corner = [rng.integers(0, s // 2) for s in shape]
        array[tuple(slice(c, c + s // 3) for c, s in zip(corner, shape, strict=True))] = label
    return LabelMap(array, Grid.from_shape(shape, spacing=(1.0, 1.5, 3.0)[: len(shape)]), dict(enumerate(names, 1)))


def scored(seed, n=60, k=3):
    rng = np.random.default_rng(seed)
    truth = np.eye(k)[rng.integers(0, k, n)]
    odds = np.exp(rng.normal(size=(n, k)) + truth)
    return truth, odds / odds.sum(axis=1, keepdims=True), tuple("abcdefg"[:k])


def boxes(seed, n=12, dims=2, names=("a", "b")):
    rng = np.random.default_rng(seed)
    low = rng.uniform(0, 80, (n, dims))
    corners = np.concatenate([low, low + rng.uniform(4, 20, (n, dims))], axis=1)
    return Boxes(corners, rng.integers(0, len(names), n), None, dict(enumerate(names)))


def answered(truth, seed, *, extra=6):
    """An answer that is near the truth here and there."""
    rng = np.random.default_rng(seed)
    dims = truth.corners.shape[1] // 2
    more = boxes(seed + 1000, extra, dims)
    corners = np.concatenate([truth.corners + rng.normal(0, 2, truth.corners.shape), more.corners])
    swapped = np.concatenate([np.minimum(corners[:, :dims], corners[:, dims:] - 0.1), corners[:, dims:]], axis=1)
    labels = np.concatenate([truth.labels, more.labels])
    return Boxes(swapped, labels, np.round(rng.random(len(labels)), 1), truth.names)


def as_text(row):
    """Write a row as the table of cases does, and read it back."""
    texts = {n: "" if v is None else str(v) for n, v in row.items()}
    return {n: parse_cell(v) for n, v in texts.items()}


@pytest.mark.parametrize("name", NAMES)
def test_every_figure_says_what_it_is(name):
    for figure in registry.find("metrics", name).figures.values():
        assert len(figure.definition) > 10
        assert figure.definition.endswith(".")


@pytest.mark.parametrize("name", ON_LABELS)
def test_every_number_on_labels_has_a_meaning(name):
    row = metrics.judge([name], blobs(0), blobs(1))
    assert row
    assert [n for n in row if metrics.figure_of(n) is None] == []


@pytest.mark.parametrize("name", ON_LABELS)
def test_a_perfect_answer_gets_the_best_of_each_figure(name):
    truth = blobs(0)
    for figure, value in metrics.judge([name], truth, truth).items():
        best = {"higher": 1.0, "lower": 0.0}.get(metrics.better_direction(figure))
        if metrics.value_range(figure) or metrics.better_direction(figure) == "lower":
            assert value in (None, pytest.approx(best))


@pytest.mark.parametrize("name", ON_LABELS)
def test_no_answer_is_worse_than_a_failed_case(name):
    truth, answer = blobs(0), blobs(1)
    good, failed = metrics.judge([name], truth, answer), metrics.judge_failed([name], truth)
    for figure, value in good.items():
        if metrics.worst_value(figure, truth.grid) is not None and value is not None:
            assert (value >= failed[figure]) if metrics.better_direction(figure) == "higher" else True
            assert (value <= failed[figure]) if name in ("hd95", "assd") else True


@pytest.mark.parametrize("name", ON_LABELS)
def test_an_absent_label_is_never_nan(name):
    empty = LabelMap(np.zeros((5, 6), np.uint8), Grid.from_shape((5, 6)), {1: "a"})
    for value in metrics.judge([name], empty, empty).values():
        assert value is None or np.isfinite(value)


@pytest.mark.parametrize("name", ON_LABELS)
def test_what_lies_outside_the_region_does_not_count(name):
    truth, answer = blobs(0), blobs(1)
    inside = np.zeros(truth.grid.shape, np.uint8)
    inside[:8] = 1
    cut = [LabelMap(m.array * inside, m.grid, m.names) for m in (truth, answer)]
    region = LabelMap(inside, truth.grid)
    assert metrics.judge([name], truth, answer, region=region) == metrics.judge([name], *cut, region=region)


@pytest.mark.parametrize("name", ON_LABELS)
def test_a_flat_image_without_spacing_is_judged_too(name):
    truth, answer = blobs(0, (12, 14)), blobs(1, (12, 14))
    flat = [LabelMap(m.array, Grid.from_shape((12, 14), has_spacing=False), m.names) for m in (truth, answer)]
    assert metrics.judge([name], *flat)


@pytest.mark.parametrize("name", ON_LABELS)
def test_maps_of_different_shape_are_refused(name):
    with pytest.raises(ValueError, match="shape"):
        metrics.judge([name], blobs(0), blobs(0, (12, 14, 7)))


@pytest.mark.parametrize("name", ON_LABELS)
def test_maps_at_different_places_are_refused(name):
    truth = blobs(0)
    moved = LabelMap(truth.array, Grid.from_shape(truth.grid.shape, spacing=(1, 1.5, 3), origin=(5, 0, 0)), truth.names)
    with pytest.raises(ValueError, match="different places"):
        metrics.judge([name], truth, moved)


@pytest.mark.parametrize("name", ON_SCORES)
@pytest.mark.parametrize("exclusive", [True, False])
def test_every_number_on_scores_has_a_meaning(name, exclusive):
    truth, probabilities, names = scored(0)
    row = metrics.judge_set([name], truth, probabilities, names=names, exclusive=exclusive)
    assert row
    assert [n for n in row if metrics.figure_of(n) is None] == []


@pytest.mark.parametrize("name", ON_SCORES)
@pytest.mark.parametrize("exclusive", [True, False])
@pytest.mark.parametrize("k", [1, 2, 3])
def test_weights_are_the_same_as_repeated_rows(name, exclusive, k):
    truth, probabilities, names = scored(1, k=max(k, 2))
    truth, probabilities, names = truth[:, :k], np.round(probabilities[:, :k], 2), names[:k]
    if exclusive and k == 1:
        exclusive = False
    weights = np.random.default_rng(0).integers(0, 3, (2, len(truth))).astype(float)
    many = metrics.judge_set_many([name], truth, probabilities, weights, names=names, exclusive=exclusive)
    for b, counts in enumerate(weights):
        again = np.repeat(np.arange(len(truth)), counts.astype(int))
        row = metrics.judge_set([name], truth[again], probabilities[again], names=names, exclusive=exclusive)
        assert {n: v[b] for n, v in many.items()} == pytest.approx(row)


@pytest.mark.parametrize("name", ON_SCORES)
def test_places_change_all_figures_on_scores_but_those_that_go_by_order(name):
    truth, probabilities, names = scored(3)
    rows = [{f"prob/{n}": v for n, v in zip(names, row, strict=True)} for row in np.round(probabilities, 2)]
    said, places = (
        np.array([[r[f"prob/{n}"] for n in names] for r in each]) for each in (rows, metrics.rank_scores(rows))
    )
    before, after = (metrics.judge_set([name], truth, s, names=names, exclusive=False) for s in (said, places))
    for figure, value in before.items():
        assert (after[figure] == pytest.approx(value)) == metrics.rank_only(figure), figure


@pytest.mark.parametrize("name", ON_SCORES)
def test_a_set_of_one_class_gives_none_and_no_nan(name):
    truth = np.tile([1.0, 0.0], (5, 1))
    probabilities = np.tile([0.6, 0.4], (5, 1))
    for value in metrics.judge_set([name], truth, probabilities, names=("a", "b")).values():
        assert value is None or np.isfinite(value)


@pytest.mark.parametrize("name", ON_SCORES)
def test_logits_are_refused(name):
    with pytest.raises(ValueError, match="logits"):
        metrics.judge_set([name], np.eye(2), np.array([[3.0, -3], [-1, 1]]), names=("a", "b"))


@pytest.mark.parametrize("name", ON_SCORES)
def test_two_true_classes_of_exclusive_ones_are_refused(name):
    with pytest.raises(ValueError, match="exclusive=False"):
        metrics.judge_set([name], np.ones((2, 2)), np.full((2, 2), 0.5), names=("a", "b"))


@pytest.mark.parametrize("name", ON_BOXES)
def test_every_number_on_boxes_has_a_meaning(name):
    truth = boxes(0)
    row = metrics.judge([name], truth, answered(truth, 1))
    pooled = metrics.pool([name], [row, row])
    assert row
    assert pooled
    assert [n for n in (*row, *pooled) if metrics.figure_of(n) is None] == []


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("name", ON_BOXES)
def test_the_truth_as_answer_gets_the_best_of_each_figure(name, dims):
    rows = [metrics.judge([name], b, b) for b in (boxes(seed, n, dims) for seed, n in enumerate((0, 1, 30, 200)))]
    for figures in (*rows, metrics.pool([name], rows)):
        for figure, value in figures.items():
            best = {"higher": 1.0, "lower": 0.0}.get(metrics.better_direction(figure))
            if value is not None and (metrics.value_range(figure) or metrics.better_direction(figure) == "lower"):
                assert value == best


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("name", ON_BOXES)
def test_no_answer_in_boxes_is_worse_than_a_failed_case(name, dims):
    for seed in range(5):
        truth = boxes(seed, dims=dims)
        good, failed = metrics.judge([name], truth, answered(truth, seed)), metrics.judge_failed([name], truth)
        assert list(good) == list(failed)
        for figure, value in good.items():
            if (
                metrics.worst_value(figure) is not None
                and value is not None
                and metrics.better_direction(figure) == "higher"
            ):
                assert value >= failed[figure]


@pytest.mark.parametrize("name", ON_BOXES)
def test_without_any_box_nothing_is_nan(name):
    none = boxes(0, 0)
    row = metrics.judge([name], none, none)
    for value in (*row.values(), *metrics.pool([name], [row]).values(), *metrics.judge_failed([name], none).values()):
        assert value is None or isinstance(value, str) or np.isfinite(value)


@pytest.mark.parametrize("name", ON_BOXES)
def test_boxes_outside_the_region_do_not_count(name):
    truth = boxes(0, 30)
    answer = answered(truth, 1)
    inside = np.zeros((100, 110), np.uint8)
    inside[:50] = 1
    region = LabelMap(inside, Grid.from_shape((100, 110)))

    def cut(b):
        kept = (b.corners[:, 0] + b.corners[:, 2]) / 2 < 49.5
        return Boxes(b.corners[kept], b.labels[kept], None if b.scores is None else b.scores[kept], b.names)

    assert metrics.judge([name], truth, answer, region=region) == metrics.judge([name], cut(truth), cut(answer))


@pytest.mark.parametrize("name", ON_BOXES)
def test_rows_on_boxes_come_back_from_a_table_of_text(name):
    truths = [boxes(seed) for seed in range(6)]
    rows = [metrics.judge([name], t, answered(t, i)) for i, t in enumerate(truths)]
    assert metrics.pool([name], [as_text(r) for r in rows]) == metrics.pool([name], rows)


@pytest.mark.parametrize("name", ON_BOXES)
def test_weights_are_the_same_as_repeated_cases(name):
    truths = [boxes(seed, seed) for seed in range(8)]
    rows = [metrics.judge([name], t, answered(t, i)) for i, t in enumerate(truths)]
    weights = np.random.default_rng(0).integers(0, 3, (3, len(rows))).astype(float)
    many = metrics.pool_many([name], rows, weights)
    for b, counts in enumerate(weights):
        again = [rows[i] for i in np.repeat(np.arange(len(rows)), counts.astype(int))]
        assert {n: v[b] for n, v in many.items()} == pytest.approx(metrics.pool([name], again))


@pytest.mark.parametrize("name", ON_BOXES)
def test_places_change_nothing_on_boxes_that_goes_by_order(name):
    rows = [metrics.judge([name], t, answered(t, i)) for i, t in enumerate(map(boxes, range(8)))]
    weights = np.random.default_rng(0).integers(0, 3, (3, len(rows))).astype(float)
    before, after = (metrics.pool_many([name], each, weights) for each in (rows, metrics.rank_scores(rows)))
    assert metrics.rank_scores(rows) != rows or not any(map(metrics.rank_only, before))
    for figure in filter(metrics.rank_only, before):
        assert after[figure] == pytest.approx(before[figure]), figure


@pytest.mark.parametrize("name", ON_BOXES)
def test_equal_scores_do_not_depend_on_the_order_of_cases(name):
    truths = [boxes(seed, 5) for seed in range(8)]
    rows = [metrics.judge([name], t, answered(t, i)) for i, t in enumerate(truths)]
    turned = [rows[i] for i in np.random.default_rng(0).permutation(len(rows))]
    assert metrics.pool([name], turned) == pytest.approx(metrics.pool([name], rows))


@pytest.mark.parametrize("name", ON_BOXES)
def test_boxes_of_other_axes_and_scores_that_are_none_are_refused(name):
    with pytest.raises(ValueError, match="axes"):
        metrics.judge([name], boxes(0), boxes(0, dims=3))
    bad = boxes(0, 1)
    with pytest.raises(ValueError, match="NaN"):
        metrics.judge([name], bad, Boxes(bad.corners, bad.labels, np.array([np.nan]), bad.names))


def shifted(by, shape=(12, 14, 6)):
    grid = Grid.from_shape(shape, spacing=(1.0, 1.5, 3.0)[: len(shape)])
    return Deformation(np.full((*shape, len(shape)), by, np.float32), grid)


def truths_about(by):
    """Give what may be known about a pair that is moved by so many mm: the way, labels, landmarks."""
    there = shifted(by)
    labels = blobs(0)
    points = np.array([[2.0, 3.0, 4.0], [7.0, 8.0, 9.0]])
    return {
        "way": there,
        "labels": Pair(labels, LabelMap(labels.array, labels.grid.crop([0, 0, 0], labels.grid.shape), labels.names)),
        "landmarks": Pair(Landmarks(points), Landmarks(points + by)),
    }


def pictures_moved(by):
    """Give two images of which the second is the first moved by so many elements."""
    grid = Grid.from_shape((12, 14, 6))
    array = np.random.default_rng(0).normal(size=(12 + by, 14, 6)).astype(np.float32)
    return Pair(Image(array[by:], grid), Image(array[:12], grid))


def test_images_are_most_alike_where_the_way_is_right():
    way = shifted(0.0)
    way.field[..., 0] = 3.0
    truth = pictures_moved(3)
    right = metrics.judge(["ncc", "registration_score"], truth, Deformation(way.field, truth.fixed.grid))
    still = metrics.judge(["ncc", "registration_score"], truth, Deformation(0 * way.field, truth.fixed.grid))
    assert right["ncc"] > 0.999 > 0.2 > abs(still["ncc"])
    assert still["ncc"] == still["ncc_before"]
    assert still["registration_score"] == 0
    assert right["registration_score"] == pytest.approx(1, abs=1e-3)
    one = Pair(truth.fixed, truth.fixed)
    best = metrics.judge(["ncc", "registration_score"], one, Deformation(0 * way.field, truth.fixed.grid))
    assert best == pytest.approx({"ncc": 1, "ncc_before": 1, "registration_score": 1})


@pytest.mark.parametrize("known", ["way", "labels", "landmarks"])
@pytest.mark.parametrize("name", ON_FIELD)
def test_every_number_on_fields_has_a_meaning(name, known):
    row = metrics.judge([name], truths_about(1.0)[known], shifted(0.5))
    assert [n for n in row if metrics.figure_of(n) is None] == []
    assert all(v is None or np.isfinite(v) for v in row.values())


@pytest.mark.parametrize("known", ["way", "labels", "landmarks"])
@pytest.mark.parametrize("name", ON_FIELD)
def test_the_right_way_gets_the_best_of_each_figure(name, known):
    by = 0.0 if known == "labels" else 1.0
    for figure, value in metrics.judge([name], truths_about(by)[known], shifted(by)).items():
        best = {"higher": 1.0, "lower": 0.0}.get(metrics.better_direction(figure))
        if figure != "tre_before_mm":
            assert value in (None, pytest.approx(best, abs=1e-4)), figure


@pytest.mark.parametrize("known", ["way", "landmarks"])
def test_half_the_way_is_half_aligned(known):
    row = metrics.judge(["registration_score", "tre_mm"], truths_about(1.0)[known], shifted(0.5))
    assert row["registration_score"] == pytest.approx(0.5)
    assert row["tre_mm"] == pytest.approx(3**0.5 / 2)


def test_what_is_turned_inside_out_is_folded():
    field = shifted(0.0)
    field.field[..., 0] = -2 * np.arange(12.0)[:, None, None]
    assert metrics.judge(["folded_fraction"], field, field)["folded_fraction"] == 1

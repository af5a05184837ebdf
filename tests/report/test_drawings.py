"""Outlines, ticks, thinned lines, and the page that compares two runs."""

import numpy as np
import pytest

from medgrad import metrics
from medgrad.report import write_comparison
from medgrad.report.contours import trace_outlines
from medgrad.report.curves import MAX_POINTS, downsample_line, elapsed_seconds
from medgrad.report.figures import group_metrics
from medgrad.report.html import format_duration, round_ticks
from medgrad.report.sections.calibration import wilson_interval
from medgrad.trust.paired import compare


def area(path):
    x, y = np.array(path).T
    return abs((x * np.roll(y, -1) - y * np.roll(x, -1)).sum()) / 2


def test_the_outline_of_a_square_cuts_its_corners_and_nothing_else():
    found = trace_outlines(np.ones((4, 6), bool))
    assert len(found) == 1
    assert area(found[0]) == pytest.approx(4 * 6 - 4 * 0.125)


def test_a_hole_has_an_outline_of_its_own():
    mask = np.ones((5, 5), bool)
    mask[2, 2] = False
    assert sorted(area(p) for p in trace_outlines(mask)) == pytest.approx([0.5, 24.5])


def test_parts_that_touch_by_a_corner_stay_apart():
    assert len(trace_outlines(np.eye(3, dtype=bool))) == 3


def test_outlines_close_on_any_mask():
    for seed in range(20):
        mask = np.random.default_rng(seed).random((15, 17)) > 0.5
        for path in trace_outlines(mask):
            assert len(path) >= 4
            assert all(0 <= x <= 17 and 0 <= y <= 15 for x, y in path)


def test_nothing_has_no_outline():
    assert trace_outlines(np.zeros((4, 4), bool)) == []


def test_a_long_line_is_thinned_to_means_within_their_spread():
    line = [(float(i), float(i % 2)) for i in range(10_000)]
    mean, low, high = downsample_line(line)
    assert len(mean) == MAX_POINTS
    assert all(a[1] <= b[1] <= c[1] for a, b, c in zip(low, mean, high, strict=True))


def test_ticks_are_round_and_inside():
    assert round_ticks(0.31, 0.93, n_ticks=4) == [0.4, 0.6, 0.8]
    assert round_ticks(5, 5) == [5]
    assert round_ticks(0, 2400, n_ticks=4) == [0, 1000, 2000]


def test_time_is_told_as_people_do():
    assert [format_duration(s) for s in (0, 0.25, 59, 61, 3600, None)] == [
        "0 s",
        "0.2 s",
        "59 s",
        "1 min 1 s",
        "1 h 0 min",
        "",
    ]
    assert format_duration(612, in_minutes=True) == "10 min"


def test_the_interval_of_a_share_is_that_of_scipy():
    from scipy.stats import binomtest

    known = binomtest(3, 11).proportion_ci(method="wilson")
    assert wilson_interval(3 / 11, 11) == pytest.approx((known.low, known.high), abs=1e-6)


def test_the_mean_over_one_label_is_left_out_and_shares_come_first():
    def one(value):
        return {"value": value, "low": None, "high": None, "n": 3}

    figures = {
        "hd95/a": one(3.0),
        "hd95/mean": one(3.0),
        "dice/a": one(0.8),
        "dice/mean": one(0.7),
        "lesion_count/a": one(9),
    }
    assert group_metrics(figures) == {"dice": ["dice/mean", "dice/a"], "hd95": ["hd95/a"]}


def test_two_runs_are_set_side_by_side(tmp_path):
    rng = np.random.default_rng(0)
    rows = [{"dice/<b>": v, "hd95/mean": 3 - v} for v in rng.normal(0.8, 0.05, 20)]
    more = [{"dice/<b>": r["dice/<b>"] + 0.03, "hd95/mean": r["hd95/mean"] + rng.normal(0, 0.2)} for r in rows]
    table = compare(rows, more, patients=[str(i) for i in range(20)], better_direction=metrics.better_direction)
    page = write_comparison(tmp_path / "small", tmp_path / "large", table, tmp_path / "out" / "c.html").read_text()
    assert "<strong>large</strong> is better on 1 number, of 2 numbers compared over 20 patients." in page
    assert "no difference shown" in page
    assert "<b>" not in page
    assert "0.030" in page


def test_runs_without_a_common_number_are_told(tmp_path):
    page = write_comparison("a", "b", [], tmp_path / "c.html").read_text()
    assert "no number in common" in page


def test_the_page_of_a_comparison_says_whether_the_second_is_good_enough(tmp_path):
    table = {"table": [], "noninferior": {"says": "dice/mean: not worse (loses 0.001)"}}
    path = write_comparison("a", "b", table, tmp_path)
    assert path == tmp_path / "comparison.html"
    assert "Is b good enough?</strong> dice/mean: not worse" in path.read_text()


def test_time_since_the_start_is_told_by_either_kind_of_row():
    since = [{"step": i, "seconds": 2.0 * i} for i in range(4)]
    each = [{"step": i, "seconds": s} for i, s in enumerate((3.0, 1.0, 2.0))]
    assert elapsed_seconds(since)[-1] == (3.0, 6.0)
    assert elapsed_seconds([*each, {"step": 2, "valid": {}}])[-1] == (2.0, 6.0)


def test_one_stands_for_all_where_both_classes_have_the_same_number():
    one = {"value": 0.8, "low": 0.7, "high": 0.9, "n": 9}
    assert group_metrics({"auroc/no": one, "auroc/yes": one, "auroc": one}) == {"auroc": ["auroc"]}

"""The time of a search is used to its end: further down, learning on, or between the last that was good and the first
that was not.
"""

import pytest

from medgrad.compress.search.stage_plan import (
    SearchPlan,
    Stage,
    StageResult,
    best_at_depth,
    estimate_time_needed,
    is_noninferior,
    next_stage,
    predict_loss,
    predict_margin_share,
)

TIME = 1000.0
DOWN = (1 / 3, 2 / 3, 1.0)


def searched(lost, *, width=0.003, margin=0.01, **settings):
    """Search where a network that has learned so long at one size loses ``lost(down, time)``; give what ended."""
    plan, ended, left, learned = SearchPlan(TIME, DOWN, 0.1, 75.0, **settings), [], TIME, []
    while (stage := next_stage(plan, ended, left)) is not None:
        source = ended[stage.begin].stage if stage.begin >= 0 else Stage(0.0, 0.0)
        learned.append(stage.time + (learned[stage.begin] if source.down == stage.down else 0.0))
        loss = lost(stage.down, learned[-1]) - 0.001 * stage.taught
        ended.append(StageResult(stage, 0.9 - loss, loss, loss + width, margin))
        left -= stage.time
        assert left > -1e-6
        assert len(ended) < 30
    return ended, left


def falling(at_the_target):
    """A loss that falls by a power of the time, and is larger further down: at the target it is 0.02 after so long."""

    def lost(down, time):
        ratio = time / (at_the_target * 16 ** (down - 1))
        return 0.02 * ratio ** (-0.8 if ratio > 1 else -1.0)

    return lost


@pytest.mark.parametrize("time", [1.0, 20.0, 50.0, 100.0, 200.0, 1000.0, 1e6])
@pytest.mark.parametrize("width", [0.001, 0.008, 0.02, float("inf")])
def test_the_time_is_used_to_its_end(time, width):
    ended, left = searched(falling(time), width=width)
    assert left < 0.07 * TIME
    assert {e.stage.down for e in ended} >= set(DOWN)


def test_a_target_that_is_good_at_once_learns_on_for_the_rest():
    ended, _ = searched(falling(10.0))
    assert [e.stage.down for e in ended] == [*DOWN, 1.0]
    assert ended[-1].stage.begin == 2
    assert ended[-1].stage.time > 0.6 * TIME


def test_a_target_that_is_not_good_yet_but_can_be_learns_on():
    ended, _ = searched(falling(60.0))
    assert not is_noninferior(ended, ended[2])
    assert {e.stage.down for e in ended[3:]} == {1.0}
    assert is_noninferior(ended, ended[-1])


@pytest.mark.parametrize("time", [290.0, 300.0])
def test_where_the_target_is_out_of_reach_the_smallest_that_can_be_good_learns_on(time):
    ended, _ = searched(falling(time))
    first = next(n for n, e in enumerate(ended) if is_noninferior(ended, e))
    assert all(e.stage.down == ended[first].stage.down < 1 for e in ended[3 : first + 1])
    assert not any(is_noninferior(ended, e) for e in ended if e.stage.down > ended[first].stage.down)


def test_between_the_last_that_was_good_and_the_first_that_failed_one_is_tried():
    ended, _ = searched(lambda down, _: 0.004 if down < 0.4 else 0.5)
    assert [is_noninferior(ended, e) for e in ended[:3]] == [True, False, False]
    assert ended[3].stage.down == pytest.approx((1 / 3 + 2 / 3) / 2)
    assert ended[3].stage.begin == 0
    assert {e.stage.down for e in ended[4:]} == {1 / 3}


def test_one_that_just_missed_leaves_time_for_a_larger_one():
    ended, _ = searched(falling(200.0))
    assert 0.007 < ended[3].loss < 0.008
    assert ended[3].stage.down == 1
    assert is_noninferior(ended, ended[4])
    assert ended[4].stage.down < 1


@pytest.mark.parametrize("time", [60.0, 120.0, 160.0])
def test_where_a_loss_falls_slower_than_is_usual_something_still_is_good_at_the_end(time):
    ended, _ = searched(lambda down, learned: 0.02 * (learned / (time * 16 ** (down - 1))) ** -0.5)
    assert any(is_noninferior(ended, e) for e in ended)


def test_to_reach_the_target_is_all_that_counts_where_that_is_asked():
    ended, left = searched(falling(1e6), force_target=True)
    assert [e.stage.down for e in ended] == list(DOWN)
    assert left == pytest.approx(0.0)


def test_whether_the_parent_teaches_is_tried_at_the_first_size():
    ended, _ = searched(falling(10.0), distillation="tried")
    assert [(e.stage.down, e.stage.taught, e.stage.begin) for e in ended[:2]] == [(1 / 3, False, -1), (1 / 3, True, -1)]
    assert all(e.stage.taught for e in ended[2:])
    assert ended[2].stage.begin == 1


def test_patients_too_few_to_show_anything_choose_by_the_loss_itself():
    few, better, worse = (StageResult(Stage(1.0, 10.0), 0.9, loss, loss + 0.026, 0.01) for loss in (0.02, 0.004, 0.006))
    assert is_noninferior([few, better], better)
    assert not is_noninferior([few, worse], worse)
    enough = StageResult(Stage(1.0, 10.0), 0.9, 0.02, 0.026, 0.01)
    assert not is_noninferior([enough, better], better)


def test_what_more_it_takes_follows_from_the_course_of_the_score():
    first = StageResult(Stage(1.0, 100.0), 0.89, 0.012, 0.016, 0.01)
    assert predict_loss([first], 1.0, 100.0) == pytest.approx(0.012 / 2**0.8)
    slower = StageResult(Stage(1.0, 100.0, begin=0), 0.891, 0.011, 0.015, 0.01)
    assert 0 < estimate_time_needed([first], 1.0) < estimate_time_needed([first, slower], 1.0)
    assert best_at_depth([first, slower], 1.0) is slower


@pytest.mark.parametrize("loss", [0.008, 0.015, 0.03, 0.2])
def test_after_the_time_that_is_told_it_is_expected_to_be_good(loss):
    one = StageResult(Stage(1.0, 100.0), 0.9 - loss, loss, loss + 0.003, 0.01)
    more = estimate_time_needed([one], 1.0)
    assert predict_margin_share([one], 1.0, more) == pytest.approx(1.0)
    assert predict_margin_share([one], 1.0, more / 2) > 1.0


def test_what_a_thousand_times_the_time_would_not_do_is_not_foretold():
    assert estimate_time_needed([StageResult(Stage(1.0, 100.0), 0.0, 50.0, 50.003, 0.01)], 1.0) == float("inf")

"""A target is read as it is typed, parted into rungs, and reached in all that it names."""

from types import SimpleNamespace

import pytest

from medgrad.compress.search.target import Target
from medgrad.compress.structure.cost import Cost
from medgrad.errors import SettingError


def costly(flops, parameters, milliseconds=1.0):
    return SimpleNamespace(cost=Cost(flops, parameters, 4 * parameters), milliseconds=milliseconds)


def test_all_that_is_named_must_be_reached():
    whole, goal = costly(1000, 1000, 10.0), Target.parse("flops=0.1,parameters=0.2")
    assert goal.is_reached(costly(100, 200), whole)
    assert not goal.is_reached(costly(101, 200), whole)
    assert not goal.is_reached(costly(100, 201), whole)
    assert Target.parse("latency=0.5").is_reached(costly(1000, 1000, 5.4), whole)
    assert not Target.parse("latency=0.5").is_reached(costly(1000, 1000, 5.6), whole)


def test_the_rungs_end_with_the_goal_and_come_down_together():
    goals = Target.parse("flops=0.1,parameters=0.2").stage_targets(0.4)
    assert goals[-1].shares == pytest.approx({"flops": 0.1, "parameters": 0.2})
    assert [g.shares["parameters"] for g in goals] == pytest.approx([0.2 ** (n / 3) for n in (1, 2, 3)])


def test_what_is_held_against_it_is_as_small_in_all_of_it():
    goal = Target.parse("flops=0.1,parameters=0.2").matching(costly(90, 150), costly(1000, 1000))
    assert goal.shares == pytest.approx({"flops": 0.09, "parameters": 0.15})


def test_what_is_held_against_it_need_not_be_as_fast_but_where_nothing_else_is_asked():
    small, whole = costly(90, 150, 2.0), costly(1000, 1000, 10.0)
    assert Target.parse("flops=0.1,latency=0.25").matching(small, whole).shares == pytest.approx({"flops": 0.09})
    assert Target.parse("latency=0.25").matching(small, whole).shares == pytest.approx({"milliseconds": 0.2})


TWICE = ("flops=0.1,flops=0.2", "size=0.2,bytes=0.3")
NONE = ("flops", "flops=2", "weight=0.5", "flops=x", "flops=0", "flops=0.1,", "flops=0.1;")


@pytest.mark.parametrize("text", [*NONE, *TWICE])
def test_a_target_that_is_none_is_told(text):
    with pytest.raises(SettingError, match=r"A target is .* as in"):
        Target.parse(text)

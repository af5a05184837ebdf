"""A training keeps its time on a machine that others use too, and what was decided can be repeated."""

import tomllib
from dataclasses import replace
from itertools import pairwise

import pytest

from medgrad.engine.runs.recipe import Recipe, Training, recipe_from_tables, recipe_to_toml
from medgrad.engine.training.planned_steps import (
    is_validation_due,
    schedule_progress,
    threads_at,
    total_steps_at,
    with_replan,
)
from medgrad.engine.training.time_budget import TimeBudget, resume_time_budget
from medgrad.errors import SettingError
from medgrad.machine.cores import FreeCores, threads_for_free_cores

PLAN = Training(steps=200, threads=2, validations=5, validation_cases=4)


class Machine:
    """Two cores, of which neighbours take some: a step takes longer then, and longest where two threads share one."""

    def __init__(self, busy):
        self.busy, self.now = busy, 0.0  # busy(seconds) -> cores taken by others

    def step_seconds(self, threads):
        taken = self.busy(self.now)
        if taken == 0:
            return 0.30 if threads == 2 else 0.45
        return 0.85 if threads == 2 else 0.45 if taken == 1 else 0.90

    def free(self):
        return 2.0 - self.busy(self.now) * (0.85 if self.busy(self.now) == 1 else 0.67)


def learned(busy, *, minutes=1.0, training=PLAN, case_seconds=0.1):
    """Take the steps of a plan on such a machine; give the plan as it became, how many were taken, and the time."""
    machine = Machine(busy)
    pace = TimeBudget(
        minutes * 60,
        2,
        n_final_cases=10,
        case_seconds=case_seconds,
        reference_step_seconds=0.3,
        read_free_cores=machine.free,
        clock=lambda: machine.now,
    )
    done = 0
    while done < training.steps:
        seconds = machine.step_seconds(threads_at(training, done) or 2)
        machine.now += seconds
        done += 1
        pace.record_step(seconds)
        if is_validation_due(training, done):
            machine.now += 4 * case_seconds
            pace.record_validation(4 * case_seconds, 4)
        found = pace.replan(training, done) if pace.is_check_due(training, done) else None
        training = with_replan(training, found) if found else training
    return training, done, machine.now + 10 * case_seconds


def always(cores):
    return lambda _: cores


nobody = always(0)


def test_undisturbed_the_plan_stays():
    training, done, _ = learned(nobody, training=replace(PLAN, steps=190))
    assert (training.replanned, done) == ((), 190)


@pytest.mark.parametrize(
    "busy, share",
    [
        (always(1), 0.45),
        (always(2), 0.2),
        (lambda now: 1 if 20 < now < 40 else 0, 0.6),
        (lambda now: 2 if now > 45 else 0, 0.6),
        (lambda now: int(now / 3) % 2, 0.45),
    ],
    ids=["one core", "both cores", "comes and goes", "comes late", "comes and goes all the time"],
)
def test_a_neighbour_costs_steps_but_no_time(busy, share):
    _, quiet, _ = learned(nobody)
    training, done, seconds = learned(busy)
    assert 52 < seconds < 62
    assert done == training.steps >= share * quiet
    assert training.replanned[0] == (0, 2, 200)


def test_threads_come_back_when_the_neighbour_goes():
    training, _, _ = learned(lambda now: 1 if now < 20 else 0)
    counts = [threads for _, threads, _ in training.replanned]
    assert 1 in counts
    assert counts[-1] == 2


def test_more_threads_that_are_no_faster_are_given_up():
    class Narrow(Machine):
        def step_seconds(self, threads):
            return 0.5 if threads == 2 else 0.45

    machine = Narrow(nobody)
    pace, training = TimeBudget(max_threads=2, read_free_cores=machine.free), replace(PLAN, threads=1)
    for done in range(1, 60):
        pace.record_step(machine.step_seconds(threads_at(training, done - 1)))
        found = pace.replan(training, done) if pace.is_check_due(training, done) else None
        training = with_replan(training, found) if found else training
    assert [threads for _, threads, _ in training.replanned] == [1, 2, 1]
    assert training.steps == 200  # without a deadline nobody counts steps


def test_a_slower_machine_leaves_the_least_number_of_steps():
    training, done, seconds = learned(always(2), minutes=0.05, training=replace(PLAN, min_steps=30))
    assert done == training.steps == 30
    assert seconds > 3


def test_a_faster_machine_gives_more_steps():
    training, done, seconds = learned(nobody, training=replace(PLAN, steps=40, threads=2))
    assert done == training.steps > 100
    assert seconds < 62


class TestWhatWasDecided:
    plan = Training(steps=60, threads=2, validations=5, replanned=((0, 2, 100), (30, 1, 50), (40, 2, 60)))

    def test_the_schedule_goes_on_from_where_it_stood_to_its_end(self):
        places = [schedule_progress(self.plan, n) for n in range(61)]
        assert all(0 <= b - a < 0.1 for a, b in pairwise(places))
        assert places[30] == pytest.approx(0.3)
        assert places[40] == pytest.approx(0.65)
        assert places[60] == pytest.approx(1.0)

    def test_a_step_knows_its_threads_and_what_was_planned_then(self):
        assert [threads_at(self.plan, n) for n in (0, 29, 30, 39, 40)] == [2, 2, 1, 1, 2]
        assert [total_steps_at(self.plan, n) for n in (29, 30, 59)] == [100, 50, 60]

    def test_validations_stay_spread_over_the_schedule(self):
        found = [n for n in range(1, 61) if is_validation_due(self.plan, n)]
        assert 5 <= len(found) <= 7
        assert found[0] == 20
        assert found[-1] == 60

    def test_what_is_planned_later_does_not_change_what_has_been(self):
        early = with_replan(replace(PLAN, steps=100), (30, 1, 50))
        late = with_replan(early, (40, 2, 60))
        for n in range(1, 41):
            assert schedule_progress(early, n) == schedule_progress(late, n)
            assert is_validation_due(early, n) == is_validation_due(late, n)

    def test_undisturbed_the_schedule_is_even_to_the_last_bit(self):
        plan = Training(steps=37, validations=4)
        assert [schedule_progress(plan, n) for n in range(37)] == [n / 37 for n in range(37)]
        assert [n for n in range(1, 38) if is_validation_due(plan, n)] == [10, 20, 30, 37]

    def test_it_survives_the_recipe(self):
        recipe = Recipe(training=self.plan)
        assert recipe_from_tables(tomllib.loads(recipe_to_toml(recipe))).training == self.plan

    @pytest.mark.parametrize("wrong", [((5, 1, 60),), ((0, 2, 100), (30, 1, 50)), ((0, 2),), ("x",)])
    def test_a_plan_that_cannot_be_is_refused(self, wrong):
        with pytest.raises(SettingError, match="replanned"):
            Training(steps=60, replanned=wrong)


def test_a_run_goes_on_with_the_time_that_it_had_left():
    pace = TimeBudget(100.0, 2, 12.5, clock=lambda: 40.0)
    again = resume_time_budget(pace.state())
    assert (again.max_threads, again.n_final_cases) == (2, 12.5)
    assert again.deadline - again.clock() == pytest.approx(60, abs=5)
    assert "seconds_left" not in TimeBudget(max_threads=2).state()


def test_free_cores_are_those_that_idle_and_those_that_this_process_uses():
    samples = iter([(0.0, 0.0, 0.0), (10.0, 5.0, 9.0), (10.1, 5.0, 9.0)])
    free = FreeCores(lambda: next(samples))
    assert free() == pytest.approx(1.4)
    assert free() is None  # too soon


def test_where_the_system_does_not_say_nothing_is_assumed():
    assert FreeCores(lambda: None)() is None
    assert threads_for_free_cores(0.0, 4) == 1
    assert threads_for_free_cores(3.75, 4) == 4

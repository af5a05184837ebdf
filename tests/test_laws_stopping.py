"""Laws that every rule of stopping keeps, and what each of them is for."""

import math

import numpy as np
import pytest

from medgrad import registry
from medgrad.descent.stopping import build_rules, step_loss, validation_score
from medgrad.errors import SettingError

RULES = registry.names("descent.stopping")
WELL = {"minutes": {"max_minutes": 1e9}, "steps": {"max_steps": 10**9}}
"""Settings with which a rule that ends any run does not end this one."""


def rule(name, **settings):
    return registry.find("descent.stopping", name)(**settings)


def line(step, loss=1.0, **more):
    return {"step": step, "seconds": 0.1, "rate": 1e-3, "loss": {"dice": loss}, "gradient/norm": 1.0, **more}


def falling(steps, seed=0, noise=0.1):
    """A run that gets on: a loss that falls with scatter, and a validation every 50 steps that rises."""
    rng = np.random.default_rng(seed)
    for step in range(steps):
        yield line(step, 2 * math.exp(-step / 400) * (1 + noise * rng.standard_normal()))
        if step % 50 == 49:
            yield {"step": step, "valid": {"dice/mean": 1 - math.exp(-step / 400)}}


def flat(steps, seed=0, noise=0.1):
    rng = np.random.default_rng(seed)
    for step in range(steps):
        yield line(step, 0.5 * (1 + noise * rng.standard_normal()), **{"gradient/norm": 1e-9})
        if step % 50 == 49:
            yield {"step": step, "valid": {"dice/mean": 0.8}}


def ended(made, lines):
    """Give the step at which a rule ends a run and its reason, or None and nothing."""
    for each in lines:
        if reason := made(each):
            return each["step"], reason
    return None, ""


@pytest.mark.parametrize("name", RULES)
class TestRules:
    def test_lets_a_run_that_gets_on_go_on(self, name):
        for seed in range(5):
            assert ended(rule(name, **WELL.get(name, {})), falling(1200, seed)) == (None, "")

    def test_ends_a_run_that_stands_still(self, name):
        at, reason = ended(rule(name), flat(20_000))
        assert at is not None
        assert not reason[0].isupper()
        assert not reason.endswith(".")

    def test_told_again_it_ends_at_the_same_step(self, name):
        lines = list(flat(20_000))
        assert ended(rule(name), lines) == ended(rule(name), lines)

    def test_bears_lines_of_any_kind(self, name):
        made = rule(name)
        for each in ({"step": 0, "valid": {"auroc": "nan"}}, line(1, "nan", skipped=True), {"step": 2, "finding": {}}):
            assert made(each) == ""


def test_lines_tell_their_loss_and_their_figure():
    assert step_loss(line(3, 0.5)) == 0.5
    assert step_loss(line(3, "nan", skipped=True)) is None
    assert step_loss({"step": 3, "valid": {"dice": 1.0}}) is None
    assert validation_score({"step": 3, "valid": {"dice": 0.25}}) == 0.25
    assert validation_score({"step": 3, "valid": {"dice": "nan"}}) is None


def test_any_rule_of_several_may_end_a_run():
    rules = build_rules([{"name": "steps", "max_steps": 7}, {"name": "minutes", "max_minutes": 1e9}])
    assert [any(r(line(step)) for r in rules) for step in (5, 6)] == [False, True]


def test_no_improvement_counts_validations_from_the_best():
    found = [0.5, 0.7, 0.69, 0.7, 0.71, 0.705, "nan", 0.6]
    lines = [{"step": i, "valid": {"auroc": v}} for i, v in enumerate(found)]
    assert ended(rule("no_improvement", patience=3), lines) == (7, "auroc was no better in 3 validations")
    assert ended(rule("no_improvement", patience=4), lines)[0] is None
    assert ended(rule("no_improvement", patience=3, min_delta=0.1), lines)[0] == 4


def test_minutes_are_those_of_learning():
    lines = [line(i) | {"seconds": 30.0} for i in range(10)]
    assert ended(rule("minutes", max_minutes=2.0), lines)[0] == 3


def test_a_flat_slope_must_last():
    norms = [1e-9, 1.0, 1e-9, 1e-9, 1e-9]
    lines = [line(i) | {"gradient/norm": n} for i, n in enumerate(norms)]
    assert ended(rule("small_gradient", norm=1e-6, steps=3), lines)[0] == 4


def test_a_flat_slope_that_nobody_measures_is_an_error():
    with pytest.raises(SettingError, match="clipped"):
        rule("small_gradient")({"step": 0, "loss": {"dice": 1.0}})


def test_a_relative_decrease_is_measured_against_the_window_before():
    losses = [1.0] * 10 + [0.9] * 10 + [0.895] * 10
    lines = [line(i, v) for i, v in enumerate(losses)]
    assert ended(rule("relative_decrease", share=0.01, window=10), lines)[0] == 29
    assert ended(rule("relative_decrease", share=0.001, window=10), lines)[0] is None


def plateau_ends(slope, steps=4000):
    """Count in how many of 40 runs with 20 % scatter the plateau test ends it; ``slope`` is the fall a step."""
    runs = [np.random.default_rng(seed).standard_normal(steps) for seed in range(40)]
    losses = [[(1 - slope * s) * (1 + 0.2 * n) for s, n in enumerate(noise)] for noise in runs]
    return sum(ended(rule("plateau"), (line(s, v) for s, v in enumerate(each)))[0] is not None for each in losses)


def test_the_plateau_test_ends_what_is_flat_and_nothing_that_still_falls():
    assert plateau_ends(0.0) >= 36
    assert plateau_ends(2e-4) <= 2

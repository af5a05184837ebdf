"""Boxes are as sure as they are often right; the rows say what judging anew would say."""

from dataclasses import replace

import numpy as np
import pytest

from medgrad import registry
from medgrad.answers.boxes import calibrated as rescored
from medgrad.data import Boxes
from medgrad.engine.evaluation.calibrate import fit_calibration
from medgrad.engine.evaluation.evaluate import JudgedCase
from medgrad.trust import platt


def cases(dims, n=30, seed=0):
    """Truths, and answers that are far less sure than they are right."""
    rng = np.random.default_rng(seed)
    names = {0: "a", 1: "b"}
    for number in range(n):
        low = rng.uniform(0, 20, (6, dims)) + 30 * np.arange(6)[:, None]
        corners = np.concatenate([low, low + rng.uniform(6, 12, low.shape)], axis=1)
        labels = rng.integers(0, 2, 6)
        truth = Boxes(corners, labels, None, names)
        wrong = rng.random(6) < 0.3
        said = corners + np.where(wrong[:, None], 500, rng.uniform(-1, 1, corners.shape))
        scores = np.clip(np.where(wrong, 0.15, 0.3) + rng.normal(0, 0.07, 6), 0.01, 0.99)
        yield f"c{number}", truth, Boxes(said, labels, scores, names)


@pytest.mark.parametrize("dims", [2, 3])
def test_rows_are_what_judging_the_calibrated_answers_gives(dims):
    task = registry.find("tasks", "detection")(dims=dims, labels=("a", "b"))
    known = list(cases(dims))
    judged = [JudgedCase(name, name, task.judge(truth, said)) for name, truth, said in known]
    new, rows, told = fit_calibration(task, judged)
    assert told["boxes"]["a"]["answers"] > 50
    for j, (_, truth, said) in zip(rows, known, strict=True):
        meant = rescored(said.scores, said.labels, platt_a=new.platt_a, platt_b=new.platt_b)
        again = task.judge(truth, replace(said, scores=meant))
        assert set(again) == set(j.row)
        for name, value in again.items():
            if isinstance(value, float):
                assert j.row[name] == pytest.approx(value, abs=1e-9), name
    before, after = task.summarise([j.row for j in judged]), task.summarise([j.row for j in rows])
    assert after["map@0.5"] == pytest.approx(before["map@0.5"])
    assert after["cpm"] == pytest.approx(before["cpm"])
    assert after["count_error/a"] < before["count_error/a"]
    assert new.without_calibration() == task


def test_half_of_what_is_called_even_is_right():
    rng = np.random.default_rng(1)
    truth = rng.random(5000)
    right = rng.random(5000) < truth
    scores = platt.apply_platt(truth, 0.5, -2.0)
    meant = platt.apply_platt(scores, *platt.fit_platt(scores, right))
    near = np.abs(meant - 0.5) < 0.1
    assert abs(right[near].mean() - 0.5) < 0.05


def test_a_label_that_is_hardly_ever_said_keeps_its_scores():
    task = registry.find("tasks", "detection")(dims=2, labels=("a", "b", "c"))
    judged = [JudgedCase(name, name, task.judge(t, s)) for name, t, s in cases(2)]
    new, _, _ = fit_calibration(task, judged)
    assert (new.platt_a[2], new.platt_b[2]) == (1.0, 0.0)

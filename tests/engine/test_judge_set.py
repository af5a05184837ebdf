"""What only a whole set can tell is computed once, of the cases that were answered; nobody else keeps their answers."""

import json
from dataclasses import dataclass, replace

import numpy as np
import pytest

from medgrad.engine.evaluation.evaluate import JudgedCase, judge_case, summarise_evaluation, write_evaluation
from medgrad.report.figures import metrics_as_html
from medgrad.tasks.segmentation import Segmentation


@dataclass(frozen=True)
class WithVolumes(Segmentation):
    """Segmentation with the difference of the mean volumes of two sets."""

    def judge_set(self, pairs):
        volumes = np.array([[int((labels.array > 0).sum()) for labels in pair] for pair in pairs])
        return {"mean_difference": float(np.diff(volumes.mean(axis=0))[0]), "undefined": None}


def judged(task, n=4):
    """Cases that are answered with their truth, but for the first, in which nothing is found."""
    cases = [replace(task.example(seed), patient=f"p{seed // 2}") for seed in range(n)]
    return [
        judge_case(task, case, replace(case.truth, array=case.truth.array * (number > 0)))
        for number, case in enumerate(cases)
    ]


def test_its_figures_stand_beside_those_of_the_rows(tmp_path):
    task = WithVolumes(dims=2)
    lost = JudgedCase("lost", "p9", task.failed_row(task.example(0).truth), "cannot be read")
    found = summarise_evaluation(task, [*judged(task), lost], split="test", n_resamples=20)
    assert found.metrics["mean_difference"] == {"value": -25 / 4, "low": None, "high": None, "n": 2}
    assert found.metrics["undefined"]["value"] is None
    assert found.metrics["dice/mean"]["low"] is not None
    assert all(j.pair is None for j in found.judged_cases)
    write_evaluation(tmp_path, found)
    assert json.loads((tmp_path / "evaluation.json").read_text())["metrics"]["mean_difference"]["value"] == -6.25
    assert "-6.250" in metrics_as_html(found.metrics).replace("\N{MINUS SIGN}", "-")


def test_no_answer_is_kept_where_nobody_asks():
    task = WithVolumes(dims=2)
    case = task.example(0)
    assert judge_case(task, case, case.truth).pair == (case.truth, case.truth)
    assert judge_case(task, case, case.truth, quick=True).pair is None
    assert judge_case(Segmentation(dims=2), case, case.truth).pair is None


def test_a_set_without_any_answer_has_no_such_figure():
    task = WithVolumes(dims=2)
    lost = JudgedCase("lost", "p", task.failed_row(task.example(0).truth), "cannot be read")
    assert "mean_difference" not in summarise_evaluation(task, [lost], split="test", n_resamples=20).metrics
    assert summarise_evaluation(task, [lost], split="test", n_resamples=20).metrics["dice/mean"][
        "value"
    ] == pytest.approx(0)

"""What a report says of a network beside the z-score."""

from pathlib import Path

import pytest

from medgrad.report.read_run import RunFiles
from medgrad.report.sections.anomaly import anomaly_section


def section(low, high, *, cases=(), facts=None):
    name = "element_average_precision"
    metrics = {
        name: {"value": 0.5},
        f"{name}_zscore": {"value": 0.4},
        f"{name}_gain": {"value": 0.1, "low": low, "high": high, "n": 9},
    }
    evaluation = {"metrics": metrics, "headline": [name]}
    return anomaly_section(RunFiles(Path(), evaluation=evaluation, cases=tuple(cases), run_facts=facts or {}))


@pytest.mark.parametrize(
    ("low", "high", "says"),
    [
        (0.02, 0.2, "The network is above the z-score"),
        (-0.02, 0.2, "The network is not above the z-score:"),
        (-0.3, -0.1, "The network is not above the z-score, but below it:"),
        (None, None, "cannot be said"),
    ],
)
def test_the_verdict_follows_the_paired_interval(low, high, says):
    assert says in section(low, high)


def test_planted_lesions_are_called_no_disease():
    assert "not disease" in section(0.0, 0.1, cases=[{"case": "a"}, {"case": "a+lesion"}])
    assert "not disease" not in section(0.0, 0.1, cases=[{"case": "a"}])


def test_it_says_what_the_zscore_is():
    assert "of each element" in section(0.0, 0.1, facts={"zscore": {"by_element": True}})
    assert "of all values" in section(0.0, 0.1, facts={"zscore": {"by_element": False}})


def test_a_run_without_a_zscore_has_no_section():
    assert anomaly_section(RunFiles(Path(), evaluation={"metrics": {"element_auroc": {"value": 0.5}}})) == ""

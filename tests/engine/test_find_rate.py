"""The rate finder takes a rate at which learning is fast and safe."""

import tomllib

from command_line import done, make_pictures

from medgrad.report.lr_finder import draw_rate_curve


def test_a_plan_takes_the_rate_that_was_found(tmp_path):
    data = make_pictures(tmp_path / "data")
    found = done("plan", data, "-o", tmp_path / "plan.toml", "--find-rate", "--model", "cnn")
    recipe = tomllib.loads((tmp_path / "plan.toml").read_text())
    assert recipe["optimiser"]["rate"] == found["rate"]
    assert 1e-6 < found["rate"] < 1
    assert "Take a rate of" in (tmp_path / "plan-rate.html").read_text()


def test_the_curve_marks_the_rate():
    drawn = draw_rate_curve([1e-5, 1e-4, 1e-3, 1e-2], [1.0, 0.8, 0.5, 2.0], 1e-4)
    assert "0.0001" in drawn
    assert drawn.count("<polyline") == 1

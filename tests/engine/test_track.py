"""Whoever keeps track is told the same figures that the run writes down."""

import json

import pytest
from command_line import done, medgrad, one_line
from tiny_set import make_folder


def fit(data, run, *more):
    done("fit", data, "-o", run, "--recipe", data / "recipe.toml", *more)
    return [json.loads(line) for line in (run / "steps.jsonl").read_text().splitlines()]


def test_tensorboard_is_told_every_step(tmp_path):
    pytest.importorskip("tensorboard", reason="the track extra is not installed")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run = tmp_path / "run"
    lines = fit(make_folder(tmp_path / "data"), run, "--steps", "6", "--track", "tensorboard")
    seen = EventAccumulator(str(run / "tensorboard")).Reload()
    told = [event.value for event in seen.Scalars("loss/dice_ce")]
    assert told == pytest.approx([line["loss"]["dice_ce"] for line in lines if "loss" in line], rel=1e-5)
    assert seen.Scalars("valid/dice/mean")


def test_mlflow_is_told_every_step(tmp_path, monkeypatch):
    mlflow = pytest.importorskip("mlflow", reason="the mlflow extra is not installed")
    pytest.importorskip("sqlalchemy", reason="MLflow has no store here")
    run = tmp_path / "run"
    store = f"sqlite:///{tmp_path / 'store.db'}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store)
    lines = fit(make_folder(tmp_path / "data"), run, "--steps", "4", "--track", "mlflow")
    mlflow.set_tracking_uri(store)
    found = mlflow.search_runs(experiment_names=["medgrad"], output_format="list")
    assert found[0].data.metrics["loss/dice_ce"] == pytest.approx(lines[-2]["loss"]["dice_ce"])


def test_an_unknown_tracker_names_the_nearest(tmp_path):
    data = make_folder(tmp_path / "data")
    ended = medgrad("fit", data, "-o", tmp_path / "r", "--track", "tensorbord", "--steps", 4)
    one_line(ended, "Did you mean 'tensorboard'")


def test_learning_until_a_plateau_ends_by_itself_and_says_so(tmp_path):
    data = make_folder(tmp_path / "data")
    text = (data / "recipe.toml").read_text().replace("validations = 6", "validations = 500\nsteps = 1000")
    text = text.replace("rate = 1e-2", "rate = 1e-12") + '[[stopping]]\nname = "no_improvement"\npatience = 3\n'
    (data / "recipe.toml").write_text(text)
    lines = fit(data, tmp_path / "run", "--until-plateau")
    told = json.loads((tmp_path / "run" / "run.json").read_text())
    assert "no better" in told["ended_by"]
    assert max(line["step"] for line in lines) < 50

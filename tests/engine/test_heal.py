"""A network that cannot learn is remedied, and the run tells how."""

import json
import tomllib

import pytest
from command_line import CLASSES, done, make_pictures, medgrad

from medgrad import registry
from medgrad.descent.diagnostics import Finding
from medgrad.engine.runs.recipe import Recipe, recipe_from_tables
from medgrad.engine.training.remedies import choose_remedy

DEEP = """
[model]
name = "mlp"
widths = [{widths}]
normalise = "none"
dropout = 0.0

[optimiser]
name = "adamw"
rate = 2e-3

[training]
batch = 8
validations = 2
""".format(widths=", ".join(["32"] * 60))
HOT = CLASSES.replace("rate = 1e-2", "rate = 3.0")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return make_pictures(tmp_path_factory.mktemp("heal") / "data")


def run_of(folder):
    recipe = tomllib.loads((folder / "recipe.toml").read_text())
    return json.loads((folder / "run.json").read_text()), recipe


def fit(data, out, text, *words, steps=24):
    (out / "changes.toml").write_text(text)
    done("fit", data, "-o", out / "run", "--recipe", out / "changes.toml", "--steps", steps, *words)
    return run_of(out / "run")


def test_a_deep_network_is_normalised(data, tmp_path):
    run, recipe = fit(data, tmp_path, DEEP, "--auto-fix")
    assert [h["kind"] for h in run["healed"]] == ["vanishing"]
    assert recipe["model"]["normalise"] == "layer"
    assert recipe["model"]["skip"]
    page = (tmp_path / "run" / "report.html").read_text()
    assert "The gradient vanishes" in page
    assert "the layers are normalised (layer), ways lead around the layers" in page


def test_a_rate_that_is_far_too_high_comes_down(data, tmp_path):
    run, recipe = fit(data, tmp_path, HOT, "--auto-fix")
    assert {h["kind"] for h in run["healed"]} == {"exploding"}
    assert recipe["optimiser"]["rate"] == pytest.approx(3.0 * 0.1 ** len(run["healed"]))
    assert run["healed"]
    losses = [sum(row["loss"].values()) for row in lines(tmp_path / "run") if "loss" in row]
    assert sum(losses[-4:]) / 4 < 0.7 * losses[0]


@pytest.mark.slow
@pytest.mark.parametrize(("text", "steps"), [(DEEP, 400), (HOT, 200)], ids=["sixty layers", "too high a rate"])
def test_what_was_healed_then_learns(text, steps, tmp_path):
    data = make_pictures(tmp_path / "data", cases=48)
    run, _ = fit(data, tmp_path, text, "--auto-fix", steps=steps)
    assert run["healed"][0]["step"] <= (20 if text == DEEP else 5)
    figures = json.loads((tmp_path / "run" / "evaluation.json").read_text())["metrics"]
    assert figures["auroc"]["value"] > 0.95
    losses = [sum(row["loss"].values()) for row in lines(tmp_path / "run") if "loss" in row]
    assert sum(losses[-40:]) / 40 < 0.3 * losses[0]


def test_without_heal_it_is_told_and_left(data, tmp_path):
    (tmp_path / "changes.toml").write_text(HOT)
    ended = medgrad("fit", data, "-o", tmp_path / "run", "--recipe", tmp_path / "changes.toml", "--steps", 6)
    assert "Learning explodes" in ended.err
    run, recipe = run_of(tmp_path / "run")
    assert "healed" not in run
    assert recipe["optimiser"]["rate"] == 3.0


def lines(run):
    return [json.loads(line) for line in (run / "steps.jsonl").read_text().splitlines()]


def finding(kind):
    return Finding(10, kind, "layer", "It ails.")


def test_an_explosion_is_calmed_by_rate_clip_and_warm_up():
    recipe = recipe_from_tables({"schedule": {"name": "cosine", "warmup": 0.0}, "optimiser": {"name": "sgd"}})
    remedy = choose_remedy(finding("exploding"), recipe)
    assert remedy.recipe.optimiser["rate"] == pytest.approx(
        0.1 * registry.keyword_defaults(registry.find("descent.optimisers", "sgd"))["rate"]
    )
    assert [g["name"] for g in remedy.recipe.gradients] == ["clipped"]
    assert remedy.recipe.schedule["warmup"] == 0.1
    assert not remedy.restarts


def test_a_gradient_that_vanishes_where_nothing_can_be_normalised_is_scaled_by_layer():
    recipe = Recipe(task={"kind": "classification", "dims": 2}, model={"name": "logistic"})
    remedy = choose_remedy(finding("vanishing"), recipe)
    assert remedy.recipe.gradients == ({"name": "normalised", "each": True},)
    assert remedy.restarts


def test_a_spike_needs_no_remedy():
    assert choose_remedy(finding("spike"), Recipe()) is None

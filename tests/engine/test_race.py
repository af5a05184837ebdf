"""Optimisers race under equal conditions, and the verdict is only as sure as the numbers."""

import json
from dataclasses import replace
from shutil import copytree
from types import SimpleNamespace

import numpy as np
import pytest
from command_line import CLASSES, done, make_pictures, medgrad, one_line

from medgrad.engine.race.candidates import Candidate, search_grid, search_with_optuna
from medgrad.engine.race.race import Trial, pick_significantly_better, validation_curve
from medgrad.engine.race.seed_statistics import estimate_mean, paired
from medgrad.report.race import race_page, verdict_sentence
from medgrad.tasks.classification import Classification

TASK = Classification(dims=2, labels=("a", "b"))


@pytest.fixture(scope="module")
def brief():
    """Judge each run twice on its way, and time its steps once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("medgrad.engine.race.race.N_VALIDATIONS", 2)
        patch.setattr("medgrad.engine.race.race.TIMING_ROUNDS", 1)
        yield


@pytest.fixture(scope="module")
def raced(tmp_path_factory, brief):
    folder = tmp_path_factory.mktemp("race")
    data = make_pictures(folder / "data", cases=24)
    (folder / "changes.toml").write_text(CLASSES.partition("[optimiser]")[0].replace("batch = 8", "batch = 4"))
    words = ("race", data, "-o", folder / "out", "--optimisers", "sgd,adamw", "--minutes", 0.01, "--seeds", 2)
    return words, folder, done(*words, "--recipe", folder / "changes.toml")


def test_each_runs_from_every_seed_at_a_rate_of_its_own(raced):
    _, folder, found = raced
    assert {row["entrant"] for row in found["table"]} == {"sgd", "adamw"}
    for row in found["table"]:
        assert len(row["by_seed"]) == 2
        recipes = [(folder / "out" / row["entrant"] / f"seed-{n}" / "recipe.toml").read_text() for n in (0, 1)]
        assert recipes[0] != recipes[1]
        tried = list((folder / "out" / row["entrant"]).glob("rate-*"))
        assert 4 <= len(tried) <= 7
        beaten = [json.loads(p.read_text()) for p in (folder / "out" / row["entrant"]).glob("final-*/trial.json")]
        assert len(beaten) in (1, 2, 3)
        rates = [round(trial["rate"] / Candidate(row["entrant"]).default_rate, 3) for trial in beaten]
        assert 1.0 in [*rates, round(row["rate"] / Candidate(row["entrant"]).default_rate, 3)]
        assert {trial["steps"] for trial in beaten} == {row["steps"]}


def test_all_see_the_same_cases_in_the_same_order(raced):
    _, folder, _ = raced
    first = [
        json.loads((folder / "out" / n / "seed-0" / "steps.jsonl").read_text().splitlines()[0])
        for n in ("sgd", "adamw")
    ]
    assert first[0]["loss"] == first[1]["loss"]


def test_a_race_goes_on_where_it_was(raced):
    words, folder, found = raced
    before = {p: p.stat().st_mtime_ns for p in (folder / "out").rglob("trial.json")}
    again = done(*words, "--recipe", folder / "changes.toml")
    assert {p: p.stat().st_mtime_ns for p in (folder / "out").rglob("trial.json")} == before
    assert again["table"] == found["table"]


def test_a_run_at_another_rate_is_not_taken_for_the_one_that_is_wanted(raced, tmp_path):
    words, folder, _ = raced
    copytree(folder / "out", tmp_path / "out")
    known = json.loads((tmp_path / "out" / "sgd" / "rate.json").read_text())
    (tmp_path / "out" / "sgd" / "rate.json").write_text(json.dumps(known | {"optimiser": {"rate": 1e-5}}))
    found = done(*words[:3], tmp_path / "out", *words[4:], "--recipe", folder / "changes.toml")
    by_name = {row["entrant"]: row["rate"] for row in found["table"]}
    assert by_name["sgd"] == 1e-5 != by_name["adamw"]


def test_the_page_has_curves_and_table(raced):
    _, folder, _ = raced
    page = (folder / "out" / "report.html").read_text()
    assert page.count("<polyline") == 4
    shown = json.loads((folder / "out" / "race.json").read_text())
    assert shown["on_the_way"] == shown["cases"] < 32
    assert f"AUROC on {shown['cases']} validation cases, by step" in page
    assert "is first</h1>" in page


def test_one_alone_is_no_race(tmp_path):
    data = make_pictures(tmp_path / "data")
    one_line(medgrad("race", data, "-o", tmp_path / "out", "--optimisers", "sgd"), "at least two")


def test_an_optimiser_that_is_not_known_is_named_before_anyone_starts(tmp_path):
    data = make_pictures(tmp_path / "data")
    one_line(medgrad("race", data, "-o", tmp_path / "out", "--optimisers", "sgd,adamx"), "adamx")
    assert not list(tmp_path.rglob("trial.json"))


def test_what_follows_a_plus_are_gradients():
    changes = Candidate("sgd+full_batch+clipped").recipe_changes
    assert changes["optimiser"] == {"name": "sgd"}
    assert changes["gradients"] == ({"name": "full_batch"}, {"name": "clipped"})


@pytest.mark.parametrize(("best", "wanted", "tries"), [(0.1, 0.1, 3), (1.0, 1.0, 4), (10.0, 10.0, 5), (1e4, 1e3, 6)])
def test_the_grid_leads_on_while_its_edge_is_best(best, wanted, tries):
    own, asked = Candidate("adamw").default_rate, []

    def tried(settings):
        asked.extend(each["rate"] / own for each in settings)
        return [-abs(np.log10(each["rate"] / own / best)) for each in settings]

    found = [each["rate"] / own for each in search_grid(Candidate("adamw"), tried, (0.01, 0.1, 1.0))]
    assert found[:2] == pytest.approx([wanted, wanted / 10])
    assert found[2:] == pytest.approx([wanted * 10][: tries < 6])
    assert len(asked) == tries


def test_optuna_searches_rate_and_decay():
    pytest.importorskip("optuna", reason="it needs the extra tune")
    asked = []

    def tried(settings):
        asked.extend(settings)
        return [-abs(np.log10(each["rate"] / 3e-3)) for each in settings]

    (best,) = search_with_optuna(Candidate("adamw"), tried, 12)
    assert len(asked) == 12
    assert set(best) == {"rate", "decay"}
    assert best == min(asked, key=lambda each: abs(np.log10(each["rate"] / 3e-3)))


def test_seconds_are_those_of_learning():
    steps = [{"step": n, "loss": {}, "seconds": s} for n, s in enumerate((1.5, 2.0))]
    found = [{"step": n, "valid": {"auroc": v}} for n, v in ((0, 0.5), (1, "nan"), (1, 0.75))]
    lines = [steps[0], found[0], steps[1], *found[1:]]
    assert validation_curve(lines) == ((1, 1.5, 0.5), (2, 3.5, 0.75))


def rows(seed, sharpness, n=40):
    """Rows of one run: probabilities that agree with the truth as clearly as asked."""
    rng = np.random.default_rng(seed)
    truth = np.arange(n) % 2
    said = 1 / (1 + np.exp(-(sharpness * (2 * truth - 1) + rng.standard_normal(n))))
    return [
        {"truth/a": 1.0 - t, "truth/b": float(t), "prob/a": 1 - p, "prob/b": p}
        for t, p in zip(truth, said, strict=True)
    ]


def test_the_mean_over_seeds_is_that_of_the_runs_alone():
    runs = [rows(s, 0.7) for s in range(3)]
    each = [TASK.summarise(run)["auroc"] for run in runs]
    value, low, high = estimate_mean(TASK, runs, [str(i) for i in range(40)])
    assert value == pytest.approx(np.mean(each))
    assert low < value < high


def test_a_clear_difference_is_shown_and_none_is_not():
    patients = [str(i) for i in range(40)]
    weak, strong = [rows(s, 0.3) for s in range(3)], [rows(s + 10, 2.0) for s in range(3)]
    found = paired(TASK, weak, strong, patients)
    assert found["difference"] == pytest.approx(
        np.mean([TASK.summarise(r)["auroc"] for r in strong]) - np.mean([TASK.summarise(r)["auroc"] for r in weak])
    )
    assert found["p"] < 0.01
    assert paired(TASK, weak, [rows(s + 20, 0.3) for s in range(3)], patients)["p"] > 0.05


def table(*figures, p=0.5):
    each = {
        "rate": 1e-3,
        "steps": 10,
        "seconds_a_step": 0.1,
        "low": 0.1,
        "high": 0.9,
        "n": 9,
        "failed": 0,
        "curves": [],
    }
    found = [each | {"entrant": f"o{i}", "value": v, "by_seed": [v]} for i, v in enumerate(figures)]
    for row in found[1:]:
        row["behind"] = {"difference": 0.1, "low": 0.0, "high": 0.2, "p": p, "p_holm": p}
    return {"aim": "auroc", "minutes": 1, "seeds": 1, "cases": 9, "patients": 9, "winner": "o0", "table": found}


def test_the_verdict_claims_no_more_than_was_shown():
    assert "is not shown" in verdict_sentence(table(0.9, 0.8))
    assert "shown to be better than each" in verdict_sentence(table(0.9, 0.8, 0.7, p=0.001))
    assert "is first" in race_page(table(0.9, 0.8), "x")


@pytest.mark.parametrize(("own", "other", "wanted"), [(1.0, 1.0, 0), (1.0, 1.2, 0), (1.0, 30.0, 0), (0.3, 30.0, 1)])
def test_an_optimisers_own_rate_stays_unless_another_is_shown_to_be_better(own, other, wanted):
    """That all 40 are ranked right shows little beside an AUROC of 0.99, however sure the other is."""
    made = [rows(0, own), rows(1, other)]
    ground = SimpleNamespace(task=TASK, patients=[str(n) for n in range(len(made[0]))])
    trials = [Trial("adamw", 1.0, 0, 9, 1.0, TASK.summarise(r)[TASK.primary_metric], rows=tuple(r)) for r in made]
    assert pick_significantly_better(ground, trials, default_index=0) == wanted
    assert pick_significantly_better(ground, [replace(trials[0], figure=None), trials[1]], default_index=0) == 1

"""A run that became smaller stands by itself, costs what was asked for, and is held against its parent."""

import json

import pytest
import torch
from tiny_set import make_folder

from medgrad import fit, predict, prune
from medgrad.compress.search import stages
from medgrad.compress.search.parents import Candidate
from medgrad.compress.search.stage_plan import Stage
from medgrad.compress.structure.cost import count_cost
from medgrad.engine.evaluation.compare import read_cases_csv
from medgrad.engine.runs.checkpoint import read_weights
from medgrad.engine.runs.run import Run, build_model, open_run
from medgrad.errors import LayoutError, SettingError
from medgrad.trust.noninferiority import NonInferiority


@pytest.fixture(scope="module")
def parent(tmp_path_factory, brief_searches):
    folder = tmp_path_factory.mktemp("prune")
    data = make_folder(folder / "data")
    recipe = (
        (data / "recipe.toml").read_text().replace("[4, 8]", "[8, 16]").replace("validations = 6", "validations = 2")
    )
    (folder / "wide.toml").write_text(recipe)
    fit(str(data), out=folder / "run", steps=24, recipe=folder / "wide.toml")
    return folder


def count_time(patch):
    """Let a network take as long as it has work to do: the clock would tell other networks each time."""
    patch.setattr(
        "medgrad.compress.search.fold.FoldContext.time_network",
        lambda ground, net, **_: float(count_cost(net, ground.example).flops),
    )


@pytest.fixture(scope="module")
def pruned(parent):
    out = parent / "small"
    asked = {
        "target": "flops=0.3",
        "steps": 8,
        "min_channels": 2,
        "layers": 0,
        "force_target": True,
        "all_baselines": True,
    }
    with pytest.MonkeyPatch.context() as patch:
        count_time(patch)
        return out, prune(parent / "run", out=out, **asked)


def flops(run):
    recipe = Run(run).load_recipe()
    network = build_model(recipe, recipe.build_task(), 1)
    return count_cost(network, torch.zeros(1, 1, 16, 16, 16)).flops


def test_it_costs_what_was_asked_for(parent, pruned):
    out, said = pruned
    assert flops(out) <= 0.3 * flops(parent / "run")
    assert said["left"]["flops"] == pytest.approx(flops(out) / flops(parent / "run"))
    assert said["reached"]


def test_it_stands_by_itself(parent, pruned):
    out, _ = pruned
    answers = predict(out, parent / "data" / "images" / "case_00.nii.gz", out=parent / "answers")
    assert len(answers["answers"]) == 1
    assert not (out / "rungs").exists()
    assert json.loads((out / "evaluation.json").read_text())["metrics"]["dice/mean"]["n"] > 0
    page = (out / "report.html").read_text()
    assert "What pruning did" in page
    assert "A leak between the sides" not in page
    assert len(open_run(out).networks) == 1


def test_the_patients_that_choose_are_not_those_that_are_reported(pruned):
    told, found = (json.loads((pruned[0] / f).read_text()) for f in ("pruned.json", "evaluation.json"))
    chose, reported = told["patients"]["chose"], told["patients"]["reported"]
    assert chose
    assert not set(chose) & set(reported)
    assert read_cases_csv(pruned[0])[1] == reported
    assert found["metrics"]["dice/mean"]["n"] == found["patients"] == told["best"]["verdict"]["n"] == len(reported)
    assert all(rung["verdict"]["n"] == len(chose) for rung in told["rungs"])
    assert f"{len(chose)} validation patient chose" in found["told"][0]


def test_a_narrow_network_stands_in_the_first_table(pruned):
    table = (pruned[0] / "report.html").read_text().split("What pruning did</h2>")[1].split("<table>")[1]
    assert "a narrow network from nothing, in the same time" in table
    assert "This run is better by" in table
    assert "by taylor" not in table
    told = json.loads((pruned[0] / "pruned.json").read_text())
    narrow = told["controls"][0]
    assert narrow["paired"]["difference"] == pytest.approx(told["best"]["score"] - narrow["score"])


def test_the_controls_cost_no_more_and_no_less(pruned):
    told = json.loads((pruned[0] / "pruned.json").read_text())
    best = told["rungs"][told["chosen"]]
    assert [c["made"] for c in told["controls"]] == ["narrow", "magnitude", "random"]
    for control in told["controls"]:
        assert 0.4 * best["flops"] <= control["flops"] <= 1.05 * best["flops"]
    ways = [sum(r["steps"] for r in told["rungs"]), told["controls"][0]["steps"]]
    assert ways == [8, 8]


def test_each_rung_is_smaller_and_learns_from_where_the_one_before_ended(pruned):
    told = json.loads((pruned[0] / "pruned.json").read_text())
    sizes = [told["whole"]["flops"], *(r["flops"] for r in told["rungs"])]
    assert sizes == sorted(sizes, reverse=True)
    tried = [(r["down"], r["begin"], r["taught"], r["flops"]) for r in told["rungs"]][:2]
    assert tried == [(0.5, -1, False, sizes[1]), (0.5, -1, True, sizes[1])]
    assert set(told["widths"]) == set(told["before"])
    assert all(
        max(a) < max(b) or min(a) < min(b)
        for a, b in zip(told["widths"].values(), told["before"].values(), strict=True)
    )


def test_a_search_in_which_nothing_is_good_ends_with_a_word_and_is_kept_for_a_wider_margin(parent, monkeypatch):
    asked = {
        "target": "flops=0.2",
        "min_channels": 1,
        "min_share": 0.0,
        "layers": 0,
        "baselines": False,
        "criterion": "random",
        "seed": 1,
    }
    with pytest.raises(SettingError, match=r"No smaller network was shown to be as good.* it goes on"):
        prune(parent / "run", out=parent / "bad", steps=2, margin=1e-6, **asked)
    assert not (parent / "bad" / "recipe.toml").exists()
    monkeypatch.setattr(stages, "run_descent", lambda *_: pytest.fail("it learned again"))
    assert prune(parent / "run", out=parent / "bad", steps=2, margin=2.0, **asked)["run"]


def test_of_networks_that_few_patients_cannot_show_to_be_good_one_within_the_margin_is_better_than_none(tmp_path):
    def seen(*losses, width=0.05):
        children = [
            Candidate("taylor", (), 0.9 - x, NonInferiority("dice", x, x + width, 0.01, False, 4)) for x in losses
        ]
        found = [Stage(down / len(losses), 1.0) for down in range(1, 1 + len(losses))]
        return stages.SearchState(tmp_path, "", 1.0, 1.0, 0.0, 1, 0.1, stages=found, children=children)

    assert seen(0.004, 0.008, 0.02).best_index(force_target=False) == 0
    assert seen(0.006, 0.008, 0.02).best_index(force_target=False) == 1
    assert seen(0.02, 0.03).best_index(force_target=False) is None
    assert seen(0.02, 0.03).best_index(force_target=True) == 1
    assert seen(0.008, 0.009, width=0.005).best_index(force_target=False) is None


def test_folds_are_pruned_side_by_side_and_judged_by_all_patients(parent):
    fit(str(parent / "data"), out=parent / "folds", folds=2, steps=4, recipe=parent / "wide.toml")
    out = parent / "small_folds"
    words = {
        "target": "flops=0.5",
        "steps": 4,
        "min_channels": 2,
        "layers": 0,
        "baselines": False,
        "force_target": True,
        "distill": 0.5,
    }
    said = prune(parent / "folds", out=out, **words)
    told, before = (json.loads((out / f).read_text()) for f in ("pruned.json", "cohort.json"))
    chose, reported = told["patients"]["chose"], told["patients"]["reported"]
    assert sorted(chose + reported) == sorted(c["patient"] for c in before["cases"])
    assert len(before["cases"]) == 8
    assert said["verdict"]["n"] == len(reported) == told["rungs"][0]["verdict"]["n"] == len(chose) == 4
    assert [r["steps"] for r in told["rungs"]] == [4]
    assert {name.split("/")[0] for name in told["widths"]} == {"fold-0", "fold-1"}
    assert before["cases"] == json.loads((parent / "folds" / "cohort.json").read_text())["cases"]
    assert len(open_run(out).networks) == 2
    for fold in Run(out).fold_runs:
        assert flops(fold.folder) <= 0.5 * flops(parent / "folds" / fold.folder.name)
        taught = next(g for g in fold.load_recipe().gradients if g["name"] == "distilled")
        assert taught["run"] == str((parent / "folds" / fold.folder.name).resolve())
    assert len(predict(out, parent / "data" / "images" / "case_00.nii.gz", out=parent / "two")["answers"]) == 1
    assert "What pruning did" in (out / "report.html").read_text()


@pytest.mark.parametrize(
    ("target", "word"),
    [("flops=0.0001", "flops of this model come down to"), ("flops=0.9,latency=0.0001", "answers within 0.0 ms")],
)
def test_what_no_network_can_be_is_refused_before_any_has_learned(parent, tmp_path, target, word):
    with pytest.raises(SettingError, match=word):
        prune(parent / "run", out=tmp_path / "small", target=target, steps=4000, baselines=False)
    assert not list(tmp_path.rglob("steps.jsonl"))


def test_a_search_that_was_cut_off_goes_on_though_its_parent_still_has_all_layers(parent, tmp_path, monkeypatch):
    asked = {
        "target": "flops=0.5",
        "steps": 4,
        "min_channels": 2,
        "layers": 1,
        "baselines": False,
        "force_target": True,
    }

    def cut_off(*_):
        raise KeyboardInterrupt

    def refused(*_):
        raise SettingError("No network can be so small.")

    with monkeypatch.context() as patch:
        patch.setattr("medgrad.compress.prune.write_pruned_run", cut_off)
        with pytest.raises(KeyboardInterrupt):
            prune(parent / "run", out=tmp_path / "small", **asked)
    monkeypatch.setattr("medgrad.compress.search.stages.check_feasible", refused)
    prune(parent / "run", out=tmp_path / "small", **asked)
    assert flops(tmp_path / "small") <= 0.5 * flops(parent / "run")


def test_a_search_that_is_killed_between_two_stages_ends_as_one_that_was_not(parent, tmp_path, monkeypatch):
    asked = {"target": "flops=0.3", "steps": 5, "min_channels": 2, "layers": 0, "margin": 0.9, "distill": 0.0}
    count_time(monkeypatch)
    prune(parent / "run", out=tmp_path / "whole", **asked)
    learned, calls = stages.run_descent, []

    def killed(*words):
        calls.append(words)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return learned(*words)

    monkeypatch.setattr(stages, "run_descent", killed)
    with pytest.raises(KeyboardInterrupt):
        prune(parent / "run", out=tmp_path / "killed", baselines=False, **asked)
    with pytest.raises(SettingError, match="has begun for"):
        prune(parent / "run", out=tmp_path / "killed", baselines=False, **{**asked, "target": "flops=0.4"})
    prune(parent / "run", out=tmp_path / "killed", baselines=False, **asked)
    whole, again = (json.loads((tmp_path / n / "pruned.json").read_text()) for n in ("whole", "killed"))
    told = [[(r["down"], r["begin"], r["time"], r["flops"], r["score"]) for r in t["rungs"]] for t in (whole, again)]
    assert told[0] == told[1]
    assert len(told[0]) == 3
    one, other = (read_weights(tmp_path / n / "weights" / "best.safetensors")[0] for n in ("whole", "killed"))
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert [c["made"] for c in whole["controls"]] == ["narrow"]


@pytest.mark.parametrize("taught", [0.0, 0.25])
def test_the_parent_teaches_by_the_share_of_the_loss_that_is_asked_for(parent, tmp_path, taught):
    out = tmp_path / "small"
    asked = {
        "target": "flops=0.5",
        "steps": 4,
        "min_channels": 2,
        "layers": 0,
        "baselines": False,
        "force_target": True,
    }
    prune(parent / "run", out=out, distill=taught, **asked)
    steps = [json.loads(line) for line in (out / "steps.jsonl").read_text().splitlines()]
    assert [g["weight"] for g in Run(out).load_recipe().gradients if g["name"] == "distilled"] == [taught] * (
        taught > 0
    )
    assert any("distilled/loss" in step for step in steps) == (taught > 0)


def test_minutes_that_are_hardly_any_still_give_a_network(parent, tmp_path):
    asked = {"target": "flops=0.5", "margin": 0.9, "layers": 0, "baselines": False, "distill": 0.0}
    prune(parent / "run", out=tmp_path / "small", minutes=0.001, **asked)
    told = json.loads((tmp_path / "small" / "pruned.json").read_text())
    assert told["rungs"][0]["steps"] >= 20
    assert told["reached"]


def test_cases_that_are_gone_are_told(parent, tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    for name in ("recipe.toml", "weights"):
        (run / name).symlink_to(parent / "run" / name)
    (run / "cohort.json").write_text(json.dumps({"root": str(tmp_path / "gone"), "cases": []}))
    with pytest.raises(LayoutError, match="--data"):
        prune(run, out=tmp_path / "small", steps=4)

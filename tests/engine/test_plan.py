"""A plan is what the task proposes for the data, and a task may bring a network of its own."""

import sys
import types

import pytest
import torch
from tiny_set import make_facts, make_folder

from medgrad import registry
from medgrad.data.cohorts.layouts import recognise
from medgrad.engine.evaluation.infer import answer_case
from medgrad.engine.runs.recipe import Recipe, check_part_settings, merge_changes, recipe_from_tables
from medgrad.engine.runs.run import build_model, open_run
from medgrad.engine.training.fit import fit
from medgrad.engine.training.plan import Budget, plan
from medgrad.engine.training.remedies import add_normalisation
from medgrad.errors import NameNotFound, SettingError

PLANS = [
    (
        make_facts("segmentation", 3, shapes=((30, 512, 512),) * 2, spacings=((5.0, 0.7, 0.7), (6.0, 0.8, 0.8))),
        {"name": "unet", "channels": (16, 32, 64, 128, 256), "encoder": "plain"},
        (14, 96, 96),
        {"name": "muon", "rate": 0.01, "decay": 0.01},
    ),
    (
        make_facts("classification", 2, shapes=((28, 28),) * 3),
        {"name": "resnet", "channels": (32, 64, 128), "blocks": (2, 2, 2), "stem": 1, "dropout": 0.3},
        (28, 28),
        {"name": "muon", "rate": 0.01, "decay": 0.05},
    ),
    (
        make_facts("detection", 2, shapes=((512, 512),) * 3),
        {"name": "retinanet", "channels": (16, 32, 64, 128, 128), "first": 2, "width": 64, "scales": (2.0, 2.8)},
        (360, 360),
        {"name": "muon", "rate": 0.01, "decay": 0.01},
    ),
    (
        make_facts("registration", 3, channels=("fixed", "moving"), across=True),
        {"name": "unet", "channels": (8, 16, 32, 48)},
        (40, 40, 40),
        {"name": "muon", "rate": 0.005, "decay": 0.01},
    ),
]


@pytest.mark.parametrize(("facts", "model", "patch", "optimiser"), PLANS, ids=[p[0].task for p in PLANS])
def test_known_plans(facts, model, patch, optimiser):
    recipe = plan(facts)
    assert {k: v for k, v in recipe.model.items() if k != "strides"} == model
    assert recipe.training.patch == patch
    assert recipe.optimiser == optimiser


def test_the_task_adds_what_it_knows_of_the_data():
    assert plan(make_facts("detection", 2, most_objects=21)).task["max_objects"] == 32
    assert plan(make_facts("registration", 2, across=True)).task["centre_aligned"] is True
    assert plan(make_facts("classification", 2, exclusive=False)).task["exclusive"] is False


def test_a_convex_model_is_solved_and_a_table_needs_one():
    table = make_facts("classification", 1, columns=(("age", 50.0, 10.0), ("volume", 3.0, 1.0)))
    assert plan(table).solver["name"] == "logistic_interior_point"
    assert plan(table, model="svm").task["loss_name"] == "hinge"
    assert plan(table, model="mlp").solver == {}
    with pytest.raises(SettingError, match="table of features"):
        plan(table, model="resnet")


def test_the_budget_says_how_long():
    facts = make_facts("segmentation", 2)
    assert plan(facts, Budget(minutes=3.0), seed=7).training.minutes == 3.0
    assert plan(facts, Budget(steps=40), seed=7).training.steps == 40
    assert plan(facts, seed=7).training.seed == 7
    assert plan(facts, Budget(until_plateau=True)).stopping[0]["name"] == "no_improvement"


TASK = """
from dataclasses import dataclass
from torch import nn
from medgrad.tasks.segmentation import Segmentation
from medgrad.tasks import Task

@dataclass(frozen=True)
class Outline(Segmentation):
    propose = Task.propose

    def network(self, inputs: int, *, width: int = 4, normalise: str = "none") -> nn.Module:
        make = nn.Conv2d if self.dims == 2 else nn.Conv3d
        return nn.Sequential(make(inputs, width, 3, padding=1), nn.ReLU(), make(width, self.outputs.channels, 1))

THIS = Outline
"""


@pytest.fixture
def outline(monkeypatch):
    """A task whose file holds its network, as if it lay in the folder."""
    listed, module = registry._list_modules, types.ModuleType("medgrad.tasks.outline")
    more = {"tasks": ("outline",)}
    monkeypatch.setattr(registry, "_list_modules", lambda room: (*listed(room), *more.get(room, ())))
    monkeypatch.setitem(sys.modules, module.__name__, module)
    exec(TASK, module.__dict__)
    return "outline"


def test_a_task_proposes_and_builds_its_own_network(outline):
    recipe = merge_changes(plan(make_facts(outline, 2)), {"model": {"width": 6}})
    assert recipe.model == {"name": outline, "width": 6}
    network = build_model(recipe, recipe.build_task(), 1)
    assert network[0].out_channels == 6
    assert network(torch.zeros(2, 1, 8, 8)).shape == (2, 3, 8, 8)


def test_another_network_can_be_chosen_for_it(outline):
    recipe = plan(make_facts(outline, 2), model="unet")
    assert recipe.model["name"] == "unet"
    assert merge_changes(recipe, {"model": {"name": outline}}).model == {"name": outline}


def test_the_settings_of_its_network_are_checked(outline):
    with pytest.raises(SettingError, match=r"no setting 'widht'.*'width'"):
        Recipe(task={"kind": outline}, model={"name": outline, "widht": 3})
    with pytest.raises(SettingError, match=r"'width'.*whole number"):
        recipe_from_tables({"task": {"kind": outline}, "model": {"name": outline, "width": "wide"}})
    with pytest.raises(SettingError, match="no setting 'widht'"):
        check_part_settings({"model": {"name": outline, "widht": 3}})


def test_its_network_is_for_no_other_task(outline):
    for tables in ({"task": {"kind": "segmentation"}, "model": {"name": outline}}, {"model": {"name": "segmentation"}}):
        with pytest.raises(NameNotFound, match="in models"):
            recipe_from_tables(tables)
        with pytest.raises(NameNotFound, match="in models"):
            check_part_settings({"task": {"kind": "segmentation"}, "model": tables["model"]})


def test_a_remedy_knows_the_settings_of_its_network(outline):
    remedy = add_normalisation(Recipe(task={"kind": outline}, model={"name": outline}))
    assert remedy.recipe.model == {"name": outline}
    assert remedy.recipe.gradients[-1]["name"] == "normalised"


def test_its_network_is_trained_saved_and_opened(outline, tmp_path):
    changes = {
        "task": {"kind": outline},
        "training": {"patch": (8, 8, 8), "threads": 1, "validations": 1},
        "inference": {"tune": False},
    }
    cohort = recognise(make_folder(tmp_path / "set", cases=4, size=12))
    fit(cohort, tmp_path / "run", steps=2, changes=changes, device="cpu")
    trained = open_run(tmp_path / "run")
    assert trained.recipe.model == {"name": outline}
    assert trained.networks[0].network[0].weight.shape == (4, 1, 3, 3, 3)
    assert answer_case(trained, trained.task.example(0)).array.shape == (16, 16, 16)

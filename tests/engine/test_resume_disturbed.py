"""A run that a neighbour on the machine disturbed, killed and resumed or repeated, comes to the same bits."""

import json
import tomllib
from dataclasses import dataclass, field

import pytest
import torch
from tiny_set import RECIPE, make_folder

from medgrad.data.cohorts.layouts import recognise
from medgrad.data.cohorts.split import split
from medgrad.engine.compute.device import choose_device, restore_threads
from medgrad.engine.loading.cache import load_split
from medgrad.engine.progress import SilentProgress
from medgrad.engine.runs.checkpoint import read_checkpoint
from medgrad.engine.runs.recipe import Recipe, merge_changes, read_recipe
from medgrad.engine.runs.run import Run
from medgrad.engine.training.fit import load_time_budget
from medgrad.engine.training.time_budget import TimeBudget
from medgrad.engine.training.trainer import Trainer, run_training

DISTURBED = {5: (5, 2, 26), 12: (12, 1, 15), 14: (14, 2, 22)}
"""What the neighbour made of 24 steps on one thread."""


class KilledError(Exception):
    pass


@dataclass
class Disturbed(TimeBudget):
    """Plans anew at given steps, as if the machine had asked for it, and dies after so many."""

    kill_at: int = 0
    taken: list[float] = field(default_factory=list)

    def record_step(self, seconds):
        super().record_step(seconds)
        self.taken.append(seconds)
        if len(self.taken) == self.kill_at:
            raise KilledError

    def replan(self, training, done):
        del training
        return DISTURBED.get(done)


def machinery(cases, folder, recipe):
    """Make what trains a recipe in a folder, on cases that are prepared already."""
    train, valid = cases
    run = Run(folder)
    run.write_recipe(recipe)
    return Trainer(run, recipe, recipe.build_task(), train, valid, choose_device("float32", "cpu"))


def learned(cases, folder, recipe, pace=None):
    with restore_threads():
        run_training(machinery(cases, folder, recipe), time_budget=pace)


def weights(folder, name="last"):
    return read_checkpoint(folder / "weights" / f"{name}.safetensors")


def same(one, other):
    for part in ("model", "ema"):
        assert all(torch.equal(v, other[part][k]) for k, v in one[part].items())
    return True


def losses(folder):
    lines = [json.loads(line) for line in (folder / "steps.jsonl").read_text().splitlines()]
    return [(line["step"], line.get("loss"), line.get("rate"), line.get("valid")) for line in lines]


@pytest.fixture(scope="module")
def cases(tmp_path_factory):
    folder = tmp_path_factory.mktemp("disturbed")
    cohort = split(recognise(make_folder(folder / "data", cases=6)), seed=0)
    return [load_split(cohort, side, [], folder, SilentProgress())[0] for side in ("train", "val")]


@pytest.fixture(scope="module")
def recipe():
    task = {"kind": "segmentation", "dims": 3, "labels": ("1",)}
    planned = merge_changes(Recipe(task=task), tomllib.loads(RECIPE))
    return planned.with_training(steps=24, threads=1, validations=4, validation_cases=1)


@pytest.fixture(scope="module")
def whole(cases, recipe, tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    learned(cases, folder, recipe, Disturbed(max_threads=2))
    return folder


def test_the_recipe_says_what_was_decided(whole):
    training = read_recipe(whole / "recipe.toml").training
    assert training.replanned == ((0, 1, 24), *DISTURBED.values())
    assert training.steps == 22
    assert max(step for step, *_ in losses(whole)) == 21


@pytest.mark.parametrize("kill_at", [13, *(pytest.param(at, marks=pytest.mark.slow) for at in (8, 20))])
def test_killed_and_started_again_it_comes_to_the_same_bits(cases, recipe, whole, kill_at, tmp_path):
    with pytest.raises(KilledError):
        learned(cases, tmp_path, recipe, Disturbed(kill_at=kill_at, max_threads=2))
    learned(cases, tmp_path, read_recipe(tmp_path / "recipe.toml"), Disturbed(max_threads=2))
    assert losses(tmp_path) == losses(whole)
    assert same(weights(tmp_path), weights(whole))
    assert same(weights(tmp_path, "best"), weights(whole, "best"))


def test_repeated_by_its_recipe_it_comes_to_the_same_bits(cases, whole, tmp_path):
    learned(cases, tmp_path, read_recipe(whole / "recipe.toml"))
    assert losses(tmp_path) == losses(whole)
    assert same(weights(tmp_path), weights(whole))


def test_a_run_that_goes_on_is_watched_with_the_time_that_it_had_left(whole):
    again = load_time_budget(Run(whole))
    assert again is not None
    assert again.max_threads == 2

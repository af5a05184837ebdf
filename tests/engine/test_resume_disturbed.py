"""A run that a neighbour on the machine disturbed, killed and resumed or repeated, comes to the same bits."""

import json
from dataclasses import dataclass, field

import pytest
import torch
from command_line import done
from tiny_set import make_folder

from medgrad.data.layouts import recognise
from medgrad.data.split import split
from medgrad.engine import fit as module
from medgrad.engine.checkpoint import read_checkpoint
from medgrad.engine.fit import fit
from medgrad.engine.pace import Pace
from medgrad.engine.recipe import read_recipe, read_table

DISTURBED = {5: (5, 2, 26), 12: (12, 1, 15), 14: (14, 2, 22)}
"""What the neighbour made of 24 steps on one thread."""


class KilledError(Exception):
    pass


@dataclass
class Disturbed(Pace):
    """Plans anew at given steps, as if the machine had asked for it, and dies after so many."""

    kill_at: int = 0
    taken: list[float] = field(default_factory=list)

    def took(self, seconds):
        super().took(seconds)
        self.taken.append(seconds)
        if len(self.taken) == self.kill_at:
            raise KilledError

    def replan(self, training, done):
        del training
        return DISTURBED.get(done)


def learned(data, folder, monkeypatch, *, kill_at=0):
    """Fit as if minutes had been turned into 24 steps, on a disturbed machine."""

    def decide(learner, deadline, tests, teller):
        recipe = learner.recipe.with_training(steps=24, threads=1, validations=4, validation_cases=2)
        learner.recipe = recipe
        learner.begin()
        return recipe, Disturbed(kill_at=kill_at, most=2)

    monkeypatch.setattr(module, "decide_steps", decide)
    monkeypatch.setattr(module, "resumed", lambda state: Disturbed(most=int(state["most_threads"])))
    cohort = split(recognise(data), seed=0)
    return fit(cohort, folder, minutes=1.0, changes=read_table(data / "recipe.toml"))


def weights(folder, name="last"):
    return read_checkpoint(folder / "weights" / f"{name}.safetensors")


def same(one, other):
    for part in ("model", "average"):
        assert all(torch.equal(v, other[part][k]) for k, v in one[part].items())
    return True


def losses(folder):
    lines = [json.loads(line) for line in (folder / "steps.jsonl").read_text().splitlines()]
    return [(line["step"], line.get("loss"), line.get("rate"), line.get("valid")) for line in lines]


@pytest.fixture(scope="module")
def disturbed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("disturbed")
    data = make_folder(folder / "data")
    with pytest.MonkeyPatch.context() as patch:
        learned(data, folder / "whole", patch)
    return data, folder / "whole"


def test_the_recipe_says_what_was_decided(disturbed):
    training = read_recipe(disturbed[1] / "recipe.toml").training
    assert training.replanned == ((0, 1, 24), *DISTURBED.values())
    assert training.steps == 22
    assert max(step for step, *_ in losses(disturbed[1])) == 21


@pytest.mark.parametrize("kill_at", [13, *(pytest.param(at, marks=pytest.mark.slow) for at in (8, 20))])
def test_killed_and_started_again_it_comes_to_the_same_bits(disturbed, kill_at, tmp_path, monkeypatch):
    data, whole = disturbed
    with pytest.raises(KilledError):
        learned(data, tmp_path / "run", monkeypatch, kill_at=kill_at)
    learned(data, tmp_path / "run", monkeypatch)
    assert losses(tmp_path / "run") == losses(whole)
    assert same(weights(tmp_path / "run"), weights(whole))
    assert same(weights(tmp_path / "run", "best"), weights(whole, "best"))


def test_repeated_by_its_recipe_it_comes_to_the_same_bits(disturbed, tmp_path):
    data, whole = disturbed
    done("fit", data, "-o", tmp_path / "again", "--recipe", whole / "recipe.toml")
    assert losses(tmp_path / "again") == losses(whole)
    assert same(weights(tmp_path / "again"), weights(whole))

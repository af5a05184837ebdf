"""What a recipe's sampler draws is what a network is trained on."""

import json
import tomllib
from dataclasses import replace

import numpy as np
import pytest
import torch

from medgrad.data import Case, Grid, Image, Scores
from medgrad.descent.gradients import build_gradients
from medgrad.engine.compute.device import choose_device
from medgrad.engine.compute.distributed import ProcessGroup
from medgrad.engine.evaluation.calibrate import correct_priors
from medgrad.engine.loading.cache import PreparedCase
from medgrad.engine.runs.checkpoint import read_checkpoint
from medgrad.engine.runs.recipe import Recipe, Training, check_part_settings, merge_changes
from medgrad.engine.runs.run import Run
from medgrad.engine.training.trainer import Trainer, run_training
from medgrad.errors import SettingError

RECIPE = Recipe(
    task={"kind": "classification", "dims": 2, "labels": ("a", "b")},
    model={"name": "cnn", "channels": (4,)},
    sampler={"name": "poisson"},
    gradients=({"name": "clipped"},),
    training=Training(steps=12, batch=1, patch=(8, 8), validations=0, threads=1, precision="float32"),
)


def prepared(number):
    image = np.random.default_rng(number).normal(number % 2, 0.1, (8, 8)).astype(np.float32)
    truth = Scores(np.eye(2)[number % 2], ("a", "b"))
    case = Case(f"case-{number}", {"image": Image(image, Grid.from_shape((8, 8)))}, truth, f"patient-{number // 2}")
    return PreparedCase(case, (), case)


CASES = [prepared(number) for number in range(6)]


def trainer(folder, recipe=RECIPE, processes=None):
    place = choose_device("float32", "cpu")
    return Trainer(Run(folder), recipe, recipe.build_task(), CASES, [], place, processes or ProcessGroup())


def losses(folder):
    return [json.loads(line)["loss"] for line in (folder / "steps.jsonl").read_text().splitlines()]


class KilledError(Exception):
    pass


def test_batches_that_vary_are_trained_on_and_resumed_to_the_same_bits(tmp_path):
    """Three patients and a batch of one: a good part of the batches is empty."""
    run_training(trainer(tmp_path / "whole"))
    drawn = [len(trainer(tmp_path / "x").sampler.draw(step, 1, 0)) for step in range(12)]
    assert 0 in drawn
    assert len(set(drawn)) > 2
    assert [bool(loss) for loss in losses(tmp_path / "whole")] == [count > 0 for count in drawn]

    def kill(done, *_):
        if done == 5:
            raise KilledError

    with pytest.raises(KilledError):
        run_training(trainer(tmp_path / "killed", RECIPE.with_training(validations=12)), on_step=kill)
    run_training(trainer(tmp_path / "killed"))
    assert losses(tmp_path / "killed") == losses(tmp_path / "whole")
    first, second = (read_checkpoint(tmp_path / name / "weights" / "best.safetensors") for name in ("whole", "killed"))
    assert all(torch.equal(value, second["model"][key]) for key, value in first["model"].items())


def test_an_empty_batch_has_the_shapes_of_others(tmp_path):
    made = trainer(tmp_path)
    batch = made.empty_batch()
    assert batch.inputs["image"].shape == (0, 1, 8, 8)
    assert [value.shape for value in batch.target.values()] == [(0,)]
    assert build_gradients([])(made.network, made.task, batch) == {}


def test_batches_that_vary_are_not_shared_by_several_processes(tmp_path):
    with pytest.raises(SettingError, match=r"sampler 'poisson' differ in size, so 2 processes"):
        trainer(tmp_path, processes=ProcessGroup(0, 2))
    trainer(tmp_path, replace(RECIPE, sampler={"name": "by_patient"}), processes=ProcessGroup(0, 2))


def test_probabilities_are_corrected_for_what_is_drawn_more_often():
    task = RECIPE.build_task()
    assert correct_priors(task, {"a": 0.5, "b": 2.0}).shift == (0.693147, -0.693147)
    assert correct_priors(task, {}) == task


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('name = "balance"', "Did you mean 'balanced'"),
        ('name = "balanced"\nclass_balanc = 1', "Did you mean 'class_balance'"),
        ('name = "balanced"\nclass_balance = 2', "from 0 to 1"),
        ("rate = 0.5", "has no setting 'rate'"),
    ],
)
def test_a_wrong_sampler_is_told(text, said):
    changes = tomllib.loads(f"[sampler]\n{text}")
    with pytest.raises((SettingError, LookupError), match=said):
        merge_changes(Recipe(), changes)


def test_a_sampler_is_checked_before_any_file_is_read():
    with pytest.raises(SettingError, match="from 0 to 1"):
        check_part_settings({"sampler": {"name": "balanced", "class_balance": 2.0}})


def test_another_sampler_drops_the_settings_of_the_first():
    assert merge_changes(Recipe(), {"sampler": {"name": "shuffled"}}).sampler == {"name": "shuffled"}
    changed = merge_changes(Recipe(), {"sampler": {"class_balance": 1.0}})
    assert changed.sampler == {"name": "balanced", "class_balance": 1.0}

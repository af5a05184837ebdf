"""Generation by label: a network that is told the class of each image makes images of the class that is asked for."""

import json

import numpy as np
import pytest
from command_line import done, medgrad, one_line

from medgrad.data import Case, Grid, Image
from medgrad.data.cohorts.layouts import Hints, recognise
from medgrad.data.formats import read, write
from medgrad.engine.evaluation.opened_run import open_run
from medgrad.engine.training.fit import fit
from medgrad.tasks.generation import Generation

GRID = Grid.from_shape((16, 16), spacing=(2.0, 2.0))
FLOW = {
    "model": {"name": "rectified_flow", "channels": [8, 16], "strides": [[2, 2]], "steps": 8},
    "training": {"batch": 8, "threads": 1, "validations": 1, "ema": 0.95},
}
LEVELS = {"bright": 1500, "dark": 500}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Squares of two levels on 1000, a folder a class: three quarters are bright."""
    folder = tmp_path_factory.mktemp("pictures")
    for number in range(24):
        name = "dark" if number % 4 == 0 else "bright"
        rng = np.random.default_rng(number)
        array = np.full(GRID.shape, 1000, np.float32)
        y, x = rng.integers(3, 7, 2)
        array[y : y + 7, x : x + 7] = LEVELS[name]
        write(folder / name / f"p_{number:02d}.nii.gz", Image(array + rng.normal(0, 5, GRID.shape), GRID))
    return folder


@pytest.fixture(scope="module")
def run(folder, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "run"
    fit(recognise(folder, Hints(task="generation", kind="synthetic_self")), out, steps=90, changes=FLOW)
    return out


def test_the_plan_knows_classes_and_how_often_they_occur(run):
    task = open_run(run).recipe.task
    assert tuple(task["labels"]) == ("bright", "dark")
    np.testing.assert_allclose(task["shares"], [0.75, 0.25], atol=0.1)


def test_images_are_of_the_class_that_is_asked_for(run):
    opened = open_run(run)
    middles = {
        name: np.mean(
            [opened.predict_case(opened.task.noise_case(str(i), (0, i), name)).array[7:9, 7:9].mean() for i in range(6)]
        )
        for name in LEVELS
    }
    assert middles["bright"] > middles["dark"] + 150


def test_without_a_label_classes_come_as_often_as_in_the_set(run):
    task = open_run(run).task
    names = [task.noise_case(str(i), (3, i)).metadata["label"] for i in range(400)]
    assert abs(names.count("bright") / 400 - task.shares[0]) < 0.08
    again = task.noise_case("x", (3, 0))
    assert again.metadata["label"] == names[0]


@pytest.mark.slow
def test_what_was_made_is_a_set_of_classes(run, tmp_path):
    found = done("make", run, "-n", "12", "-o", tmp_path / "made")
    assert json.loads((tmp_path / "made" / "make.json").read_text())["synthetic"] is True
    assert all(f"/{one['label']}/synthetic_" in one["file"] for one in found["images"])
    assert read(found["images"][0]["file"]).grid.shape == (16, 16)
    cohort = recognise(tmp_path / "made", Hints(task="classification"))
    assert set(cohort.labels) <= set(LEVELS)


def test_a_critic_is_told_the_class_too(folder, tmp_path):
    changes = {
        "model": {"name": "adversarial_pair", "channels": [4, 8], "strides": [[2, 2]], "critic_channels": [4]},
        "gradients": [{"name": "adversarial"}, {"name": "clipped", "norm": 1.0}],
        "training": {"batch": 4, "threads": 1, "validations": 1},
    }
    fit(recognise(folder, Hints(task="generation", kind="synthetic_self")), tmp_path / "a", steps=3, changes=changes)
    opened = open_run(tmp_path / "a")
    made = [opened.predict_case(opened.task.noise_case("x", (0, 0), name)).array for name in LEVELS]
    assert not np.array_equal(*made)


def test_a_class_that_was_not_learned_is_refused_in_one_line(run, tmp_path):
    one_line(medgrad("make", run, "-o", tmp_path / "x", "--label", "brigth"), "'brigth'", "'bright'")
    one_line(medgrad("export", run, "-o", tmp_path / "y"), "by their label", "labels = []")


def test_an_image_without_a_known_class_has_no_label():
    task = Generation(dims=2, labels=("a", "b"))
    case = Case("x", {"image": Image(np.zeros((8, 8), np.float32), Grid.from_shape((8, 8)))})
    assert task.encode(case).inputs["label"].tolist() == [0.0, 0.0]


def test_labels_can_be_left_out_by_the_recipe(folder, tmp_path):
    changes = FLOW | {"task": {"kind": "generation", "labels": [], "shares": []}}
    fit(recognise(folder, Hints(task="generation", kind="synthetic_self")), tmp_path / "a", steps=2, changes=changes)
    assert open_run(tmp_path / "a").task.labels == ()

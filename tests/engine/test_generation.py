"""Generation: noise becomes images of a set's kind, by the unchanged loop, and runs go on to the same bits."""

import json
from dataclasses import replace

import numpy as np
import pytest
from command_line import done, medgrad, one_line

from medgrad import metrics
from medgrad.data import Grid, Image, SyntheticImage
from medgrad.data.cohorts.layouts import Hints, recognise
from medgrad.data.cohorts.split import split
from medgrad.data.formats import read, write
from medgrad.engine.evaluation.opened_run import open_run
from medgrad.engine.training.fit import fit
from medgrad.errors import FormatError, SettingError

GRID = Grid.from_shape((16, 16), spacing=(2.0, 2.0))
SMALL = {
    "model": {"name": "rectified_flow", "channels": [8, 16], "strides": [[2, 2]], "steps": 8},
    "training": {"batch": 8, "threads": 1, "validations": 1, "ema": 0.95},
}


def picture(seed):
    """A bright square at one of many places, in values around 1000."""
    array, rng = np.full(GRID.shape, 900, np.float32), np.random.default_rng(seed)
    y, x = rng.integers(3, 7, 2)
    array[y : y + 7, x : x + 7] = 1500
    return Image(array + rng.normal(0, 5, GRID.shape).astype(np.float32), GRID)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures")
    for number in range(16):
        write(folder / f"p_{number:02d}.nii.gz", picture(number))
    return folder


@pytest.fixture(scope="module")
def cohort(folder):
    return recognise(folder, Hints(task="generation", kind="synthetic_self"))


@pytest.fixture(scope="module")
def run(cohort, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "run"
    fit(cohort, out, steps=150, changes=SMALL)
    return out


def test_the_plan_is_a_flow_of_one_scale(run):
    recipe = open_run(run).recipe
    assert recipe.model["name"] == "rectified_flow"
    assert [table["name"] for table in recipe.gradients] == ["diffused", "clipped"]
    assert recipe.task["shape"] == (16, 16)
    assert 900 < recipe.task["mean"] < 1300


def test_what_is_made_is_nearer_to_the_set_than_noise_of_its_moments(run):
    opened = open_run(run)
    truths = [picture(100 + i) for i in range(24)]
    made = [opened.predict_case(opened.task.noise_case(str(i), (7, i))) for i in range(24)]
    noise = [Image(np.random.default_rng(i).normal(1100, 280, GRID.shape), GRID) for i in range(24)]
    assert all(type(image) is SyntheticImage for image in made)
    near, far = (
        metrics.pool(["kid"], [metrics.judge(["kid"], t, a) for t, a in zip(truths, answers, strict=True)])["likeness"]
        for answers in (made, noise)
    )
    assert near > far
    bright = np.mean([(image.array > 1300).mean() for image in made])
    assert 0.08 < bright < 0.35
    assert len({image.array.tobytes() for image in made}) == 24


def test_images_are_made_by_their_seeds_and_looked_at_for_copies(run, tmp_path):
    found = done("make", run, "-n", "3", "-o", tmp_path / "a", "--seed", "5")
    record = json.loads((tmp_path / "a" / "make.json").read_text())
    assert record["synthetic"] is True
    assert [*(tuple(one["seed"]) for one in record["images"]), *((5, i) for i in record["withheld"])] != []
    assert record["memorisation"]["membership"] is not None
    opened = open_run(run)
    for one in found["images"]:
        again = opened.predict_case(opened.task.noise_case("x", one["seed"]))
        np.testing.assert_array_equal(read(one["file"]).array, again.array)
        assert again.grid.shape == (16, 16)
    assert not np.array_equal(again.array, opened.predict_case(opened.task.noise_case("x", (6, 0))).array)


def test_copies_are_withheld(run, cohort, tmp_path, monkeypatch):
    """A generator that answers its training images, nearly: none of them is written."""
    from medgrad.engine.evaluation.opened_run import OpenedRun

    trained = [cohort.load_case(e).truth for e in split(cohort, seed=0).in_splits("train").entries]
    answers = iter([replace(trained[0], array=trained[0].array[::-1] + 1.0), picture(77)])
    monkeypatch.setattr(OpenedRun, "predict_case", lambda *_: next(answers))
    record = done("make", run, "-n", "2", "-o", tmp_path / "a")
    if record["memorisation"]["copies"]["reason"]:
        assert record["withheld"] == []
    else:
        assert 0 in record["withheld"]
        assert not (tmp_path / "a" / "synthetic_0000.tiff").exists()


def test_what_does_not_generate_is_refused_in_one_line(folder, run, tmp_path):
    fit(
        recognise(folder, Hints(task="restoration", kind="self")), tmp_path / "denoiser", steps=2,
        changes={"model": {"name": "dncnn", "depth": 2, "width": 4}, "training": {"threads": 1}},
    )  # fmt: skip
    one_line(medgrad("make", tmp_path / "denoiser", "-o", tmp_path / "x"), "'restoration'", "makes none")
    one_line(medgrad("make", run, "-n", "0", "-o", tmp_path / "x"), "--number")
    one_line(medgrad("make", folder, "-o", tmp_path / "x"), "is not a run")
    with pytest.raises((SettingError, FormatError)):
        fit(
            recognise(folder, Hints(task="generation", kind="synthetic_self")), tmp_path / "y", steps=2,
            changes={"model": {"name": "unet", "channels": [4, 8]}, "training": {"threads": 1}},
        )  # fmt: skip

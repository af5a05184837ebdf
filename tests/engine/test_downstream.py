"""Images that a run answered, judged by what a run that segments says of them."""

import json

import numpy as np
import pytest
from command_line import done, medgrad, one_line

from medgrad.data import Case, Grid, Image, LabelMap
from medgrad.data.cohorts.layouts import Hints, recognise
from medgrad.data.formats import write
from medgrad.data.run_files import read_cases
from medgrad.engine.evaluation.downstream import downstream_row, mean_dice
from medgrad.engine.evaluation.opened_run import open_run
from medgrad.engine.training.fit import fit

GRID = Grid.from_shape((16, 16), spacing=(1.0, 1.0))
SMALL = {"training": {"batch": 4, "threads": 1, "validations": 1}}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("set")
    for number in range(10):
        rng, labels = np.random.default_rng(number), np.zeros(GRID.shape, np.uint8)
        labels[tuple(slice(c, c + 7) for c in rng.integers(1, 8, 2))] = 1
        array = (100 + 300.0 * labels + rng.normal(0, 5, GRID.shape)).astype(np.float32)
        write(folder / "images" / f"p_{number}.nii.gz", Image(array, GRID))
        write(folder / "labels" / f"p_{number}.nii.gz", LabelMap(labels, GRID))
    return folder


@pytest.fixture(scope="module")
def segmenter(folder, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "segmenter"
    fit(
        recognise(folder),
        out,
        steps=60,
        changes=SMALL | {"model": {"name": "unet", "channels": [4, 8], "strides": [[2, 2]]}},
    )
    return out


@pytest.fixture(scope="module")
def restorer(folder, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "restorer"
    noise = {"augment": [{"name": "noise", "p": 1.0, "min_std": 0.8, "max_std": 0.8}]}
    changes = SMALL | noise | {"model": {"name": "dncnn", "depth": 3, "width": 8}}
    fit(recognise(folder, Hints(task="restoration", kind="self")), out, steps=60, changes=changes)
    return out


def test_each_case_has_the_dice_of_its_answer_and_of_what_was_shown(folder, segmenter, restorer, tmp_path):
    found = done("evaluate", restorer, folder, "-o", tmp_path / "e", "--downstream", segmenter)
    rows = read_cases(tmp_path / "e" / "cases.csv")
    after = [float(row["downstream_dice"]) for row in rows]
    before = [float(row["downstream_dice_before"]) for row in rows]
    assert len(after) == 10
    assert all(0 <= value <= 1 for value in after + before)
    figures = json.loads((tmp_path / "e" / "evaluation.json").read_text())["metrics"]
    assert figures["downstream_dice"]["value"] == pytest.approx(np.mean(after), abs=1e-6)
    assert (
        figures["downstream_dice"]["low"] <= figures["downstream_dice"]["value"] <= figures["downstream_dice"]["high"]
    )
    assert "psnr" in found["metrics"]


def test_the_true_image_as_answer_is_segmented_alike(segmenter):
    downstream, rng = open_run(segmenter).trained, np.random.default_rng(5)
    array = np.full(GRID.shape, 100, np.float32)
    array[4:11, 5:12] = 400
    truth = Image(array, GRID)
    case = Case("a", {"image": Image((array + rng.normal(0, 400, GRID.shape)).astype(np.float32), GRID)}, truth)
    row = downstream_row(downstream, case, truth)
    assert row["downstream_dice"] == 1.0
    assert row["downstream_dice_before"] < 1.0


def test_where_nothing_is_wanted_there_is_no_dice():
    empty = LabelMap(np.zeros(GRID.shape, np.uint8), GRID, {1: "lesion"})
    assert mean_dice(empty, empty) is None


def test_without_the_option_there_is_no_such_figure(folder, restorer, tmp_path):
    found = done("evaluate", restorer, folder, "-o", tmp_path / "e")
    assert not any(name.startswith("downstream") for name in found["metrics"])


def test_what_does_not_fit_is_refused_in_one_line(folder, segmenter, restorer, tmp_path):
    ask = ("evaluate", restorer, folder, "-o", tmp_path / "x", "--downstream")
    one_line(medgrad(*ask, restorer), "restoration", "Give one that segments")
    one_line(medgrad(*ask, folder), "is not a run")
    segment = ("evaluate", segmenter, folder, "-o", tmp_path / "x", "--downstream", segmenter)
    one_line(medgrad(*segment), "segmentation", "Leave it out")

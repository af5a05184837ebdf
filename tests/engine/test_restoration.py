"""Restoration: images that are their own truth, what they are degraded by, and a run that learned from them."""

import json
from dataclasses import replace

import numpy as np
import pytest

from medgrad import registry
from medgrad.data import Case, Grid, Image, LabelMap
from medgrad.data.cohorts.layouts import Hints, recognise
from medgrad.data.formats import read, write
from medgrad.engine.evaluation.opened_run import open_run
from medgrad.engine.loading.degrade import build_degradations, degrade_case
from medgrad.engine.training.fit import fit
from medgrad.errors import LayoutError
from medgrad.prepare import build_steps

GRID = Grid(
    (16, 18, 12), ((0.0, -1.5, 0.0, 40.0), (-1.5, 0.0, 0.0, 30.0), (0.0, 0.0, 3.0, -60.0), (0.0, 0.0, 0.0, 1.0))
)
STEPS = [{"name": "reorient", "to": "RAS"}, {"name": "normalise", "method": "scale"}]
RICIAN = [{"name": "flip", "axes": [0]}, {"name": "rician", "p": 1.0, "min_std": 0.1, "max_std": 0.1}]
SELF = Hints(task="restoration", kind="self")


def scan(seed, peak=800):
    """A bright box in a dark one, as whole numbers."""
    array, rng = np.zeros(GRID.shape), np.random.default_rng(seed)
    array[2:-2, 2:-2, 2:-2] = 200
    corner = rng.integers(2, 6, 3)
    array[tuple(slice(c, c + 6) for c in corner)] = peak
    return Image(array.astype(np.int16), GRID)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clean")
    for number in range(8):
        write(folder / "images" / f"case_{number}.nii.gz", scan(number))
        labels = (scan(number).array > 500).astype(np.uint8)
        write(folder / "labels" / f"case_{number}.nii.gz", LabelMap(labels, GRID))
    return folder


@pytest.fixture(scope="module")
def run(folder, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "run"
    changes = {
        "augment": RICIAN,
        "model": {"name": "dncnn", "depth": 3, "width": 8},
        "training": {"steps": 60, "batch": 2, "patch": [16, 16, 12], "threads": 1},
    }
    fit(recognise(folder, SELF), out, changes=changes)
    return out


def test_masks_beside_the_images_are_not_asked_for(folder):
    cohort = recognise(folder, SELF)
    assert (cohort.task, cohort.truth, cohort.labels) == ("restoration", "image", ())
    assert all(cohort.is_own_truth(e) for e in cohort.entries)
    case = cohort.load_case(cohort.entries[0])
    np.testing.assert_array_equal(case.truth.array, case.images["image"].array)


def test_a_folder_of_images_alone_is_enough(folder):
    cohort = recognise(folder / "images", SELF)
    assert len(cohort.entries) == 8
    assert all(cohort.is_own_truth(e) for e in cohort.entries)


def test_a_truth_that_is_named_is_the_truth(folder):
    (folder / "pairs").mkdir(exist_ok=True)
    for number in range(4):
        for name in ("low", "full"):
            write(folder / "pairs" / name / f"a_{number}.nii.gz", scan(number))
    cohort = recognise(folder / "pairs", replace(SELF, truth="full"))
    assert len(cohort.entries) == 4
    assert not any(cohort.is_own_truth(e) for e in cohort.entries)


def test_an_empty_folder_is_refused(tmp_path):
    with pytest.raises(LayoutError):
        recognise(tmp_path, SELF)


def test_a_case_is_degraded_by_its_id_on_its_grid_and_in_its_unit():
    image = scan(0)
    case = Case("a", {"image": image}, image)
    degradations = build_degradations(RICIAN)
    assert len(degradations) == 1, "flips are no degradation"
    found = degrade_case(case, build_steps(STEPS), degradations)
    assert found.images["image"].grid.is_close(GRID)
    assert found.truth is image
    noise = found.images["image"].array - image.array
    inside = image.array > 500
    assert noise[inside].std() == pytest.approx(80, rel=0.15)
    again, other = (degrade_case(replace(case, id=i), build_steps(STEPS), degradations) for i in ("a", "b"))
    np.testing.assert_array_equal(again.images["image"].array, found.images["image"].array)
    assert (other.images["image"].array != found.images["image"].array).mean() > 0.9


def test_every_channel_is_degraded_by_itself():
    grid = Grid.from_shape((20, 24))
    coloured = Image(np.full((20, 24, 3), 100, np.uint8), grid)
    noise = build_degradations([{"name": "noise", "p": 1.0, "min_std": 0.2}])
    found = degrade_case(Case("a", {"image": coloured}, coloured), build_steps(STEPS[1:]), noise).images["image"]
    assert found.array.shape == (20, 24, 3)
    assert found.array.mean() == pytest.approx(100, abs=2)
    assert np.corrcoef(found.array.reshape(-1, 3).T)[0, 1] < 0.2


def test_what_was_learned_is_better_than_the_degraded_image(run):
    found = json.loads((run / "evaluation.json").read_text())["metrics"]
    degraded = [
        registry.find("metrics", "psnr").compute(c.truth, c.images["image"])["psnr"]
        for i in range(8)
        for c in [
            degrade_case(Case(f"x{i}", {"image": scan(i)}, scan(i)), build_steps(STEPS), build_degradations(RICIAN))
        ]
    ]
    assert found["psnr"]["value"] > np.mean(degraded) + 3
    assert found["psnr"]["n"] == len({row.split(",")[0] for row in (run / "cases.csv").read_text().splitlines()[1:]})


def test_an_evaluation_degrades_the_same_again(run, folder):
    opened = open_run(run)
    cohort = recognise(folder, SELF)
    one, two = (opened.evaluate(cohort).metrics["psnr"]["value"] for _ in range(2))
    assert one == two


def test_the_answer_has_the_unit_and_the_grid_of_the_image(run, folder):
    image = read(folder / "images" / "case_0.nii.gz")
    rng = np.random.default_rng(0)
    noisy = np.hypot(image.array + rng.normal(0, 80, GRID.shape), rng.normal(0, 80, GRID.shape))
    answer = open_run(run).predict(Image(noisy.astype(np.float32), GRID))
    assert answer.grid.is_close(GRID)
    bright = image.array > 500
    assert answer.array[bright].mean() == pytest.approx(800, rel=0.05)
    assert np.abs(answer.array - image.array).mean() < 0.7 * np.abs(noisy - image.array).mean()

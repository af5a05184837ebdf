"""The sections of runs that answer images: what was changed, and made images beside their nearest patients."""

import json

import numpy as np
import pytest

from medgrad.data import Grid, Image
from medgrad.data.cohorts.layouts import Hints, recognise
from medgrad.data.formats import write
from medgrad.engine.training.fit import fit
from medgrad.report.page import run_page
from medgrad.report.read_run import read_run
from medgrad.report.sections.residuals import points_of

GRID = Grid.from_shape((16, 16))
SMALL = {"training": {"batch": 4, "threads": 1, "validations": 1}}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures")
    for number in range(10):
        rng = np.random.default_rng(number)
        array = rng.normal(100, 1, GRID.shape).astype(np.float32)
        array[tuple(slice(c, c + 6) for c in rng.integers(1, 9, 2))] += 60
        write(folder / f"p_{number}.nii.gz", Image(array, GRID))
    return folder


def test_a_restored_set_tells_what_was_taken_away(folder, tmp_path):
    changes = SMALL | {"model": {"name": "dncnn", "depth": 2, "width": 4}}
    fit(recognise(folder, Hints(task="restoration", kind="self")), tmp_path / "run", steps=2, changes=changes)
    found = json.loads((tmp_path / "run" / "run.json").read_text())["residuals"]
    assert set(found["power"]) == {"shown less truth", "shown less answer", "answer less truth"}
    assert set(found["regions"]) <= {"dark", "middle", "bright"}
    page = run_page(read_run(tmp_path / "run"))
    assert "What was changed" in page
    assert "what the run took away" in page
    assert "Made images" not in page


def test_made_images_stand_beside_the_nearest_patient(folder, tmp_path):
    changes = SMALL | {"model": {"name": "rectified_flow", "channels": [4, 8], "strides": [[2, 2]], "steps": 2}}
    fit(recognise(folder, Hints(task="generation", kind="synthetic_self")), tmp_path / "run", steps=2, changes=changes)
    facts = json.loads((tmp_path / "run" / "run.json").read_text())
    cohort = json.loads((tmp_path / "run" / "cohort.json").read_text())
    trained_on = {case["patient"] for case in cohort["cases"] if case["split"] == "train"}
    assert set(facts["nearest_patients"]["patients"]) <= trained_on
    assert facts["nearest_patients"]["n_patients"] == len(trained_on)
    assert "planted_lesions" not in facts
    run = read_run(tmp_path / "run")
    assert len(run.nearest) == 8
    assert all(p.truth_image is not None for p in run.nearest)
    page = run_page(run)
    assert page.count("nearest training image</figcaption>") == 8
    assert "answers (answer)" in page


@pytest.mark.parametrize("power", [None, "x", [], {"a": "b"}, {"a": [None, None]}, {"a": [1.0, float("nan"), -1.0]}])
def test_what_is_damaged_costs_its_section_alone(folder, tmp_path, power):
    (tmp_path / "run.json").write_text(json.dumps({"residuals": {"power": power, "cases": "<b>", "regions": {"a": 3}}}))
    page = run_page(read_run(tmp_path))
    assert "<b>" not in page


def test_a_band_without_power_is_left_out():
    assert points_of([None, 1.0, 100.0, None]) == [(0.1875, 0.0), (0.3125, 20.0)]

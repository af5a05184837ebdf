"""A run's training patients are found again in what it made, and its losses are taken by its own rule."""

import shutil

import numpy as np
import pytest
from scipy import ndimage

from medgrad.data import Grid, Image
from medgrad.data.cohorts.layouts import Hints, recognise
from medgrad.data.formats import read, write
from medgrad.data.run_files import read_record
from medgrad.engine.evaluation.memorisation import case_losses, check_memorisation, crop_or_pad, prepared
from medgrad.engine.evaluation.opened_run import open_run
from medgrad.engine.runs.training_data import load_training_cohort
from medgrad.engine.training.fit import fit
from medgrad.errors import SettingError

GRID = Grid.from_shape((24, 24), spacing=(1.0, 1.0))
SMALL = {
    "model": {"name": "rectified_flow", "channels": [4, 8], "strides": [[2, 2]], "steps": 2},
    "training": {"batch": 4, "threads": 1, "validations": 1},
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder, rng = tmp_path_factory.mktemp("pictures"), np.random.default_rng(0)
    for number in range(24):
        array = ndimage.gaussian_filter(rng.normal(size=GRID.shape), 1.5).astype(np.float32)
        write(folder / f"p_{number:02d}.nii.gz", Image(array, GRID))
    return folder


@pytest.fixture(scope="module")
def run(folder, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "run"
    fit(recognise(folder, Hints(task="generation", kind="synthetic_self")), out, steps=4, changes=SMALL)
    return out


def test_training_patients_are_found_among_images_and_held_out_ones_are_not(folder, run):
    rows = read_record(run / "cohort.json")["cases"]
    sides = {s: [read(folder / f"{r['id']}.nii.gz").array for r in rows if r["split"] == s] for s in ("train", "val")}
    copies, others = [np.flip(a, 0) * 3 for a in sides["train"][:3]], sides["val"][:3]
    found = check_memorisation(run, [*copies, *others], draws=2)
    assert found.copies.copies == (0, 1, 2)
    assert found.copies.nearest[0].patient == next(r["patient"] for r in rows if r["split"] == "train")
    assert found.is_flagged is True
    assert found.as_dict()["copies"]["n_patients"] == len(sides["train"])
    assert found.membership.n_members == len(sides["train"])


def test_losses_are_the_same_again_and_leave_the_generator_alone(run):
    import torch

    trained = open_run(run).trained
    cases = prepared(trained, load_training_cohort(run).serving("generation", "synthetic_self"), "val")
    state = torch.get_rng_state()
    first, again, other = (case_losses(trained, cases, draws=2, seed=seed) for seed in (0, 0, 9))
    assert (torch.get_rng_state() == state).all()
    assert first.tolist() == again.tolist()
    assert (first != other).all()
    assert all(p.grad is None for p in trained.networks[0].parameters())


def test_without_the_training_data_nothing_is_reported(run, tmp_path):
    moved = tmp_path / "run"
    shutil.copytree(run, moved)
    found = check_memorisation(moved, data=tmp_path / "gone")
    assert (found.copies, found.membership, found.is_flagged) == (None, None, None)
    assert "Nothing was checked: The cases that" in found.reason


def test_images_are_cropped_and_padded_about_their_centre():
    array = np.arange(30, dtype=np.float32).reshape(5, 6)
    assert crop_or_pad(array, (3, 8), 2).tolist()[0] == [6, 6, 7, 8, 9, 10, 11, 11]


def test_a_run_that_answers_no_image_is_refused(tmp_path):
    from tiny_set import make_folder

    changes = {"model": {"name": "unet", "channels": [4, 8], "strides": [[2, 2, 2]]}, "training": {"threads": 1}}
    fit(recognise(make_folder(tmp_path / "set", cases=4)), tmp_path / "run", steps=1, changes=changes)
    with pytest.raises(SettingError, match="answers images"):
        check_memorisation(tmp_path / "run")

"""``medgrad process RUN``: a run that restores images as a step among others."""

import json

import numpy as np
import pytest
from command_line import done, medgrad, one_line

from medgrad.data import Grid, Image, LabelMap
from medgrad.data.cohorts.layouts import Hints, recognise
from medgrad.data.formats import read, write
from medgrad.engine.training.fit import fit

GRID = Grid(
    (16, 18, 12), ((0.0, -1.5, 0.0, 40.0), (-1.5, 0.0, 0.0, 30.0), (0.0, 0.0, 3.0, -60.0), (0.0, 0.0, 0.0, 1.0))
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Clean scans, a run that learned to restore them, and one that learned to segment them."""
    folder, rng = tmp_path_factory.mktemp("process_run"), np.random.default_rng(0)
    for number in range(6):
        array = np.full(GRID.shape, 100, np.int16)
        corner = rng.integers(2, 6, 3)
        array[tuple(slice(c, c + 6) for c in corner)] = 800
        write(folder / "images" / f"case_{number}.nii.gz", Image(array, GRID, modality="mr"))
        write(folder / "labels" / f"case_{number}.nii.gz", LabelMap((array > 500).astype(np.uint8), GRID))
    write(folder / "scan.nii.gz", Image(np.rint(array + rng.normal(0, 60, GRID.shape)).astype(np.int16), GRID))
    training = {"steps": 30, "batch": 2, "patch": [16, 16, 12], "threads": 1}
    small = {"model": {"name": "dncnn", "depth": 3, "width": 8}, "training": training}
    noise = {"augment": [{"name": "noise", "p": 1.0, "min_std": 0.05, "max_std": 0.1}]}
    fit(recognise(folder, Hints(task="restoration", kind="self")), folder / "denoiser", changes=small | noise)
    unet = {"name": "unet", "channels": [4, 8], "strides": [[2, 2, 2]]}
    fit(recognise(folder), folder / "segmenter", changes={"model": unet, "training": training | {"steps": 2}})
    return folder


def test_a_run_is_a_step_among_others_and_the_type_stays(folder, tmp_path):
    inside = np.zeros(GRID.shape, np.uint8)
    inside[4:, 4:, 3:9] = 1
    mask = write(tmp_path / "mask.nii.gz", LabelMap(inside, GRID))
    chain = f"{folder / 'denoiser'},smooth"
    done("process", chain, folder / "scan.nii.gz", "-o", tmp_path / "out", "--roi", mask, "--set", "fwhm=1")
    before, after = read(folder / "scan.nii.gz"), read(tmp_path / "out" / "scan.nii.gz")
    assert after.array.dtype == np.int16
    assert after.grid.is_close(GRID)
    np.testing.assert_array_equal(after.array[inside == 0], before.array[inside == 0])
    dark = (inside == 1) & (before.array < 400)
    assert after.array[dark].std() < 0.8 * before.array[dark].std()
    record = json.loads((tmp_path / "out" / "process.json").read_text())
    assert [sorted(step) for step in record["steps"]] == [["run", "weights_sha256"], ["fwhm", "name"]]
    assert len(record["steps"][0]["weights_sha256"][0]) == 64
    assert [step["step"] for step in record["images"][0]["chosen"]] == ["denoiser", "smooth"]


def test_what_a_run_has_not_learned_from_is_refused_in_one_line(folder, tmp_path):
    flat = write(tmp_path / "flat.png", Image(np.zeros((20, 20), np.uint8), Grid.from_shape((20, 20))))
    double = write(tmp_path / "two.nii.gz", Image(np.zeros((9, 9, 9, 2), np.int16), Grid.from_shape((9, 9, 9))))
    denoiser, scan = folder / "denoiser", folder / "scan.nii.gz"
    for number, (steps, image, said) in enumerate(
        [
            (folder / "segmenter", scan, "answers 'label_map'"),
            ("denoisr", scan, "or the folder of a run"),
            (f"{denoiser},smoth", scan, "'smooth'"),
            (denoiser, flat, "this run takes"),
            (denoiser, double, "1 channel"),
        ]
    ):
        one_line(medgrad("process", steps, image, "-o", tmp_path / str(number)), said)


def test_a_run_that_fills_lost_slices_changes_no_other(folder, tmp_path):
    changes = {
        "prepare": [
            {"name": "reorient", "to": "RAS"},
            {"name": "fill", "method": "interpolate"},
            {"name": "normalise", "method": "scale"},
        ],
        "augment": [{"name": "dropped_slices"}],
        "model": {"name": "dncnn", "depth": 3, "width": 8},
        "training": {"steps": 10, "batch": 2, "patch": [16, 16, 12], "threads": 1},
    }
    fit(recognise(folder, Hints(task="restoration", kind="self")), tmp_path / "filler", changes=changes)
    clean = read(folder / "images" / "case_0.nii.gz")
    spoiled = clean.array + np.random.default_rng(0).integers(0, 9, GRID.shape).astype(np.int16)
    kept = spoiled.copy()
    spoiled[:, :, [4, 7]] = 0
    write(tmp_path / "spoiled.nii.gz", Image(spoiled, GRID, modality="mr"))
    done("process", tmp_path / "filler", tmp_path / "spoiled.nii.gz", "-o", tmp_path / "out")
    after = read(tmp_path / "out" / "spoiled.nii.gz").array
    known = [n for n in range(12) if n not in (4, 7)]
    np.testing.assert_array_equal(after[:, :, known], kept[:, :, known])
    assert np.abs(after[:, :, 4] - clean.array[:, :, 4]).mean() < 60
    assert (after[:, :, 4] > 0).all()


def test_elements_of_another_size_are_refused_and_turned_ones_are_not(folder, tmp_path):
    """Noise removal that was learned at 1.5 x 1.5 x 3 mm says nothing of elements twice as long."""
    array = read(folder / "scan.nii.gz").array
    coarse = Grid.from_shape(GRID.shape, spacing=(3.0, 3.0, 6.0))
    turned = Grid.from_shape(GRID.shape[::-1], spacing=(3.0, 1.4, 1.6))
    for name, grid, values in (("coarse", coarse, array), ("turned", turned, array.transpose(2, 1, 0))):
        write(tmp_path / f"{name}.nii.gz", Image(np.ascontiguousarray(values), grid))
    said = ("3 x 3 x 6 mm", "1.5 x 1.5 x 3 mm")
    one_line(medgrad("process", folder / "denoiser", tmp_path / "coarse.nii.gz", "-o", tmp_path / "a"), *said)
    one_line(medgrad("predict", folder / "denoiser", tmp_path / "coarse.nii.gz", "-o", tmp_path / "b"), *said)
    done("process", folder / "denoiser", tmp_path / "turned.nii.gz", "-o", tmp_path / "c")

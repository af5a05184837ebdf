"""``medgrad predict --format ...`` on a DICOM series: every kind of object, by a run and by what was exported of it."""

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pydicom
import pytest
from command_line import done, medgrad, one_line
from dicom_answers import make_series
from untrained import make_run

from medgrad.answers.probability_maps import most_likely
from medgrad.data import Case, Grid, Image
from medgrad.data.formats import read_labels, write
from medgrad.engine.evaluation.infer import answer_case
from medgrad.engine.evaluation.infer import predictor_of as predictor_of_run
from medgrad.engine.runs.run import open_run
from medgrad.inference.artefact.artefact import open_artefact
from medgrad.inference.artefact.predictor import predictor_of
from medgrad.inference.artefact.select_backend import select_backend
from medgrad.registry import find

pytest.importorskip("highdicom", reason="the dicom extra is not installed")

STEPS = [{"name": "reorient"}, {"name": "resample", "spacing": [1.5, 1.5, 1.5]}, {"name": "normalise"}]
MODALITIES = {
    "dicomseg": "SEG", "dicomseg-fractional": "SEG", "labelmap": "SEG", "sr": "SR", "map": "OT", "capture": "OT",
    "rtstruct": "RTSTRUCT",
}  # fmt: skip


@pytest.fixture(scope="module")
def ground(tmp_path_factory):
    """A series, a run with two folds, and its cases."""
    folder = tmp_path_factory.mktemp("ground")
    source, image = make_series(folder / "ct", shape=(16, 14, 8), spacing=(1.1, 1.3, 2.0))
    task = {"labels": ["liver", "odd thing"]}
    run = make_run(folder / "run", dims=3, folds=2, patch=8, task=task, prepare=STEPS)
    return source, image, run


@pytest.mark.parametrize("kind", MODALITIES)
def test_each_kind_is_written_about_the_series_by_the_run(ground, tmp_path, kind):
    source, _, run = ground
    found = done("predict", run, source.path, "-o", tmp_path, "--format", kind)
    files = [Path(p) for p in found["answers"][0]["written"]]
    assert all(p.exists() for p in files)
    assert len(files) == {"sr": 2, "map": 2, "capture": 8}.get(kind, 1)
    made = pydicom.dcmread(files[-1])
    assert made.Modality == MODALITIES[kind]
    assert made.PatientID == "p"
    assert made.ManufacturerModelName == "segmentation by unet"
    weights = sorted(run.glob("fold-*/weights/best.safetensors"))
    hashes = " ".join(hashlib.sha256(p.read_bytes()).hexdigest() for p in weights)
    assert len(weights) == 2
    assert any(hashes in c.get("ContributionDescription", "") for c in made.ContributingEquipmentSequence)


def test_all_objects_of_labels_say_the_same(ground, tmp_path):
    source, image, run = ground
    said = []
    for kind in ("dicomseg", "labelmap", "rtstruct"):
        found = done("predict", run, source.path, "-o", tmp_path / kind, "--format", kind)
        said.append(read_labels(Path(found["answers"][0]["written"][0]), reference_grid=image.grid).array)
    assert 0 < (said[0] > 0).mean() < 1
    assert np.array_equal(said[0], said[1])
    assert np.array_equal(said[0], said[2])


def test_a_name_without_a_code_is_told(ground, tmp_path):
    source, _, run = ground
    ended = medgrad("predict", run, source.path, "-o", tmp_path)
    assert ended.code == 0
    assert "'odd thing'" in ended.err
    assert "99MEDGRAD" in ended.err


def test_what_did_not_come_as_dicom_is_refused_in_one_line(ground, tmp_path):
    _, _, run = ground
    grid = Grid.from_shape((12, 12, 9), spacing=(1, 1, 2))
    write(tmp_path / "a.nii.gz", Image(np.random.default_rng(0).normal(size=grid.shape), grid, "ct"))
    for kind in ("dicomseg", "rtstruct", "map"):
        one_line(
            medgrad("predict", run, tmp_path / "a.nii.gz", "-o", tmp_path / "x", "--format", kind), "did not come as"
        )


def probability_maps(trained, case):
    return predictor_of_run(trained, file_format="map").answer(case)


def test_chances_are_of_what_the_labels_say(ground):
    _, image, run = ground
    trained = open_run(run, device="cpu")
    trained = replace(
        trained, prepare_steps=tuple(s for s in trained.prepare_steps if not isinstance(s, find("prepare", "resample")))
    )
    case = Case("a", {"image": image})
    said = probability_maps(trained, case)
    labels = answer_case(trained, case)
    assert said.grid == image.grid == labels.grid
    assert said.tags["labels"] == ("liver", "odd thing")
    assert (most_likely(said).array == labels.array).mean() > 0.999
    assert len(np.unique(labels.array)) == 3


def test_chances_that_were_resampled_are_still_shares(ground):
    _, image, run = ground
    said = probability_maps(open_run(run, device="cpu"), Case("a", {"image": image}))
    assert said.grid == image.grid
    assert 0 <= said.array.min() <= said.array.max() <= 1
    assert 0 < said.array.sum(axis=-1).max() <= 1 + 1e-5


def test_an_artefact_gives_the_same_chances(ground, tmp_path):
    pytest.importorskip("onnxruntime", reason="the onnx extra is not installed")
    source, image, run = ground
    exported = Path(done("export", run, "-o", tmp_path / "artefact")["artefact"])
    artefact = open_artefact(exported)
    ask, _, _ = select_backend(artefact, backend_name="onnxruntime")
    case = Case("a", {"image": image})
    ours = predictor_of(artefact, ask, file_format="map").answer(case)
    theirs = probability_maps(open_run(run, device="cpu"), case)
    assert ours.tags == theirs.tags
    np.testing.assert_allclose(ours.array, theirs.array, atol=0.02)  # the run may answer in bfloat16
    found = done("predict", exported, source.path, "-o", tmp_path / "a", "--format", "map", "--engine", "onnxruntime")
    made = pydicom.dcmread(found["answers"][0]["written"][0])
    assert made.DeviceSerialNumber == hashlib.sha256((exported / "network.onnx").read_bytes()).hexdigest()


def test_a_run_that_does_not_segment_has_no_chances_of_labels(tmp_path):
    source, _ = make_series(tmp_path / "ct")
    run = make_run(tmp_path / "run", "classification", dims=3, patch=8, task={"labels": ["a", "b"]})
    one_line(
        medgrad("predict", run, source.path, "-o", tmp_path / "x", "--format", "map"), "no probabilities of labels"
    )

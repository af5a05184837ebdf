"""A run refuses an input of another kind than it learned from, in a line that says what it takes and what came."""

import json

import numpy as np
import pytest
from command_line import done, make_flat, medgrad, one_line
from dicom_answers import make_series
from PIL import Image as Pillow
from untrained import make_run

from medgrad.data import Grid, Image, Source
from medgrad.data.cohorts import Entry
from medgrad.data.formats import write
from medgrad.engine.runs.run import Run, open_run
from medgrad.errors import FormatError
from medgrad.inference.input_check import InputSpec, check_header, merge_image_facts

DEEP = [{"name": "reorient"}, {"name": "normalise"}]


def knowing(run, channels=(1,), modalities=("ct",), name="image"):
    """Let a run know what it learned from."""
    Run(run).write_facts(inputs={name: {"channels": list(channels), "modalities": list(modalities)}})
    return run


@pytest.fixture(scope="module")
def deep(tmp_path_factory):
    """A run that learned from CT volumes."""
    return knowing(make_run(tmp_path_factory.mktemp("deep") / "run", dims=3, patch=8, prepare=DEEP))


@pytest.fixture(scope="module")
def flat(tmp_path_factory):
    """A run that learned from grey pictures of nobody knows what."""
    return knowing(make_run(tmp_path_factory.mktemp("flat") / "run"), modalities=(None,))


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    """A folder with a colour picture, a volume in NIfTI and CT and MR series."""
    folder = tmp_path_factory.mktemp("inputs")
    rng = np.random.default_rng(0)
    Pillow.fromarray(rng.integers(0, 255, (16, 16, 3), dtype=np.uint8)).save(folder / "colour.png")
    Pillow.fromarray(rng.integers(0, 255, (16, 16), dtype=np.uint8)).save(folder / "grey.png")
    write(folder / "scan.nii.gz", Image(rng.normal(size=(9, 8, 8)).astype(np.float32), Grid.from_shape((9, 8, 8))))
    for name, kind in (("ct", "CT"), ("mr", "MR")):
        make_series(folder / name)
        relabelled(folder / name, kind)
    return folder


def relabelled(folder, kind):
    """Write another modality into every file of a series."""
    import pydicom

    uid = pydicom.uid.generate_uid()
    for path in folder.iterdir():
        data = pydicom.dcmread(path)
        data.Modality, data.SeriesInstanceUID = kind, uid
        data.save_as(path)


def test_axes_are_told(deep, flat, inputs, tmp_path):
    ended = medgrad("predict", deep, inputs / "colour.png", "-o", tmp_path)
    one_line(ended, "colour.png' is a flat picture (2 axes, 3 channels)", "takes CT volumes (3 axes, 1 channel)")
    one_line(ended, "Give a volume: a NIfTI file or a DICOM series.")
    ended = medgrad("predict", flat, inputs / "scan.nii.gz", "-o", tmp_path)
    one_line(ended, "scan.nii.gz' is a volume (3 axes, 1 channel)", "flat pictures (2 axes, 1 channel)")


def test_channels_are_told(flat, inputs, tmp_path):
    ended = medgrad("predict", flat, inputs / "colour.png", "-o", tmp_path)
    one_line(ended, "(2 axes, 3 channels)", "Give images with 1 channel.")


def test_a_modality_is_told_before_the_series_is_read(deep, inputs, tmp_path, monkeypatch):
    monkeypatch.setattr("medgrad.data.cohorts.cohort.Cohort.read_image", lambda *_: pytest.fail("it was read"))
    ended = medgrad("predict", deep, inputs / "mr", "-o", tmp_path)
    one_line(ended, "mr' is a volume of MR", "takes CT volumes", "Give CT, or learn from such images with fit.")


@pytest.mark.parametrize("name", ["ct", "scan.nii.gz"])
def test_what_fits_or_does_not_say_is_answered(deep, inputs, name, tmp_path):
    assert len(done("predict", deep, inputs / name, "-o", tmp_path)["answers"]) == 1


def test_a_run_that_does_not_know_refuses_no_modality(inputs, tmp_path):
    old = make_run(tmp_path / "old", dims=3, patch=8, prepare=DEEP)
    assert len(done("predict", old, inputs / "mr", "-o", tmp_path / "a")["answers"]) == 1


def test_in_a_folder_what_does_not_fit_fails_and_the_rest_is_answered(deep, inputs, tmp_path):
    found = done("predict", deep, inputs, "-o", tmp_path)
    assert [a["input"].rsplit("/")[-1] for a in found["answers"]] == ["ct", "scan.nii.gz"]
    assert [f["input"].rsplit("/")[-1] for f in found["failed"]] == ["colour.png", "grey.png", "mr"]
    assert len({a["written"][0] for a in found["answers"]}) == 2
    assert all("but this run takes CT volumes" in f["why"] for f in found["failed"])


def test_images_that_are_missing_from_a_case_are_named(inputs, tmp_path):
    both = make_run(tmp_path / "run", dims=3, patch=8, prepare=DEEP, task={"channels": ["t1", "flair"]})
    ended = medgrad("predict", both, inputs / "scan.nii.gz", "-o", tmp_path / "a")
    one_line(ended, "comes without 'flair'", "takes the images 't1', 'flair'", "NAME_0000")


def test_evaluate_refuses_a_set_of_another_kind(deep, inputs, tmp_path):
    make_flat(tmp_path / "set")
    one_line(medgrad("evaluate", deep, tmp_path / "set", "-o", tmp_path / "out"), "is a flat picture", "CT volumes")


def test_one_of_several_series_in_a_folder_is_not_taken_for_the_first(inputs):
    takes = InputSpec(3, (), {"image": {"channels": [1], "modalities": ["ct"]}})
    with pytest.raises(FormatError, match="a volume of MR"):
        check_header(takes, Entry("a", {"image": Source(inputs / "mr")}))
    check_header(takes, Entry("a", {"image": Source(inputs / "mr", "1.2.3")}))


def test_fit_writes_down_what_it_learned_from(run, opinion):
    assert Run(run[0]).read_facts()["inputs"] == {"image": {"channels": [1], "modalities": [None]}}
    assert str(open_run(run[0], device="cpu").input_spec) == "volumes (3 axes, 1 channel)"
    assert str(open_run(opinion[0], device="cpu").input_spec) == "flat pictures (2 axes, 1 channel)"


def test_an_artefact_knows_it_too(deep, inputs, tmp_path):
    pytest.importorskip("onnxruntime", reason="the onnx extra is not installed")
    folder = done("export", deep, "-o", tmp_path / "onnx")["artefact"]
    words = medgrad("predict", folder, inputs / "mr", "-o", tmp_path / "a")
    one_line(words, "is a volume of MR", "takes CT volumes (3 axes, 1 channel)")
    about = json.loads((tmp_path / "onnx" / "artefact.json").read_text())
    assert about["inputs"] == {"image": {"channels": [1], "modalities": ["ct"]}}


def test_runs_of_folds_take_what_any_of_them_learned_from():
    one, other = ({"image": {"channels": [1], "modalities": [m]}} for m in ("ct", "mr"))
    assert merge_image_facts([one, other]) == {"image": {"channels": [1], "modalities": ["ct", "mr"]}}
    assert merge_image_facts([one, {}]) == {}


@pytest.mark.parametrize(
    ("takes", "said"),
    [
        (InputSpec(2), "flat pictures (2 axes)"),
        (InputSpec(1), "rows of numbers (1 axis)"),
        (InputSpec(3, ("ct",), {"ct": {"channels": [1], "modalities": ["ct"]}}), "CT volumes (3 axes, 1 channel 'ct')"),
        (InputSpec(2, (), {"image": {"channels": [3], "modalities": ["photo"]}}),
         "photographic flat pictures (2 axes, 3 channels)"),
        (InputSpec(3, ("t1", "flair")), "volumes (3 axes, the images 't1', 'flair')"),
    ],
)  # fmt: skip
def test_what_is_taken_is_said_in_words(takes, said):
    assert str(takes) == said

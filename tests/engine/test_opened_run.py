"""An opened run answers as the commands do: about images in memory, files, folders, and cases with their truth."""

import json

import numpy as np
import pytest
from command_line import done, make_pictures
from tiny_set import make_folder
from untrained import make_run

import medgrad
from medgrad.data.formats import read_labels

MADE = {"task": {"labels": ["foreground"]}, "dims": 3, "patch": 16}


@pytest.fixture(scope="module")
def volumes(tmp_path_factory):
    return make_folder(tmp_path_factory.mktemp("volumes") / "data", cases=3)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return medgrad.open_run(make_run(tmp_path_factory.mktemp("runs") / "first", folds=2, **MADE))


@pytest.fixture(scope="module")
def written(volumes, run, tmp_path_factory):
    """What the command writes about every image."""
    out = tmp_path_factory.mktemp("answers")
    done("predict", run.folder, volumes / "images", "-o", out)
    return {path.name.removesuffix(".nii.gz"): read_labels(path) for path in out.iterdir()}


def test_a_folder_gives_the_answers_that_the_command_writes(run, volumes, written):
    answers = run.predict(volumes / "images")
    assert list(answers) == sorted(written) == ["case_00", "case_01", "case_02"]
    for name, answer in answers.items():
        np.testing.assert_array_equal(answer.array, written[name].array)
        assert answer.grid.is_close(written[name].grid)
        assert answer.names == {1: "foreground"}
    assert len(np.unique(answers["case_00"].array)) == 2


def test_a_file_an_image_and_a_case_give_one_answer(run, volumes, written):
    path = volumes / "images" / "case_01.nii.gz"
    image = medgrad.read(path)
    for source in (path, str(path), image, medgrad.Case("any", {"scan": image})):
        np.testing.assert_array_equal(run.predict(source).array, written["case_01"].array)


def test_with_out_it_writes_as_the_command_does(run, volumes, written, tmp_path):
    answer = run.predict(volumes / "images" / "case_02.nii.gz", out=tmp_path / "new")
    (path,) = (tmp_path / "new").iterdir()
    assert path.name == "case_02.nii.gz"
    np.testing.assert_array_equal(read_labels(path).array, answer.array)


def test_without_out_nothing_is_written(run, volumes, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    before = sorted(volumes.rglob("*"))
    run.predict(volumes / "images" / "case_02.nii.gz")
    assert sorted(volumes.rglob("*")) == before
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_read_is_told_and_does_not_stop_the_others(run, volumes, tmp_path):
    whole = (volumes / "images" / "case_00.nii.gz").read_bytes()
    (tmp_path / "a.nii.gz").write_bytes(whole)
    (tmp_path / "b.nii.gz").write_bytes(whole[: len(whole) // 2])
    with pytest.warns(UserWarning, match=r"1 of 2 inputs have no answer.*b\.nii\.gz"):
        assert list(run.predict(tmp_path)) == ["a"]
    with pytest.raises(medgrad.MedgradError, match="No answer could be given"):
        run.predict(tmp_path / "b.nii.gz")


def test_two_images_of_one_name_are_refused(run, volumes, tmp_path):
    image = medgrad.read(volumes / "images" / "case_00.nii.gz")
    for ending in (".nii.gz", ".nii"):
        medgrad.write(tmp_path / f"a{ending}", image)
    with pytest.raises(medgrad.MedgradError, match="more than one image called 'a'"):
        run.predict(tmp_path)


def test_nothing_is_written_where_the_input_lies(run, volumes):
    path = volumes / "images" / "case_00.nii.gz"
    for out in (path.parent, volumes / "images" / ".." / "images"):
        with pytest.raises(medgrad.MedgradError, match="left as it is"):
            run.predict(path, out=out)
    for out in (volumes, run.folder):
        with pytest.raises(medgrad.MedgradError, match="left as it is"):
            run.evaluate(volumes, out)


def test_an_image_of_another_kind_is_refused(run):
    flat = medgrad.Image(np.zeros((16, 16)), medgrad.Grid.from_shape((16, 16)))
    with pytest.raises(medgrad.MedgradError, match="but this run takes"):
        run.predict(flat)


def test_what_is_in_memory_has_no_place_to_be_written(run, volumes, tmp_path):
    with pytest.raises(medgrad.MedgradError, match=r"use medgrad\.write"):
        run.predict(medgrad.read(volumes / "images" / "case_00.nii.gz"), out=tmp_path)


def test_a_case_without_one_of_the_channels_is_refused(tmp_path, volumes):
    one = medgrad.open_run(make_run(tmp_path / "run", task={"labels": ["foreground"], "channels": ["t1"]}, dims=3))
    image = medgrad.read(volumes / "images" / "case_00.nii.gz")
    with pytest.raises(medgrad.MedgradError, match="t1 did not come"):
        one.predict(medgrad.Case("any", {"t2": image}))


def test_a_run_that_registers_answers_about_no_single_file(tmp_path, volumes):
    made = make_run(tmp_path / "run", "registration", dims=3, model={"name": "unet", "channels": [4, 8]})
    with pytest.raises(medgrad.MedgradError, match=r"medgrad\.register"):
        medgrad.open_run(made).predict(volumes)


def test_it_is_evaluated_as_the_command_does(run, volumes, tmp_path):
    done("evaluate", run.folder, volumes, "-o", tmp_path / "command")
    evaluation = run.evaluate(volumes, tmp_path / "python")
    for name in ("evaluation.json", "cases.csv"):
        assert (tmp_path / "python" / name).read_text() == (tmp_path / "command" / name).read_text()
    assert (tmp_path / "python" / "report.html").exists()
    told = json.loads((tmp_path / "python" / "evaluation.json").read_text())
    assert evaluation.as_dict() == told
    assert told["headline"] == list(run.task.headline_metrics)
    assert run.evaluate(medgrad.recognise(volumes)).metrics == evaluation.metrics
    assert "<td>Dice" in evaluation._repr_html_()


def test_it_shows_its_task_its_labels_and_its_metrics(run, tmp_path):
    assert (run.task.kind, run.recipe.model["name"], len(run.networks)) == ("segmentation", "unet", 2)
    shown = run._repr_html_()
    assert "segmentation in 3D, unet, 2 networks" in shown
    assert "labels: foreground" in shown
    other = medgrad.open_run(make_run(tmp_path / "run", **MADE))
    figures = {"dice/foreground": {"value": 0.9, "low": 0.85, "high": 0.95, "n": 8}}
    (tmp_path / "run" / "evaluation.json").write_text(json.dumps({"metrics": figures}))
    assert "<td>Dice, foreground</td><td>0.900</td><td>0.850 to 0.950</td><td>8</td>" in other._repr_html_()


def test_pictures_are_classified_by_name(tmp_path):
    make_pictures(tmp_path / "data", cases=2)
    folder = make_run(tmp_path / "run", "classification", task={"labels": ["ill", "well"]}, patch=24)
    answer = medgrad.open_run(folder).predict(tmp_path / "data" / "ill" / "scan_01.png")
    assert answer.names == ("ill", "well")
    assert answer.values.sum() == pytest.approx(1)

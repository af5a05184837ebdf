"""Anomaly detection: what is learned from, what is judged on, and a run that finds what was planted."""

import json
from dataclasses import replace

import numpy as np
import pytest

from medgrad.answers import kind_named
from medgrad.answers.anomaly_map import size_of_difference
from medgrad.data import AnomalyMap, Case, Grid, Image, LabelMap, Scores, Source
from medgrad.data.cohorts.layouts import Hints, recognise
from medgrad.data.formats import read, write
from medgrad.engine.evaluation.opened_run import open_run
from medgrad.engine.training.fit import fit
from medgrad.errors import SettingError
from medgrad.tasks.anomaly import Anomaly

GRID = Grid.from_shape((16, 18, 14), spacing=(1.0, 1.0, 2.0))
SELF = Hints(task="anomaly", kind="synthetic_self")
TINY = {
    "augment": [{"name": "coarse_noise", "min_size": 3, "max_size": 5}],
    "model": {"name": "image_unet", "channels": [4, 8], "strides": [[2, 2, 1]]},
    "training": {"steps": 40, "batch": 2, "patch": [16, 18, 14], "threads": 1, "validations": 1},
}


def scan(seed):
    """A smooth head whose size and brightness differ from patient to patient, as whole numbers."""
    rng = np.random.default_rng(seed)
    axes = [((np.arange(n) - n / 2 - rng.normal(0, 0.5)) / n) ** 2 for n in GRID.shape]
    away = sum(np.ix_(*axes), start=np.zeros(()))
    return Image(np.rint(600 * np.exp(-5 * away) + rng.normal(0, 8, GRID.shape) + 50).astype(np.int16), GRID, "mr")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("normal")
    for number in range(10):
        write(folder / "images" / f"case_{number}.nii.gz", scan(number))
        drawn = np.zeros(GRID.shape, np.uint8)
        drawn[4:8, 4:8, 4:6] = number % 3 == 0
        write(folder / "labels" / f"case_{number}.nii.gz", LabelMap(drawn, GRID))
    return folder


@pytest.fixture(scope="module")
def run(folder, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "run"
    fit(recognise(folder, SELF), out, changes=TINY)
    return out


def case_of(truth=None, name="a"):
    return Case(name, {"image": scan(0)}, truth)


def test_a_normal_image_is_learned_from_and_an_abnormal_one_is_not():
    drawn = np.zeros(GRID.shape, np.uint8)
    task, healthy = Anomaly(abnormal=("lesion",)), LabelMap(drawn, GRID, {1: "organ", 2: "lesion"})
    organ = replace(healthy, array=drawn + 1)
    ill = replace(healthy, array=np.where(np.indices(GRID.shape)[0] < 2, 2, 1).astype(np.uint8))
    assert [len(task.cases_from(case_of(t), is_judged=False)) for t in (healthy, organ, ill)] == [1, 1, 0]
    (judged,) = task.cases_from(case_of(ill), is_judged=True)
    np.testing.assert_array_equal(judged.truth.array, ill.array == 2)


def test_a_class_makes_a_whole_image_abnormal():
    task = Anomaly(abnormal=("malignant", "benign"))
    for values, is_ill in (((1.0, 0.0, 0.0), 0), ((0.0, 1.0, 0.0), 1)):
        truth = Scores(np.array(values), ("normal", "benign", "malignant"))
        (judged,) = task.cases_from(case_of(truth), is_judged=True)
        assert set(np.unique(judged.truth.array)) == {is_ill}


def test_a_name_that_the_set_does_not_have_is_refused():
    with pytest.raises(SettingError, match="organ"):
        Anomaly(abnormal=("lesion",)).cases_from(
            case_of(LabelMap(np.zeros(GRID.shape, int), GRID, {1: "organ"})), is_judged=True
        )
    with pytest.raises(SettingError, match="neither"):
        Anomaly(abnormal=("lesion",)).cases_from(case_of(), is_judged=True)


def test_one_lesion_of_the_asked_contrast_is_planted_by_the_id():
    task = Anomaly(contrasts=(2.0, 2.0))
    whole, planted = task.cases_from(case_of(), is_judged=True)
    np.testing.assert_array_equal(whole.images["image"].array, scan(0).array)
    assert not whole.truth.array.any()
    assert (planted.id, planted.patient) == ("a+lesion", "a")
    apart = planted.images["image"].array - scan(0).array
    is_in = planted.truth.array > 0.5
    assert np.abs(apart).max() == pytest.approx(2 * scan(0).array.std(), rel=1e-3)
    assert np.abs(apart[is_in]).min() > np.abs(apart[~is_in]).max() * 0.99
    volume = is_in.sum() * np.prod(GRID.spacing)
    assert 4**3 * np.pi / 6 * 0.4 < volume < 8**3 * np.pi / 6 * 1.6
    again, other = (task.cases_from(case_of(name=n), is_judged=True)[1] for n in "ab")
    np.testing.assert_array_equal(again.truth.array, planted.truth.array)
    assert (other.truth.array != planted.truth.array).any()


def test_an_image_without_room_for_a_lesion_is_judged_as_it_is():
    grid = Grid.from_shape((5, 5))
    small = Case("a", {"image": Image(np.ones((5, 5), np.uint8), grid)})
    assert len(Anomaly(dims=2).cases_from(small, is_judged=True)) == 1


def test_the_difference_is_smoothed_with_its_sign():
    rng = np.random.default_rng(0)
    grid = Grid.from_shape((40, 40), spacing=(1, 2))
    noise, steady = rng.normal(0, 1, (1, 40, 40)), np.full((1, 40, 40), -1.0)
    assert size_of_difference(noise, grid, 2.0).mean() < 0.3
    np.testing.assert_allclose(size_of_difference(steady, grid, 2.0), 1.0)
    both = size_of_difference(np.concatenate([steady, 0 * steady]), grid, 0.0)
    np.testing.assert_allclose(both, np.sqrt(0.5))


def test_the_deviation_is_that_of_normal_images_alone():
    rows = [
        {"abnormal": 0.0, "score": 4.0, "normal_error": 3.0, "element_auroc": None},
        {"abnormal": 0.0, "score": 6.0, "normal_error": 1.0, "element_auroc": None},
        {"abnormal": 1.0, "score": 90.0, "normal_error": None, "element_auroc": 0.9},
    ]
    found = Anomaly().calibrated(rows)
    assert found.task.deviation == pytest.approx(5**0.5)
    assert found.task.limit == pytest.approx(5.9 / 5**0.5, rel=1e-5)
    assert [row["score"] for row in found.rows] == pytest.approx([v / 5**0.5 for v in (4, 6, 90)])
    assert found.rows[2]["element_auroc"] == 0.9


def test_a_case_that_could_not_be_read_counts_as_missed_or_as_a_false_alarm():
    ill = Scores(np.array([0.0, 1.0]), ("normal", "ill"))
    well = replace(ill, values=np.array([1.0, 0.0]))
    missed, alarm = (Anomaly(abnormal=("ill",), by_image=True).failed_row(truth) for truth in (ill, well))
    assert (missed["abnormal"], missed["score"]) == (1, 0)
    assert alarm["abnormal"] == 0
    assert alarm["score"] > 1e5
    assert missed["element_auroc"] is None
    assert Anomaly().failed_row(scan(0))["abnormal"] == 0, "an image that is its own truth is normal"
    lesion = LabelMap((np.indices(GRID.shape)[0] < 2).astype(np.uint8), GRID, {1: "lesion"})
    assert Anomaly(abnormal=("lesion",)).failed_row(lesion)["element_auroc"] == 0


def test_what_cannot_be_read_does_not_stop_the_others(folder, tmp_path):
    import shutil

    some = tmp_path / "some"
    shutil.copytree(folder / "images", some)
    (some / "case_9.nii.gz").write_bytes(b"no image")
    fit(recognise(folder, SELF), tmp_path / "run", changes=TINY | {"training": TINY["training"] | {"steps": 2}})
    found = open_run(tmp_path / "run").evaluate(recognise(some, SELF))
    assert [j.case for j in found.judged_cases if j.failure_reason] == ["case_9"]
    assert found.metrics["image_auroc"]["value"] < 1


def test_a_run_finds_what_was_planted_beside_the_zscore(run):
    told = json.loads((run / "evaluation.json").read_text())
    found = {name: row["value"] for name, row in told["metrics"].items()}
    assert found["element_auroc"] > 0.7
    assert found["element_auroc_gain"] == pytest.approx(found["element_auroc"] - found["element_auroc_zscore"])
    assert found["normal_error"] == pytest.approx(1, abs=0.2)
    rows = (run / "cases.csv").read_text().splitlines()
    assert sum("+lesion" in row for row in rows) * 2 == len(rows) - 1
    assert told["cases"] == 2 * told["patients"], "an image and its lesion are of one patient"
    assert json.loads((run / "run.json").read_text())["zscore"]["by_element"]


def test_an_evaluation_gives_the_same_again(run, folder):
    cohort = recognise(folder, SELF)
    one, two = (open_run(run).evaluate(cohort).metrics["element_auroc_zscore"]["value"] for _ in range(2))
    assert one == two


def test_a_bright_ball_stands_out_of_the_map(run):
    shown, opened, kind = scan(77), open_run(run), kind_named("anomaly_map")
    inside = np.zeros(GRID.shape, bool)
    inside[6:10, 7:11, 6:8] = True
    with_ball = replace(shown, array=shown.array + 250 * inside.astype(np.int16))
    before, after = (opened.predict(image) for image in (shown, with_ball))
    assert isinstance(after, AnomalyMap)
    assert after.array[inside].mean() > 1.5 * before.array[inside].mean()
    assert kind.summary(before)["normal_up_to"] == pytest.approx(opened.task.limit, abs=1e-3)


def test_what_is_known_of_masks_is_judged_where_it_is_named(folder, tmp_path):
    changes = TINY | {"task": {"kind": "anomaly", "abnormal": ["label"]}}
    cohort = recognise(folder)
    changes["task"]["abnormal"] = list(cohort.labels)
    fit(cohort, tmp_path / "run", changes=changes | {"training": TINY["training"] | {"steps": 2}})
    rows = (tmp_path / "run" / "cases.csv").read_text()
    assert "+lesion" not in rows
    assert open_run(tmp_path / "run").task.abnormal == cohort.labels


def test_a_name_is_checked_before_any_image_is_read(folder, tmp_path):
    with pytest.raises(SettingError, match="tumor"):
        fit(recognise(folder), tmp_path / "run", changes=TINY | {"task": {"kind": "anomaly", "abnormal": ["tumor"]}})
    assert not (tmp_path / "run").exists()


def test_a_png_holds_hundredths_of_a_deviation(tmp_path):
    from medgrad.answers import Destination

    grid = Grid.from_shape((4, 5))
    value = AnomalyMap(np.full((4, 5), 1.234, np.float32), grid, tags={"limit": 1.0})
    kind = kind_named("anomaly_map")
    picture, told = kind.write(value, Destination(tmp_path, "a", Source(tmp_path / "a.png")))
    assert read(picture).array.max() == 123
    assert json.loads(told.read_text()) == {"score": 1.234, "normal_up_to": 1.0, "unusual": True}
    assert "hundredths" in kind.notes(value, [picture])[0]

"""Who measures ranges and who judges: by patient, and never a patient on both sides."""

import pytest
from untrained import make_run, record_cohort, smooth

from medgrad.data import Grid, Image
from medgrad.data.formats import write
from medgrad.errors import SettingError
from medgrad.export._cases import choose_cases, read_recorded_cohort


def make_set(folder, names):
    for name in names:
        image = smooth(sum(map(ord, name)), (8, 8))
        grid = Grid.from_shape(image.shape, has_spacing=False)
        values = (60 * image + 120).clip(0, 255).astype("uint8")
        for room, array in (("images", values), ("masks", (values > 150).astype("uint8") * 255)):
            write(folder / room / f"{name}.png", Image(array, grid))
    return folder


def ids(chosen):
    return sorted(entry.id for _, entry in chosen)


def patients(chosen):
    return {entry.patient or entry.id for _, entry in chosen}


NAMES = [f"c{n}" for n in range(10)]


@pytest.fixture
def data(tmp_path):
    return make_set(tmp_path / "data", NAMES)


@pytest.fixture
def run(tmp_path):
    return make_run(tmp_path / "run", patch=8)


def test_training_patients_measure_and_validation_cases_judge(data, run):
    sides = {n: "val" if n in ("c0", "c1") else "test" if n == "c2" else "train" for n in NAMES}
    record_cohort(run, data, sides)
    chosen = choose_cases(run, needs_calibration=True)
    assert ids(chosen.calibration) == NAMES[3:]
    assert ids(chosen.evaluation) == ["c0", "c1"]
    assert chosen.evaluated_on == "validation cases"
    assert choose_cases(run).calibration == ()


def test_without_validation_cases_patients_judge_who_did_not_measure(data, run):
    record_cohort(run, data, dict.fromkeys(NAMES, "train"))
    chosen = choose_cases(run, needs_calibration=True)
    assert len(chosen.calibration) == 8
    assert len(chosen.evaluation) == 2
    assert not patients(chosen.calibration) & patients(chosen.evaluation)


def test_cases_of_one_patient_are_one(data, run):
    import json

    record_cohort(run, data, {n: "val" if n == "c0" else "train" for n in NAMES})
    known = read_recorded_cohort(run)
    for row in known["cases"][1:]:
        row["patient"] = f"p{int(row['id'][1:]) % 3}"
    (run / "cohort.json").write_text(json.dumps(known))
    chosen = choose_cases(run, needs_calibration=True)
    assert len(chosen.calibration) == 3
    assert patients(chosen.calibration) == {"p0", "p1", "p2"}


def test_what_validates_or_tests_is_not_taken_from_a_folder(data, run, tmp_path):
    record_cohort(run, data, {n: "val" if n == "c0" else "test" if n == "c1" else "train" for n in NAMES})
    other = make_set(tmp_path / "other", ["c0", "c5", "new", "more"])
    for room in ("images", "masks"):
        (other / room / "copy.png").write_bytes((data / room / "c1.png").read_bytes())
    chosen = choose_cases(run, folder=other, needs_calibration=True)
    assert ids(chosen.calibration) == ["c5", "more", "new"]
    assert ids(chosen.evaluation) == ["c0"]


def test_cases_that_changed_since_are_not_those_of_the_run(data, run):
    record_cohort(run, data, {n: "val" if n == "c0" else "train" for n in NAMES})
    make_set(data, ["c0"])
    write(
        data / "images" / "c0.png", Image(smooth(1, (8, 8)).astype("uint8"), Grid.from_shape((8, 8), has_spacing=False))
    )
    chosen = choose_cases(run, needs_calibration=True)
    assert "c0" not in ids(chosen.evaluation)


def test_where_nothing_is_at_hand_a_folder_is_asked_for(run, tmp_path):
    assert choose_cases(run).evaluation == ()
    with pytest.raises(SettingError, match="--calibrate FOLDER"):
        choose_cases(run, needs_calibration=True)

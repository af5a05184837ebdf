"""The demo: its folder, its steps, its page; the whole of it in a few steps, and, slowly, as it is."""

import inspect
import json
import os
import re

import pytest
import torch

from medgrad.apps.verbs import demo as verb
from medgrad.apps.verbs._demo_page import write_demo_page
from medgrad.apps.verbs._demo_state import DemoState, held_out_patient_numbers, limit_patients, reserve_folder
from medgrad.apps.verbs.demo import MIN_PATIENTS, PHANTOM_SETTINGS, demo, mean_lesion_dice
from medgrad.data.cohorts.phantom import Phantom
from medgrad.engine.progress import SilentProgress
from medgrad.errors import FormatError, SettingError

TINY = Phantom(
    patients=8, shape=(24, 24, 20), spacing_mm=(9, 9, 9), dates=(1, 1), sites=1, breath_mm=3, diameters_mm=(24, 30)
)


def journey(folder, **settings):
    return DemoState(folder, TINY, settings.pop("minutes", 1.0), SilentProgress(), **settings)


def test_a_folder_with_other_things_is_left_alone(tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(FormatError, match="-o"):
        reserve_folder(journey(tmp_path))
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_demo_that_was_cut_off_is_gone_on_with(tmp_path):
    reserve_folder(journey(tmp_path / "d"))
    reserve_folder(journey(tmp_path / "d"))


def test_a_slow_machine_makes_fewer_patients_and_says_so(tmp_path):
    going = DemoState(tmp_path / "d", Phantom(patients=30, **PHANTOM_SETTINGS), 8.0, SilentProgress())
    reserve_folder(going)
    limit_patients(going, seconds_per_patient=5.0)
    assert (going.phantom.patients, going.n_training_patients) == (19, 12)
    assert "19 patients instead of 30" in going.messages[-1]


@pytest.mark.parametrize("seconds, patients", [(0.5, 30), (3.2, 30), (6.0, 16), (60.0, 12)])
def test_there_are_as_many_patients_as_can_be_made_in_a_part_of_the_time(seconds, patients, tmp_path):
    going = DemoState(tmp_path / "d", Phantom(patients=30, **PHANTOM_SETTINGS), 8.0, SilentProgress())
    reserve_folder(going)
    limit_patients(going, seconds)
    assert going.phantom.patients == patients


@pytest.mark.parametrize("first, then", [(5.0, 0.1), (0.1, 5.0)])
def test_a_demo_that_goes_on_keeps_its_patients_on_their_sides(first, then, tmp_path):
    sides = []
    for seconds in (first, then):
        going = DemoState(tmp_path / "d", Phantom(patients=30, **PHANTOM_SETTINGS), 8.0, SilentProgress())
        reserve_folder(going)
        limit_patients(going, seconds)
        sides.append((going.n_training_patients, list(held_out_patient_numbers(going))))
    assert sides[0] == sides[1]


def test_a_demo_with_other_settings_is_not_mixed_in(tmp_path):
    reserve_folder(journey(tmp_path / "d"))
    with pytest.raises(SettingError, match="other settings"):
        reserve_folder(journey(tmp_path / "d", minutes=2.0))


def test_too_few_patients_are_refused_before_anything_is_written(tmp_path):
    with pytest.raises(SettingError, match=str(MIN_PATIENTS)):
        demo(out=tmp_path / "d", patients=3)
    assert not (tmp_path / "d").exists()


@pytest.mark.parametrize("patients", [MIN_PATIENTS, 9, 30, 101])
def test_every_patient_has_one_part(patients, tmp_path):
    going = DemoState(tmp_path, Phantom(patients=patients, **PHANTOM_SETTINGS), 1.0, SilentProgress())
    held_out = patients - going.n_training_patients - 1
    assert going.n_training_patients >= 5
    assert held_out >= 2
    assert going.n_training_patients > held_out


def test_the_shares_of_time_leave_some_for_the_rest():
    assert sum(verb.TIME_SHARES.values()) <= 0.8


def test_the_dice_of_lesions_is_the_mean_of_both_kinds_where_both_are_there():
    assert mean_lesion_dice({"dice/nodule": 0.8, "dice/lesion": 0.6, "dice/lung": 1.0}) == {"dice": pytest.approx(0.7)}
    assert mean_lesion_dice({"dice/nodule": 0.8, "dice/lesion": None}) == {"dice": 0.8}
    assert mean_lesion_dice({"dice/lung": 1.0}) == {"dice": None}


def test_each_step_is_a_small_function_of_the_journey():
    for _, step in verb.DEMO_STEPS:
        assert list(inspect.signature(step).parameters) == ["state"]
        assert len(inspect.getsource(step).splitlines()) <= 40


def test_the_page_shows_figures_with_intervals_and_leads_to_the_reports(tmp_path):
    going = journey(tmp_path)
    going.metrics["auroc"] = {"value": 0.931, "low": 0.888, "high": 0.97, "n": 10}
    going.pages.append(("The run", tmp_path / "classification" / "report.html"))
    going.add_message("One <b>thing</b> happened.")
    going.training_seconds = 42.0
    page = write_demo_page(going, 61.0).read_text(encoding="utf-8")
    assert "0.931" in page
    assert "42 s" in page
    assert "0.888 to 0.970, 10 patients" in page
    assert 'href="classification/report.html"' in page
    assert "&lt;b&gt;" in page


def test_patients_are_made_as_files_and_kept_apart(tmp_path):
    pytest.importorskip("highdicom")
    going = journey(tmp_path)
    verb.write_patients(going)
    verb.survey_patients(going)
    parts = {n: {p.name for p in (tmp_path / "patients" / n).iterdir() if p.is_dir()} for n in ("learn", "held-out")}
    assert parts["learn"] == {f"P{n:03}" for n in range(1, 6)}
    assert parts["held-out"] == {"P006", "P007"}
    assert [p.name for p in (tmp_path / "new").iterdir()] == ["P008"]
    for name, people in parts.items():
        drawn = {p.name[:4] for p in (tmp_path / "lesions" / name).rglob("*.nii.gz")}
        assert drawn <= people
    assert "0 leaks" in going.messages[-1]


def test_the_whole_journey_ends_with_a_page_and_an_answer(tmp_path):
    pytest.importorskip("highdicom")
    from medgrad.data.formats import read, read_labels

    going = journey(tmp_path / "d", changes={"training": {"steps": 6}})
    found = verb.run_demo(going)
    assert set(found["metrics"]) == {"lesion dice", "auroc", "nodules found"}
    assert json.loads(json.dumps(found))["report"].endswith("report.html")
    page = (tmp_path / "d" / "report.html").read_text()
    for _, path in going.pages:
        assert path.exists()
        assert path.relative_to(tmp_path / "d").as_posix() in page
    assert page.count("<figcaption>truth</figcaption>") == 2
    for picture in going.processed:
        before, after = map(float, re.findall(r"([\d.]+) dB before and ([\d.]+) after", picture.title)[0])
        assert after > before + 4
    image = read(tmp_path / "d" / "new" / "P008")
    answer = read_labels(going.answer, reference_grid=image.grid)
    assert answer.grid.is_close(image.grid)
    assert set(answer.names.values()) == {"lung", "liver", "nodule", "lesion"}


@pytest.mark.slow
def test_without_highdicom_the_journey_goes_on_in_nifti(tmp_path, monkeypatch):
    from medgrad.data.cohorts.phantom import write

    for module in (verb, write):
        monkeypatch.setattr(module, "find_spec", lambda _: None)
    going = journey(tmp_path / "d", changes={"training": {"steps": 6}})
    found = verb.run_demo(going)
    assert found["answer"].endswith("P008.nii.gz")
    assert found["metrics"]["lesion dice"]["value"] is not None


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_the_demo_finds_lesions_and_tells_them_apart(tmp_path):
    before = torch.get_num_threads()
    torch.set_num_threads(os.cpu_count() or 1)  # the minutes are meant for the whole machine
    try:
        found = demo(out=tmp_path / "d")
    finally:
        torch.set_num_threads(before)
    assert found["metrics"]["lesion dice"]["value"] > 0.7
    assert found["metrics"]["auroc"]["value"] > 0.9
    assert found["metrics"]["nodules found"]["value"] > 0.8
    assert found["metrics"]["tre_mm"]["value"] < 2.5

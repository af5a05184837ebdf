"""Each file of a set is read once, and what was seen of it holds as long as the file does."""

import json
import os
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from medgrad.data import Grid, Image, LabelMap, Source
from medgrad.data.cohorts.layouts import recognise
from medgrad.data.dicom.write.ct import SeriesHeader, write_ct
from medgrad.data.formats import write
from medgrad.survey import measure as measuring
from medgrad.survey.dataset import look
from medgrad.survey.dataset_facts import gather_dataset_facts
from medgrad.survey.file_hashes import hash_case
from medgrad.survey.survey_file import read_survey, write_survey

GRID = Grid.from_shape((12, 12, 6), spacing=(1, 1, 2))
CT = Grid((12, 12, 6), ((-1.0, 0, 0, 0), (0, -1.0, 0, 0), (0, 0, 2.0, 0), (0, 0, 0, 1)))

COUNT = """
import collections, json, os, sys
from pathlib import Path
root, opened = os.path.realpath(sys.argv[1]), collections.Counter()
def heard(event, given):
    path = os.path.realpath(os.fsdecode(given[0])) if event == "open" and isinstance(given[0], (str, bytes)) else ""
    if path.startswith(root) and not os.path.isdir(path):
        opened[path] += 1
from medgrad.data.cohorts.layouts import recognise
from medgrad.survey.dataset_facts import gather_dataset_facts
from medgrad.engine.loading.cache import load_prepared_cases
from medgrad.survey.dataset import look
sys.addaudithook(heard)
def counted():
    found = max(opened.values(), default=0)
    opened.clear()
    return found
found = {}
cohort = recognise(Path(root)); found["recognise"] = counted()
seen = look(cohort); found["look"] = counted()
gather_dataset_facts(cohort, survey=seen.survey); found["facts"] = counted()
[seen.survey.hash_of(e) for e in cohort.entries]; found["hashes"] = counted()
load_prepared_cases(cohort, []); found["load"] = counted()
print(json.dumps(found))
"""


def volumes(folder: Path, count: int = 3) -> Path:
    for number in range(count):
        chance = np.random.default_rng(number)
        image = Image(chance.normal(100, 30, GRID.shape).astype(np.int16), GRID)
        mask = np.zeros(GRID.shape, np.uint8)
        mask[3 : 6 + number, 3:8, 2:4] = 1
        write(folder / "images" / f"p{number}.nii.gz", image)
        write(folder / "labels" / f"p{number}.nii.gz", LabelMap(mask, GRID, {1: "lesion"}))
    return aged(folder)


def series(folder: Path, count: int = 2) -> Path:
    from medgrad.data.dicom.write.seg import make_seg, save_dataset

    for number in range(count):
        chance = np.random.default_rng(number)
        told = SeriesHeader(f"series {number}", f"study {number}", f"frame {number}", {"PatientID": f"P{number}"})
        write_ct(folder / f"P{number}" / "CT", Image(chance.normal(0, 99, CT.shape), CT, "ct"), told)
        mask = np.zeros(CT.shape, np.uint8)
        mask[3:7, 3:8, 2:4] = 1
        labels = LabelMap(mask, CT, {1: "lesion"})
        save_dataset(
            make_seg(labels, Source(folder / f"P{number}" / "CT")), folder / f"P{number}" / "SEG" / "truth.dcm"
        )
    return aged(folder)


def aged(folder: Path) -> Path:
    for path in folder.rglob("*"):
        os.utime(path, (1e9, 1e9))
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("made", [volumes, series])
def test_each_file_is_opened_once_to_look_and_once_to_learn(tmp_path, made):
    if made is series:
        pytest.importorskip("highdicom")
    done = subprocess.run(
        [sys.executable, "-c", COUNT, str(made(tmp_path))], capture_output=True, text=True, check=True
    )
    found = json.loads(done.stdout)
    assert {k: found[k] for k in ("look", "facts", "hashes", "load")} == {"look": 1, "facts": 0, "hashes": 0, "load": 1}
    if made is series:
        assert found["recognise"] <= 2  # a SEG is opened again for the names of its segments


def test_a_survey_comes_back_as_it_was_written(tmp_path):
    cohort = recognise(volumes(tmp_path / "set"))
    seen = look(cohort)
    gather_dataset_facts(cohort, survey=seen.survey)
    write_survey(tmp_path / "run", seen.survey)
    back = read_survey(tmp_path / "run")
    assert back.cases.keys() == seen.survey.cases.keys()
    assert back.plans == seen.survey.plans
    assert look(cohort, known_survey=back).as_dict() == seen.as_dict()


def test_facts_by_a_survey_are_those_without_it(tmp_path):
    cohort = recognise(volumes(tmp_path))
    plain, seen = gather_dataset_facts(cohort), look(cohort)
    assert gather_dataset_facts(cohort, survey=seen.survey) == plain
    assert gather_dataset_facts(cohort, survey=replace(seen.survey, samples={})) == plain


def test_what_was_seen_is_not_read_again(tmp_path, monkeypatch):
    cohort = recognise(volumes(tmp_path / "set"))
    write_survey(tmp_path / "run", look(cohort).survey)
    monkeypatch.setattr(measuring, "measure_case", None)
    assert len(look(cohort, known_survey=read_survey(tmp_path / "run")).survey.cases) == 3


def test_a_file_that_has_changed_is_read_again(tmp_path):
    cohort = recognise(volumes(tmp_path))
    survey = look(cohort).survey
    entry = cohort.entries[1]
    before = survey.hash_of(entry)
    write(entry.images["image"].path, Image(np.full(GRID.shape, 7, np.int16), GRID))
    assert survey.hash_of(entry) == hash_case(entry) != before
    again = look(cohort, known_survey=survey)
    assert [f.case for f in again.issues if f.kind == "constant"] == [entry.id]


def test_a_file_with_another_time_and_the_same_bytes_is_as_it_was(tmp_path, monkeypatch):
    cohort = recognise(volumes(tmp_path))
    survey = look(cohort).survey
    os.utime(cohort.entries[0].images["image"].path, (1.1e9, 1.1e9))
    monkeypatch.setattr(measuring, "measure_case", None)
    look(cohort, known_survey=survey)


def test_a_survey_that_is_damaged_is_none(tmp_path):
    (tmp_path / "survey.json").write_text('{"version": 1, "cases": {"a": 3}')
    assert read_survey(tmp_path).cases == {}
    assert read_survey(tmp_path / "nowhere").cases == {}


def side_by_side(cohort, monkeypatch):
    monkeypatch.setattr(measuring, "TRIAL_SECONDS", -1.0)
    monkeypatch.setattr(measuring, "MIN_SECONDS_LEFT", -1.0)
    monkeypatch.setattr(measuring, "count_processes", lambda workers: workers)
    asked, ask, measured = threading.Event(), measuring.Worker.request, measuring.measure_entry

    def told(worker, *question):
        asked.set()
        return ask(worker, *question)

    def patient(*given):
        if threading.active_count() > 1:  # the first case comes before there is another process
            asked.wait(60)
        return measured(*given)

    monkeypatch.setattr(measuring.Worker, "request", told)
    monkeypatch.setattr(measuring, "measure_entry", patient)
    found = look(cohort)
    assert asked.is_set()
    return found


@pytest.mark.slow
def test_processes_find_what_one_finds(tmp_path, monkeypatch):
    cohort = recognise(volumes(tmp_path, 5))
    assert look(cohort).as_dict() == side_by_side(cohort, monkeypatch).as_dict()


@pytest.mark.slow
def test_a_process_that_dies_is_a_fault_of_its_case(tmp_path, monkeypatch):
    cohort = recognise(volumes(tmp_path, 4))
    ask, asked = measuring.Worker.request, []

    def dying(worker, what, entry, *more):
        asked.append(entry.id)
        if len(asked) == 1:
            worker.process.kill()
        return ask(worker, what, entry, *more)

    monkeypatch.setattr(measuring.Worker, "request", dying)
    found = side_by_side(cohort, monkeypatch)
    (fault,) = [f for f in found.issues if f.kind == "unreadable"]
    assert fault.case == asked[0]
    assert "SIGKILL" in fault.sentence
    assert found.statistics["cases"] == 4

"""A process beside this one is started where it is worth it, and nothing depends on whether it lives."""

import threading

import pytest
from test_survey import series

from medgrad.data.dicom.header import HEADS
from medgrad.data.file_cache import Collected, collected
from medgrad.data.formats import collecting, reading_ahead, series_in
from medgrad.survey import dicom_headers as dicom_heads
from medgrad.survey import workers


@pytest.fixture
def many(monkeypatch):
    """Let a few files be many, and two cores be there."""
    monkeypatch.setattr(workers, "WORTH_FILES", 4)
    monkeypatch.setattr(workers, "count", lambda: 2)
    monkeypatch.setattr(dicom_heads, "FEWEST", 1)
    monkeypatch.setattr(dicom_heads, "AT_ONCE", 2)
    monkeypatch.setattr(HEADS, "found", {})


def test_a_few_files_are_worth_no_process(tmp_path, monkeypatch):
    monkeypatch.setattr(workers, "count", lambda: 2)
    series(tmp_path)
    with workers.ended_after():
        workers.start_early(tmp_path)
        assert not workers.IDLE


def test_one_core_gets_no_second_process(tmp_path, many, monkeypatch):
    monkeypatch.setattr(workers, "count", lambda: 1)
    series(tmp_path)
    with workers.ended_after():
        workers.start_early(tmp_path)
        assert not workers.IDLE


@pytest.mark.slow
@pytest.mark.parametrize("dies", [False, True])
def test_headers_read_by_two_processes_are_those_read_by_one(tmp_path, many, monkeypatch, dies):
    folder = series(tmp_path)
    plain = series_in(folder)
    HEADS.found.clear()
    asked, own, ask = threading.Event(), dicom_heads.head_of, workers.Worker.ask

    def dying(worker, *question):
        if dies:
            worker.process.kill()
        try:
            return ask(worker, *question)
        finally:
            asked.set()

    def patient(path):
        asked.wait(60)
        return own(path)

    monkeypatch.setattr(workers.Worker, "ask", dying)
    monkeypatch.setattr(dicom_heads, "head_of", patient)
    with workers.ended_after(), collecting(), reading_ahead(dicom_heads.read_ahead):
        workers.start_early(folder)
        assert len(workers.IDLE) == 1
        assert series_in(folder) == plain
        assert len(workers.IDLE) == (0 if dies else 1)
        assert {collected(path) for one in plain for path in one.files} == {
            path.read_bytes() for one in plain for path in one.files
        }
    assert not workers.IDLE


def test_files_of_a_large_set_are_not_collected(tmp_path):
    kept = Collected()
    kept.room = 10
    kept.keep("a", (6, 0), b"123456")
    assert kept.files
    kept.keep("b", (6, 0), b"123456")
    kept.keep("c", (1, 0), b"1")
    assert not kept.files


def test_a_collected_file_that_has_changed_is_read_again(tmp_path):
    folder = series(tmp_path, 1)
    with collecting():
        (one, *_) = series_in(folder)
        path = one.files[0]
        assert collected(path) == path.read_bytes()
        path.write_bytes(path.read_bytes() + b"\0\0")
        assert collected(path) is None

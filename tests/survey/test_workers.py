"""A process beside this one is started where it is worth it, and nothing depends on whether it lives."""

import threading

import pytest
from test_survey import series

from medgrad.data.dicom.header import HEADER_CACHE
from medgrad.data.file_cache import SetFileCache, get_set_file
from medgrad.data.formats import cache_set_files, list_series, reading_ahead
from medgrad.survey import dicom_headers as dicom_heads
from medgrad.survey import workers


@pytest.fixture
def many(monkeypatch):
    """Let a few files be many, and two cores be there."""
    monkeypatch.setattr(workers, "MIN_FILES", 4)
    monkeypatch.setattr(workers, "count_cores", lambda: 2)
    monkeypatch.setattr(dicom_heads, "MIN_FILES", 1)
    monkeypatch.setattr(dicom_heads, "FILES_PER_REQUEST", 2)
    monkeypatch.setattr(HEADER_CACHE, "entries", {})


def test_a_few_files_are_worth_no_process(tmp_path, monkeypatch):
    monkeypatch.setattr(workers, "count_cores", lambda: 2)
    series(tmp_path)
    with workers.stopping_idle_workers():
        workers.start_worker_early(tmp_path)
        assert not workers.IDLE_WORKERS


def test_one_core_gets_no_second_process(tmp_path, many, monkeypatch):
    monkeypatch.setattr(workers, "count_cores", lambda: 1)
    series(tmp_path)
    with workers.stopping_idle_workers():
        workers.start_worker_early(tmp_path)
        assert not workers.IDLE_WORKERS


@pytest.mark.slow
@pytest.mark.parametrize("dies", [False, True])
def test_headers_read_by_two_processes_are_those_read_by_one(tmp_path, many, monkeypatch, dies):
    folder = series(tmp_path)
    plain = list_series(folder)
    HEADER_CACHE.entries.clear()
    asked, own, ask = threading.Event(), dicom_heads.load_header, workers.Worker.request

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

    monkeypatch.setattr(workers.Worker, "request", dying)
    monkeypatch.setattr(dicom_heads, "load_header", patient)
    with workers.stopping_idle_workers(), cache_set_files(), reading_ahead(dicom_heads.read_ahead):
        workers.start_worker_early(folder)
        assert len(workers.IDLE_WORKERS) == 1
        assert list_series(folder) == plain
        assert len(workers.IDLE_WORKERS) == (0 if dies else 1)
        assert {get_set_file(path) for one in plain for path in one.files} == {
            path.read_bytes() for one in plain for path in one.files
        }
    assert not workers.IDLE_WORKERS


def test_files_of_a_large_set_are_not_collected(tmp_path):
    kept = SetFileCache()
    kept.bytes_left = 10
    kept.add("a", (6, 0), b"123456")
    assert kept.files
    kept.add("b", (6, 0), b"123456")
    kept.add("c", (1, 0), b"1")
    assert not kept.files


def test_a_collected_file_that_has_changed_is_read_again(tmp_path):
    folder = series(tmp_path, 1)
    with cache_set_files():
        (one, *_) = list_series(folder)
        path = one.files[0]
        assert get_set_file(path) == path.read_bytes()
        path.write_bytes(path.read_bytes() + b"\0\0")
        assert get_set_file(path) is None

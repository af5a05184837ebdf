"""Measure the cases of a data set, in parallel processes where that saves time."""

from __future__ import annotations

import pickle
import time
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from queue import SimpleQueue
from typing import IO, Any

from ..data.cohorts import Cohort, Entry
from ..data.file_cache import cache_set_files, current_set_cache
from ..data.formats import cache_case_files
from ..machine.cores import count_cores
from .case import CaseFacts, Issue, measure_case
from .case_stats import CaseStats, gather_case_stats
from .dicom_headers import HeaderRecords, list_known_headers, read_headers, remember_headers
from .file_hashes import hash_case, unshared_files
from .survey_file import Stamps, distrust_recent_stamps, file_stamps
from .workers import IDLE_WORKERS, Worker, get_worker, receive_pickled, send_pickled

TRIAL_SECONDS = 0.5
MIN_SECONDS_LEFT = 2.0
"""So many seconds of work left, by the first cases, are worth a process that has not been started yet."""


@dataclass(frozen=True)
class CaseMeasurement:
    """What was seen of one case; ``sample`` is what a plan must know, if that was asked for."""

    facts: CaseFacts
    hash: str
    stamps: Stamps
    sample: CaseStats | None = None


def measure_entry(cohort: Cohort, planned_cohort: Cohort | None, entry: Entry) -> CaseMeasurement:
    """Read each file of a case once, and give all that is asked of it.

    ``planned_cohort`` is the set as it will be learned from, where a plan is to be made.
    """
    with cache_case_files(unshared_files(entry)):
        stamps = distrust_recent_stamps(file_stamps(entry), time.time_ns())
        try:
            hashed = hash_case(entry)
        except OSError:
            hashed = ""
        facts = measure_case(cohort, entry)
        return CaseMeasurement(
            facts, hashed, stamps, gather_case_stats(planned_cohort, entry) if planned_cohort is not None else None
        )


def measure_all(
    cohort: Cohort, entries: Sequence[Entry], *, planned_cohort: Cohort | None = None, workers: int = 2
) -> Iterator[CaseMeasurement]:
    """Measure cases, and yield what was seen of each in their order."""
    began, done = time.perf_counter(), 0
    while done < len(entries):
        spent = time.perf_counter() - began
        is_worth_one = done and spent > TRIAL_SECONDS and spent / done * (len(entries) - done) > MIN_SECONDS_LEFT
        if (IDLE_WORKERS or is_worth_one) and count_processes(workers) > 1:
            break
        yield measure_entry(cohort, planned_cohort, entries[done])
        done += 1
    if done < len(entries):
        yield from measure_in_parallel(cohort, planned_cohort, entries[done:], count_processes(workers) - 1)


def count_processes(workers: int) -> int:
    """Give how many processes can work side by side."""
    return max(1, min(workers, count_cores()))


def measure_in_parallel(
    cohort: Cohort, planned_cohort: Cohort | None, entries: Sequence[Entry], n_helpers: int
) -> Iterator[CaseMeasurement]:
    """Measure cases here and in worker processes; a worker that dies is an issue of the case that it was reading."""
    left: deque[int] = deque(range(len(entries)))
    found: list[SimpleQueue[Any]] = [SimpleQueue() for _ in entries]
    running: set[Worker] = set()
    kept = current_set_cache()

    def measure_remaining() -> None:
        worker: Worker | None = None
        with suppress(IndexError):
            while True:
                number = left.popleft()
                try:
                    worker = worker or start_worker(cohort, planned_cohort, running)
                    known = list_known_headers(unshared_files(entries[number]), kept)
                    found[number].put(worker.request("case", entries[number], known))
                except (OSError, EOFError, pickle.UnpicklingError):
                    found[number].put(failed_measurement(entries[number], worker))
                    worker = None
                except BaseException as reason:
                    found[number].put(reason)
                    break

    pool = ThreadPoolExecutor(n_helpers)
    try:
        for _ in range(n_helpers):
            pool.submit(measure_remaining)
        given = 0
        while given < len(entries):
            if left and found[given].empty():
                with suppress(IndexError):  # the last may have been taken meanwhile
                    number = left.popleft()
                    found[number].put(measure_entry(cohort, planned_cohort, entries[number]))
                continue
            answer = found[given].get()
            if isinstance(answer, BaseException):
                raise answer
            given += 1
            yield answer
    finally:
        left.clear()
        for worker in list(running):
            worker.kill()
        pool.shutdown()
        for worker in running:
            worker.close()


def start_worker(cohort: Cohort, planned_cohort: Cohort | None, running: set[Worker]) -> Worker:
    """Start or reuse a worker and send it the cohort."""
    worker = get_worker()
    running.add(worker)
    worker.post("set", *(c and Cohort(**{**vars(c), "entries": ()}) for c in (cohort, planned_cohort)))
    return worker


def failed_measurement(entry: Entry, worker: Worker | None) -> CaseMeasurement:
    """Give the measurement of a case whose reading ended the worker."""
    why = f" ({worker.exit_reason()})" if worker is not None else ""
    sentence = f"Reading {entry.id!r} ended the process that read it{why}. Is there enough memory, and is it undamaged?"
    fault = Issue(entry.id, "unreadable", sentence, "error")
    return CaseMeasurement(CaseFacts(entry.id, entry.patient or entry.id, entry.split, faults=(fault,)), "", {})


def serve_requests(requests: IO[bytes], answers: IO[bytes]) -> None:
    """Answer requests for headers and measurements until the input ends."""
    cohort, planned = None, None
    while True:
        try:
            what, *given = receive_pickled(requests)
        except EOFError:
            return
        try:
            if what == "set":
                cohort, planned = given
                continue
            answer: Any = read_headers(*given) if what == "heads" else measure_with_headers(cohort, planned, *given)
        except Exception as reason:
            answer = reason
        send_pickled(answers, answer)


def measure_with_headers(
    cohort: Cohort | None, planned_cohort: Cohort | None, entry: Entry, headers: HeaderRecords
) -> CaseMeasurement:
    """Measure a case with headers that are known already."""
    assert cohort is not None
    with cache_set_files():
        remember_headers(headers)
        return measure_entry(cohort, planned_cohort, entry)

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
from ..data.file_cache import collecting, collector
from ..data.formats import holding
from ..machine.cores import count
from .case import Facts, Issue, measure
from .case_sample import Sample, sample_of
from .dicom_headers import Said, known_of, learned, said_of
from .file_hashes import hash_of, own_files
from .record import Stamps, settled, stamps_of
from .workers import IDLE, Worker, idle_or_new, receive, send

TRIED_S = 0.5
WORTH_S = 2.0
"""So many seconds of work left, by the first cases, are worth a process that has not been started yet."""


@dataclass(frozen=True)
class Measured:
    """What was seen of one case; ``sample`` is what a plan must know, if that was asked for."""

    facts: Facts
    hash: str
    stamps: Stamps
    sample: Sample | None = None


def measured(cohort: Cohort, planned: Cohort | None, entry: Entry) -> Measured:
    """Read each file of a case once, and give all that is asked of it.

    ``planned`` is the set as it will be learned from, where a plan is to be made.
    """
    with holding(own_files(entry)):
        stamps = settled(stamps_of(entry), time.time_ns())
        try:
            hashed = hash_of(entry)
        except OSError:
            hashed = ""
        facts = measure(cohort, entry)
        return Measured(facts, hashed, stamps, sample_of(planned, entry) if planned is not None else None)


def measure_all(
    cohort: Cohort, entries: Sequence[Entry], *, planned: Cohort | None = None, workers: int = 2
) -> Iterator[Measured]:
    """Measure cases, and yield what was seen of each in their order."""
    began, done = time.perf_counter(), 0
    while done < len(entries):
        spent = time.perf_counter() - began
        is_worth_one = done and spent > TRIED_S and spent / done * (len(entries) - done) > WORTH_S
        if (IDLE or is_worth_one) and processes(workers) > 1:
            break
        yield measured(cohort, planned, entries[done])
        done += 1
    if done < len(entries):
        yield from side_by_side(cohort, planned, entries[done:], processes(workers) - 1)


def processes(workers: int) -> int:
    """Give how many processes can work side by side."""
    return max(1, min(workers, count()))


def side_by_side(cohort: Cohort, planned: Cohort | None, entries: Sequence[Entry], helpers: int) -> Iterator[Measured]:
    """Measure cases here and in worker processes; a worker that dies is an issue of the case that it was reading."""
    left: deque[int] = deque(range(len(entries)))
    found: list[SimpleQueue[Any]] = [SimpleQueue() for _ in entries]
    running: set[Worker] = set()
    kept = collector()

    def help_along() -> None:
        worker: Worker | None = None
        with suppress(IndexError):
            while True:
                number = left.popleft()
                try:
                    worker = worker or introduced(cohort, planned, running)
                    known = known_of(own_files(entries[number]), kept)
                    found[number].put(worker.ask("case", entries[number], known))
                except (OSError, EOFError, pickle.UnpicklingError):
                    found[number].put(lost(entries[number], worker))
                    worker = None
                except BaseException as reason:
                    found[number].put(reason)
                    break

    pool = ThreadPoolExecutor(helpers)
    try:
        for _ in range(helpers):
            pool.submit(help_along)
        given = 0
        while given < len(entries):
            if left and found[given].empty():
                with suppress(IndexError):  # the last may have been taken meanwhile
                    number = left.popleft()
                    found[number].put(measured(cohort, planned, entries[number]))
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


def introduced(cohort: Cohort, planned: Cohort | None, running: set[Worker]) -> Worker:
    """Start or reuse a worker and send it the cohort."""
    worker = idle_or_new()
    running.add(worker)
    worker.tell("set", *(c and Cohort(**{**vars(c), "entries": ()}) for c in (cohort, planned)))
    return worker


def lost(entry: Entry, worker: Worker | None) -> Measured:
    """Give the measurement of a case whose reading ended the worker."""
    why = f" ({worker.ended()})" if worker is not None else ""
    sentence = f"Reading {entry.id!r} ended the process that read it{why}. Is there enough memory, and is it undamaged?"
    fault = Issue(entry.id, "unreadable", sentence, "error")
    return Measured(Facts(entry.id, entry.patient or entry.id, entry.split, faults=(fault,)), "", {})


def serve(questions: IO[bytes], answers: IO[bytes]) -> None:
    """Answer requests for headers and measurements until the input ends."""
    cohort, planned = None, None
    while True:
        try:
            what, *given = receive(questions)
        except EOFError:
            return
        try:
            if what == "set":
                cohort, planned = given
                continue
            answer: Any = said_of(*given) if what == "heads" else measured_of(cohort, planned, *given)
        except Exception as reason:
            answer = reason
        send(answers, answer)


def measured_of(cohort: Cohort | None, planned: Cohort | None, entry: Entry, known: Said) -> Measured:
    """Measure a case with headers that are known already."""
    assert cohort is not None
    with collecting():
        learned(known)
        return measured(cohort, planned, entry)

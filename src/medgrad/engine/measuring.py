"""The cases of a set measured one by one, and side by side in processes where that saves time."""

from __future__ import annotations

import os
import pickle
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import IO, Any

from ..data import Cohort, Entry
from ..data.formats import holding
from ..runtime.cores import count
from .fingerprint import Facts, Fault, measure
from .hashing import hash_of, own_files
from .sampling import Sample, sample_of
from .survey import Stamps, settled, stamps_of

TRIED_S = 0.5
WORTH_S = 2.0
"""So many seconds of work left, by the first cases, are worth processes, which take a second to start."""
LENGTH = struct.Struct("<Q")


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
    stamps = settled(stamps_of(entry), time.time_ns())
    with holding(own_files(entry)):
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
        if done and spent > TRIED_S and spent / done * (len(entries) - done) > WORTH_S and processes(workers) > 1:
            break
        yield measured(cohort, planned, entries[done])
        done += 1
    if done < len(entries):
        yield from side_by_side(cohort, planned, entries[done:], processes(workers))


def processes(workers: int) -> int:
    """Give how many processes can work side by side."""
    return max(1, min(workers, count()))


def side_by_side(cohort: Cohort, planned: Cohort | None, entries: Sequence[Entry], workers: int) -> Iterator[Measured]:
    """Measure cases in processes that know no torch; one that dies is a fault of the case that it was at."""
    waiting: SimpleQueue[int] = SimpleQueue()
    for number in range(len(entries)):
        waiting.put(number)
    found: list[SimpleQueue[Any]] = [SimpleQueue() for _ in entries]
    running: set[Worker] = set()

    def work() -> None:
        worker: Worker | None = None
        while True:
            try:
                number = waiting.get_nowait()
            except Empty:
                break
            try:
                if worker is None:
                    worker = Worker(cohort, planned)
                    running.add(worker)
                found[number].put(worker.ask(entries[number]))
            except (OSError, EOFError, pickle.UnpicklingError):
                found[number].put(lost(entries[number], worker))
                worker = None
            except BaseException as reason:
                found[number].put(reason)
                break
        if worker is not None:
            worker.close()

    pool = ThreadPoolExecutor(workers)
    try:
        for _ in range(workers):
            pool.submit(work)
        for one in found:
            answer = one.get()
            if isinstance(answer, BaseException):
                raise answer
            yield answer
    finally:
        with suppress(Empty):
            while True:
                waiting.get_nowait()
        for worker in list(running):
            worker.kill()
        pool.shutdown()
        for worker in running:
            worker.close()


def lost(entry: Entry, worker: Worker | None) -> Measured:
    """Give what is known of a case whose reading ended the process that read it."""
    why = f" ({worker.ended()})" if worker is not None else ""
    sentence = f"Reading {entry.id!r} ended the process that read it{why}. Is there enough memory, and is it undamaged?"
    fault = Fault(entry.id, "unreadable", sentence, "error")
    return Measured(Facts(entry.id, entry.patient or entry.id, entry.split, faults=(fault,)), "", {})


class Worker:
    """A process that measures one case after another."""

    def __init__(self, cohort: Cohort, planned: Cohort | None) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", f"{__package__}._measuring_main"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p), "OMP_NUM_THREADS": "1"},
        )
        bare = [c and Cohort(**{**vars(c), "entries": ()}) for c in (cohort, planned)]
        self.send(bare)

    def send(self, thing: Any) -> None:
        """Send something."""
        assert self.process.stdin is not None
        send(self.process.stdin, thing)

    def ask(self, entry: Entry) -> Measured:
        """Have a case measured."""
        assert self.process.stdout is not None
        self.send(entry)
        answer = receive(self.process.stdout)
        if isinstance(answer, BaseException):
            raise answer
        assert isinstance(answer, Measured)
        return answer

    def ended(self) -> str:
        """Say how the process ended."""
        self.kill()
        code = self.process.wait()
        self.close()
        return f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"

    def kill(self) -> None:
        """End the process at once."""
        if self.process.poll() is None:
            self.process.kill()

    def close(self) -> None:
        """Let the process end, and wait until it has."""
        for pipe in (self.process.stdin, self.process.stdout):
            assert pipe is not None
            with suppress(OSError):  # what was not sent is lost with a process that has died
                pipe.close()
        self.process.wait()


def send(to: IO[bytes], thing: Any) -> None:
    """Send something to another process of ours."""
    raw = pickle.dumps(thing, pickle.HIGHEST_PROTOCOL)
    to.write(LENGTH.pack(len(raw)) + raw)
    to.flush()


def receive(file: IO[bytes]) -> Any:
    """Receive what another process of ours has sent."""
    head = file.read(LENGTH.size)
    if len(head) < LENGTH.size:
        raise EOFError
    raw = file.read(LENGTH.unpack(head)[0])
    if len(raw) < LENGTH.unpack(head)[0]:
        raise EOFError
    return pickle.loads(raw)  # from a process that this one has started


def serve(questions: IO[bytes], answers: IO[bytes]) -> None:
    """Measure one case after another, until there are no more questions."""
    cohort, planned = receive(questions)
    while True:
        try:
            entry = receive(questions)
        except EOFError:
            return
        try:
            answer: Any = measured(cohort, planned, entry)
        except Exception as reason:
            answer = reason
        send(answers, answer)

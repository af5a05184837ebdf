"""Worker processes that read the cases of a data set."""

from __future__ import annotations

import os
import pickle
import signal
import struct
import subprocess
import sys
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from ..machine.cores import count_cores

MIN_FILES = 1_000
"""So many files are worth a process from the start: it takes a second of the processor to start."""
LENGTH_PREFIX = struct.Struct("<Q")


class Worker:
    """A worker process that answers requests one after another."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", f"{__package__}._measure_main"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p), "OMP_NUM_THREADS": "1"},
        )

    def post(self, *message: Any) -> None:
        """Send something that is not answered."""
        assert self.process.stdin is not None
        send_pickled(self.process.stdin, message)

    def request(self, *question: Any) -> Any:
        """Ask something and wait for the answer; raise what the process raises."""
        assert self.process.stdout is not None
        self.post(*question)
        answer = receive_pickled(self.process.stdout)
        if isinstance(answer, BaseException):
            raise answer
        return answer

    def exit_reason(self) -> str:
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


IDLE_WORKERS: deque[Worker] = deque()
"""Processes that have been started and wait for questions."""


def start_worker_early(folder: Path) -> None:
    """Start a worker early if there is a core for it and a folder holds many files."""
    if not IDLE_WORKERS and count_cores() > 1 and has_many_files(folder):
        IDLE_WORKERS.append(Worker())


def has_many_files(folder: Path) -> bool:
    """Tell whether a folder and those below it hold so many files that they are worth a process."""
    left = MIN_FILES
    for _, _, files in os.walk(folder):
        left -= len(files)
        if left <= 0:
            return True
    return False


@contextmanager
def stopping_idle_workers() -> Iterator[None]:
    """Stop the idle workers after the block."""
    try:
        yield
    finally:
        while IDLE_WORKERS:
            worker = IDLE_WORKERS.pop()
            worker.kill()
            worker.close()


def get_worker() -> Worker:
    """Give an idle worker, or start one."""
    return IDLE_WORKERS.pop() if IDLE_WORKERS else Worker()


def send_pickled(stream: IO[bytes], message: Any) -> None:
    """Send something to another process of ours."""
    raw = pickle.dumps(message, pickle.HIGHEST_PROTOCOL)
    stream.write(LENGTH_PREFIX.pack(len(raw)) + raw)
    stream.flush()


def receive_pickled(stream: IO[bytes]) -> Any:
    """Receive what another process of ours has sent."""
    head = stream.read(LENGTH_PREFIX.size)
    if len(head) < LENGTH_PREFIX.size:
        raise EOFError
    raw = stream.read(LENGTH_PREFIX.unpack(head)[0])
    if len(raw) < LENGTH_PREFIX.unpack(head)[0]:
        raise EOFError
    return pickle.loads(raw)  # from a process that this one has started

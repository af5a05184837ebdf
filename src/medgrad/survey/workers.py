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

from ..machine.cores import count

WORTH_FILES = 1_000
"""So many files are worth a process from the start: it takes a second of the processor to start."""
LENGTH = struct.Struct("<Q")


class Worker:
    """A worker process that answers requests one after another."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", f"{__package__}._measure_main"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p), "OMP_NUM_THREADS": "1"},
        )

    def tell(self, *thing: Any) -> None:
        """Send something that is not answered."""
        assert self.process.stdin is not None
        send(self.process.stdin, thing)

    def ask(self, *question: Any) -> Any:
        """Ask something and wait for the answer; raise what the process raises."""
        assert self.process.stdout is not None
        self.tell(*question)
        answer = receive(self.process.stdout)
        if isinstance(answer, BaseException):
            raise answer
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


IDLE: deque[Worker] = deque()
"""Processes that have been started and wait for questions."""


def start_early(folder: Path) -> None:
    """Start a worker early if there is a core for it and a folder holds many files."""
    if not IDLE and count() > 1 and holds_many(folder):
        IDLE.append(Worker())


def holds_many(folder: Path) -> bool:
    """Tell whether a folder and those below it hold so many files that they are worth a process."""
    left = WORTH_FILES
    for _, _, files in os.walk(folder):
        left -= len(files)
        if left <= 0:
            return True
    return False


@contextmanager
def ended_after() -> Iterator[None]:
    """Stop the idle workers after the block."""
    try:
        yield
    finally:
        while IDLE:
            worker = IDLE.pop()
            worker.kill()
            worker.close()


def idle_or_new() -> Worker:
    """Give an idle worker, or start one."""
    return IDLE.pop() if IDLE else Worker()


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

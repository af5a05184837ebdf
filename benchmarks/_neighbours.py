"""Other processes that keep cores busy, as other users of a machine do."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

BUSY = "while True: sum(range(10000))"


def begin(core: int) -> subprocess.Popen[bytes]:
    """Start a process that keeps one core busy."""
    return subprocess.Popen([sys.executable, "-c", BUSY], preexec_fn=lambda: os.sched_setaffinity(0, {core}))


@contextmanager
def busy(cores: Sequence[int], *, after: float = 0.0, until: float = 0.0) -> Iterator[None]:
    """Keep cores busy meanwhile, or only ``after`` so many seconds and ``until`` so many have passed."""
    over, running = threading.Event(), list[subprocess.Popen[bytes]]()

    def come_and_go() -> None:
        if over.wait(after):
            return
        running.extend(begin(core) for core in cores)
        if over.wait(until - after if until else None):
            return
        end(running)

    thread = threading.Thread(target=come_and_go)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        end(running)


def end(running: list[subprocess.Popen[bytes]]) -> None:
    """End the processes that keep cores busy."""
    while running:
        one = running.pop()
        one.kill()
        one.wait()


def timed(*words: Any, cores: set[int] | None = None) -> tuple[float, str]:
    """Run a command of medgrad, on all cores or on some; give its seconds by the clock and what it printed."""
    began = time.perf_counter()
    pin = (lambda: os.sched_setaffinity(0, cores)) if cores else None
    ended = subprocess.run(
        [sys.executable, "-m", "medgrad", *map(str, words)], capture_output=True, text=True, check=False, preexec_fn=pin
    )
    if ended.returncode:
        raise RuntimeError(f"{words[0]} ended with {ended.returncode}: {ended.stderr.strip().splitlines()[-1]}")
    return time.perf_counter() - began, ended.stdout

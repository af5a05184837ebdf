"""CPU cores that this process may use, and how many of them other processes leave free."""

from __future__ import annotations

import math
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

STAT = Path("/proc/stat")
QUOTA = Path("/sys/fs/cgroup/cpu.max")
SLACK = 0.3
"""A core counts as free where others take less than this share of it."""
SHORTEST = 0.5
"""The kernel counts in hundredths of a second, so that shorter spans say nothing."""

Sample = tuple[float, float, float]
"""Wall seconds, idle seconds of the allowed cores, and this process's own seconds of computing, since the start."""


def sleep_while_waiting() -> None:
    """Make waiting OpenMP threads sleep instead of spin; call it before torch is imported.

    Spinning threads occupy the very cores for which the others wait as soon as another process runs. A value
    set by the user stays.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def multiply_on_one_thread() -> None:
    """Let numpy multiply matrices on one thread, where it is not imported yet.

    For commands with small matrices and a process per core: the threads of OpenBLAS spin until the next
    product. A value set by the user stays.
    """
    if "numpy" not in sys.modules:
        os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


def allowed() -> set[int] | None:
    """Return the cores that this process may run on; None where the system does not say."""
    return os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else None


def count() -> int:
    """Count the cores that this process may use, by its affinity and by the quota of its container."""
    cores = allowed()
    most = len(cores) if cores else os.cpu_count() or 1
    try:
        quota, period = QUOTA.read_text(encoding="ascii").split()
        return max(1, min(most, math.ceil(int(quota) / int(period))))
    except (OSError, ValueError):  # no quota: it says "max", or there is no such file
        return most


def sample() -> Sample | None:
    """Read the idle time of the allowed cores; None where the system does not say."""
    cores = allowed()
    try:
        lines = STAT.read_text(encoding="ascii").splitlines()
        rows = {int(name[3:]): row for name, *row in map(str.split, lines) if name.startswith("cpu") and name[3:]}
        ticks = sum(int(row[3]) + int(row[4]) for core, row in rows.items() if cores is None or core in cores)
        return time.perf_counter(), ticks / os.sysconf("SC_CLK_TCK"), time.process_time()
    except (OSError, ValueError, IndexError, AttributeError):
        return None


class FreeCores:
    """Measures how many cores other processes left free since the last call."""

    def __init__(self, read: Callable[[], Sample | None] = sample, since: Sample | None = None) -> None:
        self.read = read
        self.last = since or read()

    def __call__(self) -> float | None:
        """Return the idle cores plus those that this process used; None where it is not known yet."""
        now = self.read()
        if now is None or self.last is None or now[0] - self.last[0] < SHORTEST:
            return None
        wall, idle, own = (b - a for a, b in zip(self.last, now, strict=True))
        self.last = now
        return (idle + own) / wall


AT_START = sample()
"""What there was when the command began: by the time that it computes, it is known what others do."""


def fitting_threads(asked: int = 0, *, at_start: Sample | None = AT_START) -> int:
    """Choose the number of threads: the requested one; 0: one per core that other processes leave free."""
    if asked:
        return min(asked, count())
    free = FreeCores(since=at_start)() if at_start else None
    return count() if free is None else threads_for(free, count())


def threads_for(free: float, most: int) -> int:
    """Return the number of threads that run without waiting for other processes, between 1 and ``most``.

    >>> threads_for(1.9, 2), threads_for(1.2, 2), threads_for(0.5, 2)
    (2, 1, 1)
    """
    return max(1, min(most, math.floor(free + SLACK)))

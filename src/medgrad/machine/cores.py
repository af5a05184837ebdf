"""CPU cores that this process may use, and how many of them other processes leave free."""

from __future__ import annotations

import math
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

PROC_STAT = Path("/proc/stat")
CGROUP_QUOTA = Path("/sys/fs/cgroup/cpu.max")
MAX_BUSY_SHARE = 0.3
"""A core counts as free where others take less than this share of it."""
MIN_SECONDS = 0.5
"""The kernel counts in hundredths of a second, so that shorter spans say nothing."""

CpuTimes = tuple[float, float, float]
"""Wall seconds, idle seconds of the allowed cores, and this process's own seconds of computing, since the start."""


def set_passive_omp_wait() -> None:
    """Make waiting OpenMP threads sleep instead of spin; call it before torch is imported.

    Spinning threads occupy the very cores for which the others wait as soon as another process runs. A value
    set by the user stays.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def use_one_blas_thread() -> None:
    """Let numpy multiply matrices on one thread, where it is not imported yet.

    For commands with small matrices and a process per core: the threads of OpenBLAS spin until the next
    product. A value set by the user stays.
    """
    if "numpy" not in sys.modules:
        os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


def allowed_cores() -> set[int] | None:
    """Return the cores that this process may run on; None where the system does not say."""
    return os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else None


def count_cores() -> int:
    """Count the cores that this process may use, by its affinity and by the quota of its container."""
    cores = allowed_cores()
    most = len(cores) if cores else os.cpu_count() or 1
    try:
        quota, period = CGROUP_QUOTA.read_text(encoding="ascii").split()
        return max(1, min(most, math.ceil(int(quota) / int(period))))
    except (OSError, ValueError):  # no quota: it says "max", or there is no such file
        return most


def read_cpu_times() -> CpuTimes | None:
    """Read the idle time of the allowed cores; None where the system does not say."""
    cores = allowed_cores()
    try:
        lines = PROC_STAT.read_text(encoding="ascii").splitlines()
        rows = {int(name[3:]): row for name, *row in map(str.split, lines) if name.startswith("cpu") and name[3:]}
        ticks = sum(int(row[3]) + int(row[4]) for core, row in rows.items() if cores is None or core in cores)
        return time.perf_counter(), ticks / os.sysconf("SC_CLK_TCK"), time.process_time()
    except (OSError, ValueError, IndexError, AttributeError):
        return None


class FreeCores:
    """Measures how many cores other processes left free since the last call."""

    def __init__(
        self, read_times: Callable[[], CpuTimes | None] = read_cpu_times, first_times: CpuTimes | None = None
    ) -> None:
        self.read_times = read_times
        self.last_times = first_times or read_times()

    def __call__(self) -> float | None:
        """Return the idle cores plus those that this process used; None where it is not known yet."""
        now = self.read_times()
        if now is None or self.last_times is None or now[0] - self.last_times[0] < MIN_SECONDS:
            return None
        wall, idle, own = (b - a for a, b in zip(self.last_times, now, strict=True))
        self.last_times = now
        return (idle + own) / wall


CPU_TIMES_AT_START = read_cpu_times()
"""What there was when the command began: by the time that it computes, it is known what others do."""


def choose_threads(requested: int = 0, *, at_start: CpuTimes | None = CPU_TIMES_AT_START) -> int:
    """Choose the number of threads: the requested one; 0: one per core that other processes leave free."""
    if requested:
        return min(requested, count_cores())
    free = FreeCores(first_times=at_start)() if at_start else None
    return count_cores() if free is None else threads_for_free_cores(free, count_cores())


def threads_for_free_cores(free_cores: float, max_threads: int) -> int:
    """Return the number of threads that run without waiting for other processes, between 1 and ``max_threads``.

    >>> threads_for_free_cores(1.9, 2), threads_for_free_cores(1.2, 2), threads_for_free_cores(0.5, 2)
    (2, 1, 1)
    """
    return max(1, min(max_threads, math.floor(free_cores + MAX_BUSY_SHARE)))

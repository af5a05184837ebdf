"""Independent pieces of work on several threads: for numpy, scipy and zlib, which release Python's lock."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")


def run_together(tasks: Sequence[Callable[[], T]], *, n_threads: int) -> list[T]:
    """Do independent tasks on at most so many threads, and give their results in order.

    >>> run_together([lambda: 1, lambda: 2], n_threads=2)
    [1, 2]
    """
    if n_threads < 2 or len(tasks) < 2:
        return [task() for task in tasks]
    with ThreadPoolExecutor(n_threads) as pool:
        return [future.result() for future in [pool.submit(task) for task in tasks]]

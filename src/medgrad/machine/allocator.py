"""glibc's allocator: keep freed memory for speed, or return it where memory is limited."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache

KEPT_BYTES = 1 << 30
"""Of what was freed, so many bytes stay with the process, in one piece or at the end."""
LARGE_ARRAY_BYTES = 64 << 20
"""An array of so many bytes goes back at once where memory is short. Smaller ones, which a network makes at every
layer, stay: if what is free at the end went back as well, an answer would take a seventh longer."""
TRIM, THRESHOLD = -1, -3
"""What ``mallopt`` calls the end and the piece."""


@lru_cache
def keep_freed_memory() -> bool:
    """Let glibc keep freed tensors instead of returning each to the kernel; a third off a training step.

    Called by the command line, and wherever a network is moved to a CPU. Without glibc it does nothing.
    """
    return set_heap_thresholds(KEPT_BYTES)


@contextmanager
def return_large_arrays() -> Iterator[None]:
    """Within the context, return large arrays to the kernel as soon as they are freed.

    Kept memory becomes fragmented: the next array may not fit into the gaps, so the process grows from array to
    array without a bound.
    """
    set_heap_thresholds(LARGE_ARRAY_BYTES)
    try:
        yield
    finally:
        if keep_freed_memory.cache_info().currsize:
            set_heap_thresholds(KEPT_BYTES)


def trim_heap() -> None:
    """Return all freed memory to the kernel."""
    call_glibc("malloc_trim", 0)


def set_heap_thresholds(mmap_threshold: int) -> bool:
    """Set glibc's thresholds: pieces below so many bytes, and free memory at the end of the heap, are kept."""
    return call_glibc("mallopt", TRIM, KEPT_BYTES) and call_glibc("mallopt", THRESHOLD, mmap_threshold)


def call_glibc(name: str, *arguments: int) -> bool:
    """Call a function of glibc; without glibc, do nothing."""
    if sys.platform != "linux":
        return False
    try:
        return bool(getattr(ctypes.CDLL("libc.so.6"), name)(*arguments))
    except (OSError, AttributeError):
        return False

"""Memory that stays with the process between one large array and the next, or goes back where there is little."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache

KEPT = 1 << 30
"""Of what was freed, so many bytes stay with the process, in one piece or at the end."""
LARGE = 64 << 20
"""An array of so many bytes goes back at once where memory is short. Smaller ones, which a network makes at every
layer, stay: if what is free at the end went back as well, an answer would take a seventh longer."""
TRIM, THRESHOLD = -1, -3
"""What ``mallopt`` calls the end and the piece."""


@lru_cache
def keep_memory() -> bool:
    """Let glibc keep freed tensors instead of giving each back to the kernel; a third off a training step.

    Called by the command line, and wherever a network is given a place on a processor. It changes nothing where there
    is no glibc.
    """
    return keep(KEPT)


@contextmanager
def return_memory() -> Iterator[None]:
    """For a while, give back what is large as soon as it is freed.

    Kept, it leaves gaps that the next array may not fit into, as what is small has settled there: then what the process
    holds grows from array to array, and nobody can say how far.
    """
    keep(LARGE)
    try:
        yield
    finally:
        if keep_memory.cache_info().currsize:
            keep(KEPT)


def give_back() -> None:
    """Give back all that was freed."""
    ask_glibc("malloc_trim", 0)


def keep(piece: int) -> bool:
    """Let glibc keep freed pieces below so many bytes, and what is free at the end of what it holds."""
    return ask_glibc("mallopt", TRIM, KEPT) and ask_glibc("mallopt", THRESHOLD, piece)


def ask_glibc(name: str, *words: int) -> bool:
    """Call a function of glibc; where there is none, nothing is done."""
    if sys.platform != "linux":
        return False
    try:
        return bool(getattr(ctypes.CDLL("libc.so.6"), name)(*words))
    except (OSError, AttributeError):
        return False

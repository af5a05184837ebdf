"""Memory that stays with the process between one large array and the next."""

from __future__ import annotations

import ctypes
import sys
from functools import lru_cache
from typing import Any


@lru_cache
def keep_memory() -> bool:
    """Let glibc keep freed tensors instead of giving each back to the kernel; a third off a training step.

    Called by the command line, and wherever a network is given a place on a processor. It changes nothing where there
    is no glibc.
    """
    if sys.platform != "linux":
        return False
    try:
        mallopt: Any = ctypes.CDLL("libc.so.6").mallopt
    except (OSError, AttributeError):
        return False
    trim, threshold, largest = -1, -3, 1 << 30
    return bool(mallopt(trim, largest)) and bool(mallopt(threshold, largest))

"""Measure the memory of this process, and parse memory limits."""

from __future__ import annotations

import re
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ...data import Case
from ...errors import SettingError
from ...machine.allocator import trim_heap
from ...prepare import Memo, Step

UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
PROC_STATUS = Path("/proc/self/status")
PROC_CLEAR_REFS = Path("/proc/self/clear_refs")


def parse_bytes(text: str) -> int:
    """Parse an amount of memory: bytes, or K, M, G, T, each 1,024 times the one before.

    >>> parse_bytes("4G"), parse_bytes("1.5 gb"), parse_bytes("700M")
    (4294967296, 1610612736, 734003200)
    """
    found = re.fullmatch(r"\s*(\d+(?:\.\d*)?|\.\d+)\s*([KMGT]?)(?:i?B)?\s*", str(text), re.IGNORECASE)
    amount = int(float(found[1]) * UNITS[found[2].upper()]) if found else 0
    if amount < 1:
        raise SettingError(f"--ram is an amount of memory such as 4G or 1500M, not {text!r}.")
    return amount


def read_process_status(field_name: str) -> int:
    """Read a memory figure of this process in bytes: VmRSS (resident), VmHWM (peak resident); 0 if unknown."""
    try:
        lines = PROC_STATUS.read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return 0
    found = next((line.split() for line in lines if line.startswith(f"{field_name}:")), None)
    return int(found[1]) * 1024 if found else 0


def resident_bytes() -> int:
    """Return freed memory to the system, then return the resident memory of this process in bytes."""
    trim_heap()
    return read_process_status("VmRSS") or peak_resident_bytes()


def peak_resident_bytes() -> int:
    """Return the peak resident memory of this process in bytes, by ``getrusage``."""
    try:
        import resource
    except ImportError:  # not on Windows
        return 0
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024


def peak_memory(work: Callable[[], Any]) -> int:
    """Run a function, and return by how many bytes its peak memory exceeds that before.

    The kernel's peak counter is reset where possible; else a thread polls every millisecond.
    """
    before = resident_bytes()
    try:
        PROC_CLEAR_REFS.write_text("5", encoding="ascii")
    except OSError:
        return peak_by_polling(work) - before
    work()
    return max(0, read_process_status("VmHWM") - before)


def peak_by_polling(work: Callable[[], Any]) -> int:
    """Run a function, and return the peak memory that a polling thread saw, in bytes."""
    most, seen, over = peak_resident_bytes(), [read_process_status("VmRSS") or peak_resident_bytes()], threading.Event()

    def poll() -> None:
        while not over.is_set():
            seen.append(max(seen.pop(), read_process_status("VmRSS")))
            time.sleep(0.001)

    thread = threading.Thread(target=poll, daemon=True)
    thread.start()
    try:
        work()
    finally:
        over.set()
        thread.join()
    now = peak_resident_bytes()
    return now if now > most else max(seen[0], read_process_status("VmRSS"))


def prepare_freeing_memory(case_holder: list[Case], prepare_steps: Sequence[Step]) -> tuple[Case, list[Memo]]:
    """Prepare a case taken out of a list, and return unused memory to the system after every step."""
    memos = []
    for step in prepare_steps:
        case_holder[0], memo = step.apply(case_holder[0])
        memos.append(memo)
        resident_bytes()
    return case_holder.pop(), memos

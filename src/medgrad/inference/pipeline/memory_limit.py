"""How much memory the process holds, and may hold."""

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
from ...machine.allocator import give_back
from ...prepare import Memo, Step

UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
STATUS = Path("/proc/self/status")
PEAK = Path("/proc/self/clear_refs")


def parse(text: str) -> int:
    """Read an amount of memory: bytes, or K, M, G, T, each 1,024 times the one before.

    >>> parse("4G"), parse("1.5 gb"), parse("700M")
    (4294967296, 1610612736, 734003200)
    """
    found = re.fullmatch(r"\s*(\d+(?:\.\d*)?|\.\d+)\s*([KMGT]?)(?:i?B)?\s*", str(text), re.IGNORECASE)
    amount = int(float(found[1]) * UNITS[found[2].upper()]) if found else 0
    if amount < 1:
        raise SettingError(f"--ram is an amount of memory such as 4G or 1500M, not {text!r}.")
    return amount


def status(name: str) -> int:
    """Give a figure of this process in bytes: VmRSS (what it holds), VmHWM (the most so far); 0 if unknown."""
    try:
        lines = STATUS.read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return 0
    found = next((line.split() for line in lines if line.startswith(f"{name}:")), None)
    return int(found[1]) * 1024 if found else 0


def resident_bytes() -> int:
    """Give back what was freed, and tell how much memory the process holds."""
    give_back()
    return status("VmRSS") or most_so_far()


def most_so_far() -> int:
    """Tell the most that the process has held, where only that is known."""
    try:
        import resource
    except ImportError:  # not on Windows
        return 0
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024


def peak_memory(task: Callable[[], Any]) -> int:
    """Tell how much more memory than before the process holds at the peak of a task.

    The kernel's own mark of the peak is set back where it allows that; else a thread looks every millisecond.
    """
    before = resident_bytes()
    try:
        PEAK.write_text("5", encoding="ascii")
    except OSError:
        return peak_by_polling(task) - before
    task()
    return max(0, status("VmHWM") - before)


def peak_by_polling(task: Callable[[], Any]) -> int:
    """Do a task, and give the most memory that was seen to be held meanwhile."""
    most, seen, over = most_so_far(), [status("VmRSS") or most_so_far()], threading.Event()

    def watch() -> None:
        while not over.is_set():
            seen.append(max(seen.pop(), status("VmRSS")))
            time.sleep(0.001)

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        task()
    finally:
        over.set()
        thread.join()
    now = most_so_far()
    return now if now > most else max(seen[0], status("VmRSS"))


def prepare_lean(box: list[Case], steps: Sequence[Step]) -> tuple[Case, list[Memo]]:
    """Prepare a case that is taken out of a list, and give back at every step what is not needed any more."""
    memos = []
    for step in steps:
        box[0], memo = step.apply(box[0])
        memos.append(memo)
        resident_bytes()
    return box.pop(), memos

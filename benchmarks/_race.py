"""Two sides of a race, each in a process of its own, asked in turns, so that both meet the same weather."""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

PACKAGES = ("torch", "numpy", "scipy", "monai", "batchgeneratorsv2")


class Side:
    """One side: a process that does its task once for every line that it is sent."""

    def __init__(self, file: str, *words: str, python: str = sys.executable, threads: int = 1) -> None:
        self.errors = tempfile.TemporaryFile("w+")  # noqa: SIM115  (open as long as the process)
        counted = {f"{name}_NUM_THREADS": str(threads) for name in ("OMP", "MKL", "OPENBLAS")}
        self.process = subprocess.Popen(
            [python, file, "--side", *words],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.errors,
            text=True,
            env={**os.environ, **counted},
        )

    def ask(self) -> dict[str, Any]:
        """Have the task done once, and give its seconds, its processor's seconds, and its value."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        try:
            self.process.stdin.write("go\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            pass
        line = self.process.stdout.readline()
        if not line:
            self.errors.seek(0)
            raise RuntimeError(f"One side of the race has stopped:\n{self.errors.read()[-2000:]}")
        return dict(json.loads(line))

    def close(self) -> None:
        """Let the process end."""
        self.process.communicate()
        self.errors.close()


def serve(task: Callable[[], Any]) -> None:
    """Do the task once for every line that comes in, and write what it took."""
    for _ in sys.stdin:
        wall, cpu, value = timed(task)
        print(json.dumps({"wall": wall, "cpu": cpu, "value": value}), flush=True)


def timed(task: Callable[[], Any]) -> tuple[float, float, Any]:
    """Give the seconds by the clock, the processor's seconds (the kernel's with them), and the value."""
    wall, cpu = time.perf_counter(), time.process_time()
    value = task()
    return time.perf_counter() - wall, time.process_time() - cpu, value


def race(sides: Mapping[str, Side], rounds: int, *, warm: int = 1) -> dict[str, list[dict[str, Any]]]:
    """Ask every side in turns, so many rounds; the first ``warm`` of them do not count."""
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in sides}
    try:
        for _ in range(warm + rounds):
            for name, side in sides.items():
                found[name].append(side.ask())
    finally:
        for side in sides.values():
            side.close()
    return {name: rows[warm:] for name, rows in found.items()}


def compared(rows: Mapping[str, Sequence[Mapping[str, Any]]], threads: int) -> dict[str, float]:
    """Give the medians of ``ours`` and ``theirs`` and how many times faster ours is.

    On one thread the processor's seconds decide, which do not suffer when others use the machine; on several, the
    clock's, since threads that wait for each other burn the processor too.
    """
    middle = {s: {k: statistics.median(r[k] for r in rows[s]) for k in ("wall", "cpu")} for s in ("ours", "theirs")}
    ratios = {f"ratio_{k}": middle["theirs"][k] / middle["ours"][k] for k in ("wall", "cpu")}
    seconds = {f"{s}_{k}": middle[s][k] for s in middle for k in middle[s]}
    return seconds | ratios | {"ratio": ratios["ratio_cpu" if threads == 1 else "ratio_wall"]}


def peak_mb() -> float:
    """The most memory that this process has held so far, in MB."""
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most / 1e6 if sys.platform == "darwin" else most / 1e3


def machine() -> dict[str, Any]:
    """Say what the figures were measured on."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines() if cpuinfo.exists() else []
    name = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
    flags = set(next((line for line in lines if line.startswith("flags")), "").split())
    return {
        "processor": name or platform.processor(),
        "cores": os.cpu_count(),
        "flags": [f for f in ("avx2", "avx512f", "avx512_bf16", "amx_bf16") if f in flags],
        "system": platform.system(),
        "python": platform.python_version(),
        **{p: v for p in PACKAGES if (v := version_of(p))},
    }


def version_of(package: str) -> str:
    """Give the version of a package, empty where it is not installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def settings(about: str) -> argparse.Namespace:
    """Read what every benchmark can be told on the command line."""
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1, help="threads of each side (default 1)")
    parser.add_argument("--rounds", type=int, default=0, help="rounds that count (default: the benchmark's own)")
    parser.add_argument("--peers", default=os.environ.get("MEDGRAD_PEERS", ""), help="a Python that has the peers")
    parser.add_argument("--side", nargs="+", default=[], help=argparse.SUPPRESS)
    return parser.parse_args()


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Lay rows out in columns, numbers to the right."""
    names = list(dict.fromkeys(n for row in rows for n in row))
    cells = [names, *[[shown(row.get(n)) for n in names] for row in rows]]
    widths = [max(len(c[i]) for c in cells) for i in range(len(names))]
    lines = [
        "  ".join(c.ljust(w) if i == 0 else c.rjust(w) for i, (c, w) in enumerate(zip(row, widths, strict=True)))
        for row in cells
    ]
    return "\n".join(line.rstrip() for line in lines)


def shown(value: Any) -> str:
    """Write one cell."""
    if isinstance(value, float):
        return f"{value:.4g}" if abs(value) < 1000 else f"{value:.0f}"
    return "" if value is None else str(value)


def told(found: Mapping[str, Any]) -> int:
    """Print one table and what it says, and give the exit code."""
    if found.get("skipped"):
        print(found["skipped"])
        return 0
    print(table(found["rows"]))
    print(f"\n{found['claim']}: {'yes' if found['held'] else 'NO'}")
    return 0 if found["held"] else 1

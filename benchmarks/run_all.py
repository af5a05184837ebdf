"""Run every benchmark of this folder, each in a process of its own, and write what was found under docs/benchmarks.

``python benchmarks/run_all.py [NAME ...] [--peers PYTHON] [--threads N] [--rounds N]``. Exit 1 if a bound fails.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from inspect import signature
from pathlib import Path
from typing import Any

from _race import machine, shown, table

HERE = Path(__file__).parent
PAGES = HERE.parent / "docs" / "benchmarks"


def names() -> list[str]:
    """List the benchmarks: the files of this folder that do not begin with a line."""
    return sorted(p.stem for p in HERE.glob("*.py") if p.stem != "run_all" and not p.stem.startswith("_"))


def found_by(name: str, given: argparse.Namespace) -> dict[str, Any]:
    """Run one benchmark with what it takes of the settings, and give its finding with rows and a claim."""
    module = __import__(name)
    taken = signature(module.run).parameters
    found = module.run(**{k: v for k, v in vars(given).items() if k in taken})
    rows = found.get("rows", [])
    if isinstance(rows, dict):
        rows = [{"what": what, **row} for what, row in rows.items()]
    claim = found.get("claim", f"the bound of {found.get('bound')}")
    about = (module.__doc__ or "").strip()
    return {**found, "name": name, "about": about, "claim": claim, "rows": rows, "machine": machine()}


def page(found: dict[str, Any]) -> str:
    """Write what was found as a page, with the machine that it was found on."""
    columns = list(dict.fromkeys(c for row in found["rows"] for c in row))
    lines = [f"# {found['name'].replace('_', ' ').capitalize()}", "", found["about"], ""]
    lines += ["| " + " | ".join(c.strip() for c in columns) + " |", "| --- " + "| ---: " * (len(columns) - 1) + "|"]
    lines += ["| " + " | ".join(shown(row.get(c)) for c in columns) + " |" for row in found["rows"]]
    lines += ["", f"Held ({found['claim']}): **{'yes' if found['held'] else 'no'}**.", ""]
    facts = found["machine"]
    lines.append(
        "Measured on " + ", ".join(f"{k}: {' '.join(v) if isinstance(v, list) else v}" for k, v in facts.items())
    )
    lines[-1] += ". Ratios carry over to a machine of the same kind; seconds do not."
    lines += ["", f"Again: `python benchmarks/{found['name']}.py`.", ""]
    return "\n".join(lines)


def one(name: str, given: argparse.Namespace) -> int:
    """Run one benchmark here, write its page, and tell how it went: 0 held, 1 failed, 3 skipped."""
    found = found_by(name, given)
    if found.get("skipped"):
        print(found["skipped"])
        return 3
    print(table(found["rows"]))
    print(f"\n{found['claim']}: {'yes' if found['held'] else 'NO'}")
    PAGES.mkdir(parents=True, exist_ok=True)
    (PAGES / f"{name}.json").write_text(json.dumps(found, indent=1, default=str) + "\n", encoding="utf-8")
    (PAGES / f"{name}.md").write_text(page(found), encoding="utf-8")
    return 0 if found["held"] else 1


def main() -> int:
    """Run what is asked for, one after another, and sum up."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(names())} (default: all)")
    parser.add_argument("--peers", default=os.environ.get("MEDGRAD_PEERS", ""), help="a Python with batchgeneratorsv2")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=0)
    parser.add_argument("--fireants", default="", help="of registration: a Python with fireants")
    parser.add_argument("--kept", default="", help="of registration_kinds: a folder for what SyN has answered")
    parser.add_argument("--slices", default="", help="of whole_study: 300,1000")
    parser.add_argument("--sets", default="", help="of pruning: breast,...")
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if unknown := [n for n in given.names if n not in names()]:
        parser.error(f"there is no benchmark {unknown[0]!r}; known are {', '.join(names())}")
    if given.here:
        return one(given.names[0], given)
    numbers = ["--threads", str(given.threads), "--rounds", str(given.rounds)]
    passed = ("peers", "fireants", "kept", "slices", "sets")
    settings = [*numbers, *(word for name in passed for word in (f"--{name}", getattr(given, name)))]
    ended = {}
    for name in given.names or names():
        print(f"\n== {name}", flush=True)
        ended[name] = subprocess.run([sys.executable, __file__, name, "--here", *settings], check=False).returncode
    words = {0: "held", 3: "skipped"}
    print("\n" + "\n".join(f"{name:20}{words.get(code, 'FAILED')}" for name, code in ended.items()))
    return 0 if all(code in (0, 3) for code in ended.values()) else 1


if __name__ == "__main__":
    sys.exit(main())

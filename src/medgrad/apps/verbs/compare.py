"""``medgrad compare``: which of two runs is better, and is the other good enough."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from ._arguments import Seed
from ._checks import check_judged_folders, check_new_folder, check_number


def compare(
    first: Annotated[Path, typer.Argument(help="A run, or what evaluate wrote.")],
    second: Annotated[Path, typer.Argument(help="Another, judged on the same cases.")],
    *,
    margin: Annotated[float, typer.Option(help="How much worse is good enough; chosen before.")] = 0.01,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Where to write the table and its page.")] = None,
    seed: Seed = 0,
) -> dict[str, Any]:
    """Compare two runs by patient: differences with intervals, corrected for many, and whether one is good enough."""
    check_number("--margin", margin, minimum=0)
    check_number("--seed", seed, minimum=0)
    check_judged_folders(first, second)
    check_new_folder(out)

    from ...engine.evaluation.compare import compare_runs as pair
    from ...report import write_comparison

    found = pair(first, second, margin=margin, seed=seed)
    lines = [f"{'figure':24} {'first':>8} {'second':>8}   difference (95 %)            p (Holm)"]
    for row in found["table"]:
        if row["difference"] is None:
            continue
        between = "" if row["low"] is None else f"({row['low']:+.4f} to {row['high']:+.4f})"
        p = "" if row["p_holm"] is None else f"{row['p_holm']:.3f}"
        figures = f"{row['a']:8.4f} {row['b']:8.4f}   {row['difference']:+.4f} {between:24} {p:>6}"
        lines.append(f"{row['name']:24} {figures}  {row['verdict']}")
    found["text"] = "\n".join([*lines, found["noninferior"]["says"]])
    if out is not None:
        found["report"] = str(write_comparison(first, second, found, out))
    return found


THIS = compare

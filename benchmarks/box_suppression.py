"""Non-maximum suppression of 1,000 boxes in three axes, ours beside MONAI's.

Scores and boxes are drawn by chance around 150 objects, as a detector gives them, or scattered; both sides get the
same and keep those that overlap a better one by at most a fifth, as nodule detectors are set. Each side is a process of
its own.

Bound: at least 25 times as fast as MONAI, and the same list of what is kept.
"""

from __future__ import annotations

import sys
from typing import Any

from _race import Side, compared, race, serve, settings, told

BOUND, ROUNDS, BOXES, OVERLAP = 25.0, 9, 1000, 0.2
OBJECTS = {"around 150 objects": 150, "scattered": 1000}


def drawn(objects: int) -> tuple[Any, Any]:
    """Give boxes (1000, 6) and scores (1000,): each object is seen several times, a little off."""
    import torch

    chance = torch.Generator().manual_seed(0)
    centre = torch.rand(objects, 3, generator=chance) * 200
    side = 8 + 30 * torch.rand(objects, 3, generator=chance)
    which = torch.randint(objects, (BOXES,), generator=chance)
    centre = centre[which] + torch.randn(BOXES, 3, generator=chance) * side[which] / 6
    side = side[which] * (1 + torch.randn(BOXES, 3, generator=chance) / 8).clamp_min(0.3)
    return torch.cat([centre - side / 2, centre + side / 2], dim=1), torch.rand(BOXES, generator=chance)


def side(name: str, objects: str) -> None:
    """Do one side, and give the list of what is kept."""
    boxes, scores = drawn(int(objects))
    if name == "ours":
        from medgrad.models.boxes import nms

        serve(lambda: nms(boxes, scores, iou_threshold=OVERLAP).tolist())
    else:
        from monai.data.box_utils import non_max_suppression

        serve(lambda: non_max_suppression(boxes, scores, OVERLAP, max_proposals=-1).tolist())


def run(threads: int = 1, rounds: int = 0) -> dict[str, Any]:
    """Race both, and compare what they keep."""
    rows = [one(what, objects, threads, rounds or ROUNDS) for what, objects in OBJECTS.items()]
    claim = f"at least {BOUND:g} times as fast as MONAI, and the same boxes kept in the same order"
    return {"rows": rows, "claim": claim, "held": all(r["ratio"] >= BOUND and r["same list"] == "yes" for r in rows)}


def one(what: str, objects: int, threads: int, rounds: int) -> dict[str, Any]:
    """Race both on one set of boxes."""
    sides = {name: Side(__file__, name, str(objects), threads=threads) for name in ("ours", "theirs")}
    found = race(sides, rounds)
    ratio = compared(found, threads)
    kept = {name: rows[0]["value"] for name, rows in found.items()}
    return {
        "what": f"{BOXES} boxes in 3D, {what}",
        "ours ms": ratio["ours_cpu"] * 1e3,
        "MONAI ms": ratio["theirs_cpu"] * 1e3,
        "ratio": ratio["ratio"],
        "kept": len(kept["ours"]),
        "same list": "yes" if kept["ours"] == kept["theirs"] else "no",
    }


if __name__ == "__main__":
    given = settings(__doc__ or "")
    if given.side:
        side(*given.side)
    else:
        sys.exit(told(run(given.threads, given.rounds)))

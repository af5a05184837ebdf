"""What a neighbour on the machine costs commands, and what threads that sleep while they wait cost where there is none.

Each command runs undisturbed and beside a process that keeps one of the cores busy, in turns; seconds are those of the
clock. ``predict`` answers about 40 hippocampi, ``register`` bends one onto another, ``race`` lets two optimisers race
from one seed, ``prune`` halves the work of a network. The last row times training steps in processes of their own whose
OpenMP threads spin (torch's own setting) or sleep (ours), in turns.

Bounds, for two cores: at most 2.5 times the undisturbed time; threads that sleep at most 3 % slower.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from _neighbours import busy, timed
from _race import settings, told

DATA = Path(__file__).parents[2] / "shared" / "data"
SET = DATA / "seg3d_hippocampus"
BOUND, SLEEPING, ROUNDS, STEPS = 2.5, 1.03, 3, 12
TIMED = """
import sys, time, torch
from medgrad import registry
from medgrad.engine.compute.device import AutocastModule, choose, in_order
place = choose()
torch.manual_seed(0)
model = AutocastModule(place.model(registry.find("models", "unet")(1, 3, 3)), place)
optimiser = torch.optim.AdamW(model.parameters(), 1e-3, fused=True)
inputs, cost = in_order(torch.randn(2, 1, 40, 48, 40)), registry.find("losses", "dice_ce")()
labels = torch.randint(0, 3, (2, 40, 48, 40))
def step():
    optimiser.zero_grad()
    cost(model(inputs), labels).backward()
    optimiser.step()
for _ in range(3): step()
began = time.perf_counter()
for _ in range(int(sys.argv[1])): step()
print(time.perf_counter() - began)
"""


def commands(place: Path) -> dict[str, list[Any]]:
    """Name the commands, each with the folder that it writes last."""
    images = sorted((SET / "images").glob("*.nii.gz"))
    run = place / "run"
    return {
        "predict": ["predict", run, SET / "images", "-o"],
        "register": ["register", images[0], images[1], "-o"],
        "race": ["race", SET, "--optimisers", "sgd,adamw", "--minutes", 0.3, "--seeds", 1, "-o"],
        "prune": ["prune", run, "--target", "flops=0.5", "--minutes", 2, "--no-baselines", "--margin", 0.5, "-o"],
    }


def spinning_and_sleeping(rounds: int) -> dict[str, Any]:
    """Time training steps in processes whose threads spin or sleep while they wait, in turns."""
    taken: dict[str, list[float]] = {"ACTIVE": [], "PASSIVE": []}
    for _ in range(rounds):
        for policy, seconds in taken.items():
            variables = {k: v for k, v in os.environ.items() if k != "OMP_WAIT_POLICY"}
            variables |= {"OMP_WAIT_POLICY": policy} if policy == "PASSIVE" else {}
            command = [sys.executable, "-c", TIMED, str(STEPS)]
            seconds.append(float(subprocess.check_output(command, env=variables, text=True).split()[-1]))
    quiet, disturbed = (statistics.median(s) for s in taken.values())
    return {"what": "training steps, sleeping for spinning", "quiet s": quiet, "disturbed s": disturbed,
            "ratio": disturbed / quiet}  # fmt: skip


def run(rounds: int = 0) -> dict[str, Any]:
    """Time each command in both ways, and give a row for each."""
    if not SET.exists():
        return {"skipped": f"There is no {SET.name!r} beside this folder, so there is nothing to learn from."}
    rows, last = [], sorted(os.sched_getaffinity(0))[-1:]
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        timed("fit", SET, "-o", place / "run", "--steps", 60)
        for name, words in commands(place).items():
            taken: dict[str, list[float]] = {"quiet": [], "beside": []}
            for number in range(rounds or (ROUNDS if name in ("predict", "register") else 1)):
                taken["quiet"].append(timed(*words, place / f"{name}-quiet-{number}")[0])
                with busy(last):
                    taken["beside"].append(timed(*words, place / f"{name}-beside-{number}")[0])
            quiet, beside = (statistics.median(s) for s in taken.values())
            rows.append({"what": name, "quiet s": quiet, "disturbed s": beside, "ratio": beside / quiet})
            print(rows[-1], file=sys.stderr, flush=True)
    rows.append(spinning_and_sleeping(rounds or 2 * ROUNDS))
    held = all(r["ratio"] <= BOUND for r in rows[:-1]) and rows[-1]["ratio"] <= SLEEPING
    claim = f"at most {BOUND} times the quiet time, sleeping at most {SLEEPING - 1:.0%} slower"
    return {"rows": rows, "claim": claim, "bound": BOUND, "held": held}


if __name__ == "__main__":
    given = settings(__doc__ or "")
    sys.exit(told(run(given.rounds)))

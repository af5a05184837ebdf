"""How long until a Dice of 0.87 on the hippocampus set: the optimiser that is planned, against AdamW with a cosine.

Both sides train the planned network on the same cases in the same order from the same seed, over the same number of
steps, so that both rates fall at the same time; AdamW at 1e-3 with a warm-up and a cosine, as it is often used. Every
40 steps the mean weights are judged on 20 validation cases; what counts are the processor's seconds of learning up to
the first judgement of 0.87 or more (one that never gets there counts with all its seconds). Seeds are pairs: both sides
of one learn at the same time, each on one thread, so that they meet the same weather.

Bound: the geometric mean of the ratios over the seeds at least 1.5.
"""

from __future__ import annotations

import math
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from _race import Side, serve, settings, told

DATA = Path(__file__).parents[2] / "shared" / "data" / "seg3d_hippocampus"
BOUND, TARGET, STEPS, EVERY, JUDGED, SEEDS = 1.5, 0.87, 800, 40, 20, 5
PEER = {"optimiser": {"name": "adamw", "rate": 1e-3, "decay": 1e-2}, "schedule": {"name": "cosine", "warmup": 0.1}}


def learning(side: str, folder: str, threads: int) -> Callable[[], list[tuple[int, float, float]]]:
    """Give what trains from the next seed and gives (step, processor's seconds of learning, Dice) of each judgement."""
    from medgrad.data.cohorts.layouts import recognise
    from medgrad.data.cohorts.split import split
    from medgrad.engine.compute.device import choose_device, keep_freed_memory
    from medgrad.engine.loading.cache import load_split
    from medgrad.engine.progress import SilentProgress
    from medgrad.engine.runs.recipe import merge_changes
    from medgrad.engine.runs.run import Run
    from medgrad.engine.training.plan import Budget, plan
    from medgrad.engine.training.trainer import Trainer
    from medgrad.prepare import build_steps
    from medgrad.survey.dataset_facts import gather_dataset_facts

    keep_freed_memory()
    cohort = split(recognise(Path(folder)), seed=0)
    recipe = merge_changes(plan(gather_dataset_facts(cohort), Budget()), PEER if side == "theirs" else {})
    prepare, rest = build_steps(recipe.prepare), Path(tempfile.mkdtemp())
    cases, _ = load_split(cohort, "train", prepare, rest, SilentProgress())
    valid, _ = load_split(cohort, "val", prepare, rest, SilentProgress())
    seeds = iter(range(10**6))

    def once() -> list[tuple[int, float, float]]:
        told = recipe.with_training(steps=STEPS, seed=next(seeds), threads=threads)
        learner = Trainer(Run(rest), told, told.build_task(), cases, valid, choose_device(told.training.precision))
        seconds, found, began = 0.0, [], time.process_time()
        for _ in learner.run_planned_steps():
            seconds += time.process_time() - began
            if learner.steps_done % EVERY == 0:
                found.append((learner.steps_done, seconds, float(learner.validate(JUDGED) or 0.0)))
                if found[-1][2] >= TARGET:
                    break
            began = time.process_time()
        return found

    return once


def run(rounds: int = 0, threads: int = 1) -> dict[str, Any]:
    """Race over the seeds, and give a row for each."""
    if not DATA.exists():
        return {"skipped": f"There is no {DATA.name!r} beside this folder, so there is nothing to learn from."}
    sides = {name: Side(__file__, name, str(threads), threads=threads) for name in ("ours", "theirs")}
    rows = []
    for seed in range(rounds or SEEDS):
        with ThreadPoolExecutor(len(sides)) as pool:
            asked = {name: pool.submit(side.ask) for name, side in sides.items()}
            ended = {name: answer.result()["value"][-1] for name, answer in asked.items()}
        rows.append({
            "seed": seed,
            **{f"{name} {what}": ended[name][i] for name in sides for i, what in enumerate(("steps", "s", "Dice"))},
            "ratio": ended["theirs"][1] / ended["ours"][1],
        })  # fmt: skip
    for side in sides.values():
        side.close()
    logs = [math.log(r["ratio"]) for r in rows]
    middle = math.exp(statistics.mean(logs))
    rows.append({"seed": "mean", "ratio": middle})
    claim = f"{TARGET:g} at least {BOUND:g} times sooner, over {len(logs)} seeds"
    return {"rows": rows, "claim": claim, "bound": BOUND, "held": middle >= BOUND}


if __name__ == "__main__":
    given = settings(__doc__ or "")
    if given.side:
        serve(learning(given.side[0], str(DATA), int(given.side[1])))
        sys.exit(0)
    sys.exit(told(run(given.rounds, given.threads)))

"""Timing of training steps and validation on this machine, to plan the number of steps."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from math import inf

import numpy as np
import torch

from ...machine.cores import FreeCores, threads_for
from ..compute.device import thread_counts
from ..progress import Progress
from ..runs.recipe import Recipe
from .pace import Pace
from .trainer import Trainer

TIMED = 6
"""How many steps are timed, after two that are not."""
LONG_ENOUGH = 20.0
"""The seconds after which timing gives up on more."""
PART = 0.06
"""The share of the time that is left after which it does so too."""
SHARE = 0.1
"""The share of the time that validation on the way may take."""
FEWEST_ROUNDS = 4
FEWEST_CASES = {"dense": 4, "pooled": 32}
"""The fewest cases that a validation says something with: a figure of a whole set, such as an AUROC, needs more."""
FINAL = 2.5
"""How much longer the last judgement of a case takes, with all its figures and pictures, than one on the way."""


@dataclass(frozen=True)
class StepTime:
    """The seconds of a step with the fastest number of threads, and the largest number that may be worth using.

    Where other processes use the CPU now, all threads may be worth using later.
    """

    seconds: float
    threads: int
    most: int


def time_steps(learner: Trainer, left: float = inf, on_progress: Callable[[int], None] | None = None) -> StepTime:
    """Time training steps on this machine, and find the fastest number of threads.

    At least four steps are timed with each number, within a small share of the remaining seconds;
    ``on_progress`` is called after each.

    Where other processes use the CPU too, threads wait for one another, and one alone can be many times faster
    than two. The trainer is reset afterwards.
    """
    most = torch.get_num_threads()
    asked = learner.recipe.training.threads
    found, free = {}, FreeCores()
    for count in [asked] if asked else thread_counts():
        torch.set_num_threads(count)
        taken = []
        began = time.perf_counter()
        for _ in learner.steps(lambda: TIMED + 2, progress=lambda number: number / 10**6):
            taken.append(time.perf_counter() - began)
            if on_progress:
                on_progress(len(taken))
            began = time.perf_counter()
            if len(taken) > 3 and sum(taken) > min(LONG_ENOUGH, PART * left):
                break
        found[count] = float(np.median(taken[2:]))
        learner.begin()
    torch.set_num_threads(most)
    best = min(found, key=lambda count: found[count])
    best = most if most in found and found[most] < 1.1 * found[best] else best
    is_calm = threads_for(free() or most, most) == most
    return StepTime(found[best], best, asked or (best if is_calm else most))


def time_validation(learner: Trainer) -> float:
    """Measure the seconds of judging one validation case."""
    if not learner.valid:
        return 0.0
    learner.average.update(0)
    began = time.perf_counter()
    learner.validate(2)
    taken = (time.perf_counter() - began) / min(2, len(learner.valid))
    learner.begin()
    return taken


def decide_steps(learner: Trainer, deadline: float, tests: int, progress: Progress) -> tuple[Recipe, Pace]:
    """Compute the number of steps from the remaining time, with some kept for validation and testing.

    Also returns the time budget that replans the steps where the machine becomes slower or faster.
    """
    with progress.bar("Timing a few steps") as bar:
        step = time_steps(learner, deadline - time.perf_counter(), lambda done: bar(done, TIMED + 2))
        learner.recipe = learner.recipe.with_training(threads=step.threads)
        learner.begin()
        case_seconds = time_validation(learner)
    training, left = learner.recipe.training, deadline - time.perf_counter()
    rounds, cases = share_out(
        SHARE * left,
        case_seconds,
        rounds=training.validations,
        cases=len(learner.valid),
        fewest=FEWEST_CASES.get(learner.task.outputs.shape, 8),
    )
    final_cases = FINAL * (len(learner.valid) + tests)
    possible = int((left - (final_cases + rounds * cases) * case_seconds) / step.seconds)
    steps = max(training.min_steps, possible)
    progress.say(
        f"A step takes {step.seconds:.2f} s on {step.threads} threads, so there is time for {max(0, possible)}."
    )
    if steps > possible:
        more = (steps - max(0, possible)) * step.seconds
        progress.say(f"{steps} steps are taken all the same: less teaches nothing. That takes {more:.0f} s more.")
        deadline += more
    recipe = learner.recipe.with_training(steps=steps, validations=rounds, validation_cases=cases)
    pace = Pace(deadline, step.most, final_cases, case_seconds, usual=step.seconds)
    return recipe, pace


def share_out(seconds: float, each: float, *, rounds: int, cases: int, fewest: int = 4) -> tuple[int, int]:
    """Plan the number of validations and their cases within so many seconds.

    The number of cases is reduced first, down to a minimum; then the number of validations.

    >>> share_out(60.0, 0.5, rounds=10, cases=40)
    (10, 12)
    >>> share_out(10.0, 0.5, rounds=10, cases=40)
    (5, 4)
    """
    judged = int(seconds / max(each, 1e-9))
    fewest = min(fewest, cases)
    rounds = max(min(FEWEST_ROUNDS, rounds), min(rounds, judged // max(1, fewest)))
    return rounds, max(fewest, min(cases, judged // max(1, rounds)))

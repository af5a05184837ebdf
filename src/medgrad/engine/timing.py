"""How long things take on this machine, measured before they are planned."""

from __future__ import annotations

import time
from math import inf

import numpy as np
import torch

from ..errors import SettingError
from .device import thread_counts
from .learn import Learner
from .recipe import Recipe
from .teller import Teller

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


def time_steps(learner: Learner, left: float = inf) -> tuple[float, int]:
    """Measure the seconds of one step on this machine, with the number of threads that makes it quickest.

    It takes at least four steps with each, and little of the seconds that are ``left``.

    Where others use the processor too, threads wait for one another, and one alone can be many times faster than two.
    Everything is put back as it was.
    """
    most = torch.get_num_threads()
    asked = learner.recipe.training.threads
    found = {}
    for count in [asked] if asked else thread_counts():
        torch.set_num_threads(count)
        taken = []
        began = time.perf_counter()
        for _ in learner.steps(TIMED + 2, schedule_steps=10**6):
            taken.append(time.perf_counter() - began)
            began = time.perf_counter()
            if len(taken) > 3 and sum(taken) > min(LONG_ENOUGH, PART * left):
                break
        found[count] = float(np.median(taken[2:]))
        learner.begin()
    torch.set_num_threads(most)
    best = min(found, key=lambda count: found[count])
    best = most if most in found and found[most] < 1.1 * found[best] else best
    return found[best], best


def time_validation(learner: Learner) -> float:
    """Measure the seconds that judging one validation case takes."""
    if not learner.valid:
        return 0.0
    learner.average.update(0)
    began = time.perf_counter()
    learner.validate(2)
    taken = (time.perf_counter() - began) / min(2, len(learner.valid))
    learner.begin()
    return taken


def decide_steps(learner: Learner, deadline: float, tests: int, teller: Teller) -> Recipe:
    """Turn the minutes that are left into steps, by timing a few, and keep some for validation and ``tests`` cases."""
    step, threads = time_steps(learner, deadline - time.perf_counter())
    learner.recipe = learner.recipe.with_training(threads=threads)
    learner.begin()
    validation = time_validation(learner)
    left = deadline - time.perf_counter()
    if left < 20 * step:
        raise SettingError(f"There is no time to learn: a step takes {step:.1f} s. Give more minutes.")
    rounds, cases = share_out(
        SHARE * left,
        validation,
        rounds=learner.recipe.training.validations,
        cases=len(learner.valid),
        fewest=FEWEST_CASES.get(learner.task.outputs.shape, 8),
    )
    final = FINAL * validation * (len(learner.valid) + tests)
    steps = int(max(20, (left - final - rounds * cases * validation) / step))
    teller.say(f"A step takes {step:.2f} s on {threads} threads, so there is time for {steps} steps.")
    return learner.recipe.with_training(steps=steps, validations=rounds, validation_cases=cases)


def share_out(seconds: float, each: float, *, rounds: int, cases: int, fewest: int = 4) -> tuple[int, int]:
    """Choose how often to validate and on how many cases, in so many seconds where ``each`` case takes so long.

    Fewer cases first, down to the ``fewest``; then fewer rounds, down to a few.

    >>> share_out(60.0, 0.5, rounds=10, cases=40)
    (10, 12)
    >>> share_out(10.0, 0.5, rounds=10, cases=40)
    (5, 4)
    """
    judged = int(seconds / max(each, 1e-9))
    fewest = min(fewest, cases)
    rounds = max(min(FEWEST_ROUNDS, rounds), min(rounds, judged // max(1, fewest)))
    return rounds, max(fewest, min(cases, judged // max(1, rounds)))

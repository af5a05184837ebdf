"""Timing of training steps and validation on this machine, to plan the number of steps."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from math import inf

import numpy as np
import torch

from ...machine.cores import FreeCores, threads_for_free_cores
from ..compute.device import thread_counts_to_try
from ..progress import Progress
from ..runs.recipe import Recipe
from .time_budget import TimeBudget
from .trainer import Trainer

TIMED_STEPS = 6
"""How many steps are timed, after two that are not."""
MAX_TIMING_SECONDS = 20.0
"""The seconds after which timing gives up on more."""
MAX_TIMING_SHARE = 0.06
"""The share of the time that is left after which it does so too."""
VALIDATION_TIME_SHARE = 0.1
"""The share of the time that validation on the way may take."""
MIN_VALIDATIONS = 4
MIN_VALIDATION_CASES = {"dense": 4, "pooled": 32}
"""The fewest cases that a validation says something with: a figure of a whole set, such as an AUROC, needs more."""
FINAL_CASE_FACTOR = 2.5
"""How much longer the last judgement of a case takes, with all its figures and pictures, than one on the way."""


@dataclass(frozen=True)
class StepTime:
    """The seconds of a step with the fastest number of threads, and the largest number that may be worth using.

    Where other processes use the CPU now, all threads may be worth using later.
    """

    seconds: float
    threads: int
    max_threads: int


def time_steps(
    trainer: Trainer, seconds_left: float = inf, on_progress: Callable[[int], None] | None = None
) -> StepTime:
    """Time training steps on this machine, and find the fastest number of threads.

    At least four steps are timed with each number, within a small share of the remaining seconds;
    ``on_progress`` is called after each.

    Where other processes use the CPU too, threads wait for one another, and one alone can be many times faster
    than two. The trainer is reset afterwards.
    """
    max_threads = torch.get_num_threads()
    requested_threads = trainer.recipe.training.threads
    seconds_by_threads, free = {}, FreeCores()
    for count in [requested_threads] if requested_threads else thread_counts_to_try():
        torch.set_num_threads(count)
        taken = []
        began = time.perf_counter()
        for _ in trainer.run_steps(lambda: TIMED_STEPS + 2, schedule_position=lambda number: number / 10**6):
            taken.append(time.perf_counter() - began)
            if on_progress:
                on_progress(len(taken))
            began = time.perf_counter()
            if len(taken) > 3 and sum(taken) > min(MAX_TIMING_SECONDS, MAX_TIMING_SHARE * seconds_left):
                break
        seconds_by_threads[count] = float(np.median(taken[2:]))
        trainer.reset()
    torch.set_num_threads(max_threads)
    best = min(seconds_by_threads, key=lambda count: seconds_by_threads[count])
    best = (
        max_threads
        if max_threads in seconds_by_threads and seconds_by_threads[max_threads] < 1.1 * seconds_by_threads[best]
        else best
    )
    is_calm = threads_for_free_cores(free() or max_threads, max_threads) == max_threads
    return StepTime(seconds_by_threads[best], best, requested_threads or (best if is_calm else max_threads))


def time_validation(trainer: Trainer) -> float:
    """Measure the seconds of judging one validation case."""
    if not trainer.validation_cases:
        return 0.0
    trainer.ema.update(0)
    began = time.perf_counter()
    trainer.validate(2)
    taken = (time.perf_counter() - began) / min(2, len(trainer.validation_cases))
    trainer.reset()
    return taken


def decide_steps(trainer: Trainer, deadline: float, n_test_cases: int, progress: Progress) -> tuple[Recipe, TimeBudget]:
    """Compute the number of steps from the remaining time, with some kept for validation and testing.

    Also returns the time budget that replans the steps where the machine becomes slower or faster.
    """
    with progress.bar("Timing a few steps") as bar:
        step = time_steps(trainer, deadline - time.perf_counter(), lambda done: bar(done, TIMED_STEPS + 2))
        trainer.recipe = trainer.recipe.with_training(threads=step.threads)
        trainer.reset()
        case_seconds = time_validation(trainer)
    training, left = trainer.recipe.training, deadline - time.perf_counter()
    rounds, cases = plan_validations(
        VALIDATION_TIME_SHARE * left,
        case_seconds,
        n_validations=training.validations,
        n_cases=len(trainer.validation_cases),
        min_cases=MIN_VALIDATION_CASES.get(trainer.task.outputs.shape, 8),
    )
    final_cases = FINAL_CASE_FACTOR * (len(trainer.validation_cases) + n_test_cases)
    possible = int((left - (final_cases + rounds * cases) * case_seconds) / step.seconds)
    steps = max(training.min_steps, possible)
    progress.say(
        f"A step takes {step.seconds:.2f} s on {step.threads} threads, so there is time for {max(0, possible)}."
    )
    if steps > possible:
        more = (steps - max(0, possible)) * step.seconds
        progress.say(f"{steps} steps are taken all the same: less teaches nothing. That takes {more:.0f} s more.")
        deadline += more
    recipe = trainer.recipe.with_training(steps=steps, validations=rounds, validation_cases=cases)
    pace = TimeBudget(deadline, step.max_threads, final_cases, case_seconds, reference_step_seconds=step.seconds)
    return recipe, pace


def plan_validations(
    seconds: float, case_seconds: float, *, n_validations: int, n_cases: int, min_cases: int = 4
) -> tuple[int, int]:
    """Plan the number of validations and their cases within so many seconds.

    The number of cases is reduced first, down to a minimum; then the number of validations.

    >>> plan_validations(60.0, 0.5, n_validations=10, n_cases=40)
    (10, 12)
    >>> plan_validations(10.0, 0.5, n_validations=10, n_cases=40)
    (5, 4)
    """
    judged = int(seconds / max(case_seconds, 1e-9))
    min_cases = min(min_cases, n_cases)
    n_validations = max(min(MIN_VALIDATIONS, n_validations), min(n_validations, judged // max(1, min_cases)))
    return n_validations, max(min_cases, min(n_cases, judged // max(1, n_validations)))

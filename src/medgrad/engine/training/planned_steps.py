"""The schedule of training steps: their number, threads, position in the schedule, and validations.

All of it follows from the recipe, so that a repeated or resumed run takes the same steps.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

from ..runs.recipe import Replan, Training


def with_replan(training: Training, replan: Replan) -> Training:
    """Return the settings with another number of threads and steps from a given step on."""
    earlier = training.replanned or ((0, training.threads, training.steps),)
    kept = tuple(r for r in earlier if r[0] < replan[0] or r[0] == 0)
    return replace(training, replanned=(*kept, replan), steps=replan[2])


def threads_at(training: Training, step: int) -> int:
    """Return the number of threads at a step; 0 leaves it unchanged."""
    return next((threads for start, threads, _ in reversed(training.replanned) if start <= step), training.threads)


def total_steps_at(training: Training, step: int) -> int:
    """Return the total number of steps that was planned at a given step."""
    return next((total for start, _, total in reversed(training.replanned) if start <= step), training.steps)


def schedule_progress(training: Training, step: int) -> float:
    """Return the position of a step in the schedule, from 0 to 1.

    Each replan spreads the rest of the schedule over the remaining steps.

    >>> plan = Training(steps=60, replanned=((0, 2, 100), (50, 1, 60)))
    >>> [schedule_progress(plan, n) for n in (0, 25, 50, 55)]
    [0.0, 0.25, 0.5, 0.75]
    """
    replans = [r for r in training.replanned if r[0] <= step] or [(0, 0, training.steps)]
    done = 0.0
    for (start, _, total), (end, _, _) in pairwise([*replans, (step, 0, 0)]):
        done = advance_schedule(done, start, total, end)
    return done


def advance_schedule(fraction_done: float, start: int, total_steps: int, step: int) -> float:
    """Advance the position in the schedule from step ``start`` of ``total_steps`` to a later step."""
    if fraction_done == 0.0 and start == 0:
        return step / total_steps
    return fraction_done + (1 - fraction_done) * (step - start) / max(1, total_steps - start)


def is_validation_due(training: Training, steps_done: int) -> bool:
    """Tell whether a validation is due after so many steps: at even parts of the schedule, and at its end."""
    if steps_done == total_steps_at(training, steps_done - 1) or steps_done == training.steps:
        return True
    later = training.replanned[1:]
    if not later or steps_done <= later[0][0]:
        first = training.replanned[0][2] if training.replanned else training.steps
        return steps_done % max(1, -(-first // max(1, training.validations))) == 0
    before, after = (schedule_progress(training, n) * training.validations for n in (steps_done - 1, steps_done))
    return int(after + 1e-9) > int(before + 1e-9)


def count_validations_left(training: Training, steps_done: int) -> int:
    """Count the remaining validations after so many steps."""
    return max(1, training.validations - int(schedule_progress(training, steps_done) * training.validations + 1e-9))

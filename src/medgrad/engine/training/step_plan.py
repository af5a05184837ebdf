"""The steps of a training: how many there are, on how many threads, and where in the schedule each of them stands.

All of it follows from the recipe alone, so that a run that is repeated or resumed takes the same steps.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

from ..runs.recipe import Replan, Training


def with_replan(training: Training, replan: Replan) -> Training:
    """Give the settings in which, from one step on, another number of threads and of steps is planned."""
    earlier = training.replanned or ((0, training.threads, training.steps),)
    kept = tuple(r for r in earlier if r[0] < replan[0] or r[0] == 0)
    return replace(training, replanned=(*kept, replan), steps=replan[2])


def threads_at(training: Training, step: int) -> int:
    """Give the number of threads that a step is computed with; 0 leaves it as it is."""
    return next((threads for start, threads, _ in reversed(training.replanned) if start <= step), training.threads)


def total_at(training: Training, step: int) -> int:
    """Give how many steps there are in all, as it was planned when a step was taken."""
    return next((total for start, _, total in reversed(training.replanned) if start <= step), training.steps)


def progress(training: Training, step: int) -> float:
    """Give where in the schedule a step stands, from 0 to 1.

    Each replan spreads what is left of the schedule over the steps that are left.

    >>> plan = Training(steps=60, replanned=((0, 2, 100), (50, 1, 60)))
    >>> [progress(plan, n) for n in (0, 25, 50, 55)]
    [0.0, 0.25, 0.5, 0.75]
    """
    replans = [r for r in training.replanned if r[0] <= step] or [(0, 0, training.steps)]
    done = 0.0
    for (start, _, total), (end, _, _) in pairwise([*replans, (step, 0, 0)]):
        done = advanced(done, start, total, end)
    return done


def advanced(done: float, start: int, total: int, step: int) -> float:
    """Go on from a place in the schedule, at step ``start`` of ``total``, to a later step."""
    if done == 0.0 and start == 0:
        return step / total
    return done + (1 - done) * (step - start) / max(1, total - start)


def validates(training: Training, done: int) -> bool:
    """Tell whether the weights are validated after so many steps: in equal parts of the schedule, and at its end."""
    if done == total_at(training, done - 1) or done == training.steps:
        return True
    later = training.replanned[1:]
    if not later or done <= later[0][0]:
        first = training.replanned[0][2] if training.replanned else training.steps
        return done % max(1, -(-first // max(1, training.validations))) == 0
    before, after = (progress(training, n) * training.validations for n in (done - 1, done))
    return int(after + 1e-9) > int(before + 1e-9)


def validations_left(training: Training, done: int) -> int:
    """Count the validations that are still to come after so many steps."""
    return max(1, training.validations - int(progress(training, done) * training.validations + 1e-9))

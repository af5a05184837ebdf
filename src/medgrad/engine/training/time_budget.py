"""Time budget of a training: threads and number of steps are planned anew where the machine is slower or faster."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from math import inf

from ...machine.cores import FreeCores, threads_for_free_cores
from ..runs.recipe import Replan, Training
from .planned_steps import count_validations_left, threads_at

N_CHECKS = 200
"""So often, evenly over the steps as they were first planned, it is asked whether the pace still holds."""
MIN_STEP_CHANGE = 0.05
"""The steps that are left are planned anew where their number is wrong by more than this share."""
RECENT_SECONDS = 10.0
"""The pace is that of the steps of so many seconds, and of at least ``RECENT_STEPS``."""
RECENT_STEPS = 3
REPEATS_TO_CHANGE = 2
"""So often in a row another number of threads must fit before it is taken."""
WORTHWHILE_TIME_SHARE = 0.97
"""More threads are kept where a step takes at most this share of its time with fewer."""


@dataclass
class TimeBudget:
    """Keeps a training within its time; without a ``deadline`` it only chooses the number of threads.

    ``deadline`` is when everything must be done, on ``clock``. ``n_final_cases`` is the work after the last step,
    in units of one case of a validation. ``max_threads`` is the largest number of threads.
    """

    deadline: float = inf
    max_threads: int = 1
    n_final_cases: float = 0.0
    case_seconds: float = 0.0
    read_free_cores: Callable[[], float | None] = field(default_factory=FreeCores)
    clock: Callable[[], float] = time.perf_counter
    recent_seconds: deque[float] = field(default_factory=deque)
    wanted_threads: list[int] = field(default_factory=list)
    seconds_before_change: float = 0.0
    """The seconds of a step with fewer threads, while it is not yet known whether more are worth it."""
    reference_step_seconds: float = 0.0
    """The seconds of a step when the time of a case was measured."""

    def state(self) -> dict[str, float | int]:
        """Return what is needed to resume with the same time budget."""
        left = {} if self.deadline == inf else {"seconds_left": round(self.deadline - self.clock(), 1)}
        return {**left, "most_threads": self.max_threads, "final_cases": self.n_final_cases}

    def record_step(self, seconds: float) -> None:
        """Record the time of a step."""
        self.recent_seconds.append(seconds)
        while (
            len(self.recent_seconds) > RECENT_STEPS
            and sum(self.recent_seconds) - self.recent_seconds[0] > RECENT_SECONDS
        ):
            self.recent_seconds.popleft()

    def record_validation(self, seconds: float, n_cases: int) -> None:
        """Record the time of a validation on so many cases."""
        if n_cases:
            self.case_seconds, self.reference_step_seconds = seconds / n_cases, self.step_seconds

    @property
    def step_seconds(self) -> float:
        """Return the mean time of the recent steps."""
        return sum(self.recent_seconds) / len(self.recent_seconds) if self.recent_seconds else 0.0

    def is_check_due(self, training: Training, steps_done: int) -> bool:
        """Tell whether the plan is checked after so many steps; the answer is the same in all processes."""
        first = training.replanned[0][2] if training.replanned else training.steps
        later = not training.replanned or steps_done > training.replanned[-1][0]
        return later and 0 < steps_done < training.steps and steps_done % max(1, first // N_CHECKS) == 0

    def replan(self, training: Training, steps_done: int) -> Replan | None:
        """Return the new plan from the next step on, or None if it stays."""
        now = threads_at(training, steps_done) or self.max_threads
        threads = self.choose_threads(now)
        if threads != now:
            return steps_done, threads, training.steps
        total = self.choose_steps(training, steps_done)
        return None if total == training.steps else (steps_done, threads, total)

    def choose_threads(self, current_threads: int) -> int:
        """Choose the number of threads by the free cores, and by whether more threads were faster."""
        if self.seconds_before_change and len(self.recent_seconds) >= RECENT_STEPS:
            worth, self.seconds_before_change = (
                self.step_seconds <= WORTHWHILE_TIME_SHARE * self.seconds_before_change,
                0.0,
            )
            if not worth:
                self.max_threads = current_threads - 1
                return self.forget_speed(self.max_threads)
        free = self.read_free_cores()
        if free is None:
            return current_threads
        fits = threads_for_free_cores(free, self.max_threads)
        self.wanted_threads = [*self.wanted_threads, fits] if fits != current_threads else []
        if len(self.wanted_threads) < REPEATS_TO_CHANGE:
            return current_threads
        wanted = max(self.wanted_threads) if fits < current_threads else min(self.wanted_threads)
        self.seconds_before_change = self.step_seconds if wanted > current_threads else 0.0
        return self.forget_speed(wanted)

    def forget_speed(self, threads: int) -> int:
        """Forget the measured speed after a change of threads; return the new number."""
        self.wanted_threads = []
        self.recent_seconds.clear()
        return threads

    def choose_steps(self, training: Training, steps_done: int) -> int:
        """Choose the total number of steps that the time allows; small differences to the plan are ignored."""
        if self.deadline == inf or len(self.recent_seconds) < RECENT_STEPS:
            return training.steps
        slower = max(1.0, self.step_seconds / self.reference_step_seconds) if self.reference_step_seconds else 1.0
        n_cases_left = count_validations_left(training, steps_done) * training.validation_cases + self.n_final_cases
        seconds_left = self.deadline - self.clock() - n_cases_left * self.case_seconds * slower
        total = max(steps_done + max(1, int(seconds_left / self.step_seconds)), min(training.steps, training.min_steps))
        planned = training.steps - steps_done
        return total if abs(total - training.steps) > max(1.0, MIN_STEP_CHANGE * planned) else training.steps


def resume_time_budget(state: Mapping[str, float | int]) -> TimeBudget:
    """Resume a time budget with the time that was left at the last checkpoint."""
    deadline = time.perf_counter() + state["seconds_left"] if "seconds_left" in state else inf
    return TimeBudget(deadline, int(state["most_threads"]), float(state["final_cases"]))

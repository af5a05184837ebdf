"""Time budget of a training: threads and number of steps are planned anew where the machine is slower or faster."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from math import inf

from ...machine.cores import FreeCores, threads_for
from ..runs.recipe import Replan, Training
from .step_plan import threads_at, validations_left

SAMPLES = 200
"""So often, evenly over the steps as they were first planned, it is asked whether the pace still holds."""
OFF = 0.05
"""The steps that are left are planned anew where their number is wrong by more than this share."""
RECENT_SECONDS = 10.0
"""The pace is that of the steps of so many seconds, and of at least ``RECENT_STEPS``."""
RECENT_STEPS = 3
AGREED = 2
"""So often in a row another number of threads must fit before it is taken."""
WORTH = 0.97
"""More threads are kept where a step takes at most this share of its time with fewer."""


@dataclass
class Pace:
    """Keeps a training within its time; without a ``deadline`` it only chooses the number of threads.

    ``deadline`` is when everything must be done, on ``clock``. ``final_cases`` is the work after the last step,
    in units of one case of a validation. ``most`` is the largest number of threads.
    """

    deadline: float = inf
    most: int = 1
    final_cases: float = 0.0
    case_seconds: float = 0.0
    free: Callable[[], float | None] = field(default_factory=FreeCores)
    clock: Callable[[], float] = time.perf_counter
    recent: deque[float] = field(default_factory=deque)
    asked: list[int] = field(default_factory=list)
    before: float = 0.0
    """The seconds of a step with fewer threads, while it is not yet known whether more are worth it."""
    usual: float = 0.0
    """The seconds of a step when the time of a case was measured."""

    def state(self) -> dict[str, float | int]:
        """Return what is needed to resume with the same time budget."""
        left = {} if self.deadline == inf else {"seconds_left": round(self.deadline - self.clock(), 1)}
        return {**left, "most_threads": self.most, "final_cases": self.final_cases}

    def took(self, seconds: float) -> None:
        """Record the time of a step."""
        self.recent.append(seconds)
        while len(self.recent) > RECENT_STEPS and sum(self.recent) - self.recent[0] > RECENT_SECONDS:
            self.recent.popleft()

    def judged(self, seconds: float, cases: int) -> None:
        """Record the time of a validation on so many cases."""
        if cases:
            self.case_seconds, self.usual = seconds / cases, self.step_seconds

    @property
    def step_seconds(self) -> float:
        """Return the mean time of the recent steps."""
        return sum(self.recent) / len(self.recent) if self.recent else 0.0

    def is_due(self, training: Training, done: int) -> bool:
        """Tell whether the plan is checked after so many steps; the answer is the same in all processes."""
        first = training.replanned[0][2] if training.replanned else training.steps
        later = not training.replanned or done > training.replanned[-1][0]
        return later and 0 < done < training.steps and done % max(1, first // SAMPLES) == 0

    def replan(self, training: Training, done: int) -> Replan | None:
        """Return the new plan from the next step on, or None if it stays."""
        now = threads_at(training, done) or self.most
        threads = self.threads(now)
        if threads != now:
            return done, threads, training.steps
        total = self.steps(training, done)
        return None if total == training.steps else (done, threads, total)

    def threads(self, now: int) -> int:
        """Choose the number of threads by the free cores, and by whether more threads were faster."""
        if self.before and len(self.recent) >= RECENT_STEPS:
            worth, self.before = self.step_seconds <= WORTH * self.before, 0.0
            if not worth:
                self.most = now - 1
                return self.changed(self.most)
        free = self.free()
        if free is None:
            return now
        fits = threads_for(free, self.most)
        self.asked = [*self.asked, fits] if fits != now else []
        if len(self.asked) < AGREED:
            return now
        wanted = max(self.asked) if fits < now else min(self.asked)
        self.before = self.step_seconds if wanted > now else 0.0
        return self.changed(wanted)

    def changed(self, threads: int) -> int:
        """Forget the measured speed after a change of threads; return the new number."""
        self.asked = []
        self.recent.clear()
        return threads

    def steps(self, training: Training, done: int) -> int:
        """Choose the total number of steps that the time allows; small differences to the plan are ignored."""
        if self.deadline == inf or len(self.recent) < RECENT_STEPS:
            return training.steps
        slower = max(1.0, self.step_seconds / self.usual) if self.usual else 1.0
        judging = validations_left(training, done) * training.validation_cases + self.final_cases
        left = self.deadline - self.clock() - judging * self.case_seconds * slower
        total = max(done + max(1, int(left / self.step_seconds)), min(training.steps, training.min_steps))
        planned = training.steps - done
        return total if abs(total - training.steps) > max(1.0, OFF * planned) else training.steps


def resumed(state: Mapping[str, float | int]) -> Pace:
    """Resume a time budget with the time that was left at the last checkpoint."""
    deadline = time.perf_counter() + state["seconds_left"] if "seconds_left" in state else inf
    return Pace(deadline, int(state["most_threads"]), float(state["final_cases"]))

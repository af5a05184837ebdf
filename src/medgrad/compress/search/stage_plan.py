"""Plan the next pruning stage: a smaller size, more training, or a size between two others.

Time is counted in seconds or in steps. Decisions depend only on the results so far, so an interrupted search
resumes as it would have gone on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf, log

BRIEF, ALL_BRIEF = 0.075, 0.25
"""The share of the time that a stage on the way down takes, and the most that all of them may: what learned for so
short is not as good as the parent, but can be cut further.
"""
FIRST = 0.2
"""The share after which the network of the target is judged for the first time."""
KEPT = 0.3
"""The share of what is left that is kept for a larger network while none is good."""
SURE = 0.7
"""It is sure to be good enough where it is expected to lose at most this share of what it may."""
ENOUGH = 1.3
"""A network that can be good learns so many times as long as is expected to do, where a smaller one was given up."""
TRY, MUCH = 0.12, 0.4
"""A size between two others is tried with at least this share of the time; with so much, before the larger is good."""
LEAST = 0.06
"""Less than this share of the time is not worth a stage of its own."""
CLOSE, NEAR = 1.5, 1.15
"""Two networks are close where the larger costs at most so many times what the smaller does: too close to try one
between them, and too near to cut the larger.
"""
MOST = 0.75
"""The smallest network between one that can be good and one that cannot is at most so much of the way."""
USUAL, FAR = 0.8, 1.0
"""The power of time by which a loss falls, and by which it does while it is more than twice the margin.

Of hippocampus networks 0.7 to 1.2 was seen: what was just cut regains much at first.
"""
NARROWER = 0.25
"""The power of its loss by which the way from a network's loss to its bound becomes less: 0.2 was seen."""
FARTHEST, HALVINGS = 1000.0, 60
"""No more than so many times the time is foretold, found by so many halvings."""
SLOWEST, QUICKEST = 0.3, 1.2
"""An exponent that was seen is believed within these."""


@dataclass(frozen=True)
class Stage:
    """One stage: its depth ``down`` (0 is the parent, 1 the target) and its time.

    It starts from the network of an earlier stage, by its number, or from the parent (-1). ``taught`` distils
    from the parent.
    """

    down: float
    time: float
    begin: int = -1
    taught: bool = False


@dataclass(frozen=True)
class Ended:
    """The result of a stage: its score, its loss against the parent, and the upper bound of that loss.

    All are those of the selecting patients; the margin was chosen before.
    """

    stage: Stage
    score: float
    loss: float
    bound: float
    margin: float


@dataclass(frozen=True)
class Plan:
    """The plan of a search: its ``time``, the depths ``down`` of its stages, and the cost share of the target.

    With ``reach`` the last stage takes all of the time, whatever is lost; each before it takes a ``brief`` one.
    With ``teaches`` all stages are distilled; if it is "tried", the first stage is trained both ways and the
    better one decides.
    """

    time: float
    down: Sequence[float]
    share: float
    brief: float
    reach: bool = False
    teaches: bool | str = False


def stages_down(time: float, wanted: int, least: float) -> tuple[int, float]:
    """Give the number of stages to the target, at most as many as wanted, and the time of a brief one.

    The ``least`` time is what it takes to cut a network and train it enough to be cut again.

    >>> stages_down(1000.0, 3, 10.0), stages_down(1000.0, 3, 200.0), stages_down(1000.0, 3, 500.0)
    ((3, 75.0), (2, 200.0), (1, 500.0))
    """
    brief = max(BRIEF * time, least)
    return 1 + min(wanted - 1, int(ALL_BRIEF * time / brief)), brief


def next_stage(plan: Plan, ended: Sequence[Ended], left: float) -> Stage | None:
    """Give the next stage from the results so far and the time left; None where the search is over."""
    first = way_down(plan)
    if len(ended) < len(first):
        is_late = left <= 0 and len(ended) > 0
        if is_late and not plan.reach:
            return None
        number = len(first) - 1 if is_late else len(ended)
        stage, is_trial = first[number], plan.teaches == "tried" and number < 2 and number < len(first) - 1
        time = left if plan.reach and number == len(first) - 1 else min(stage.time, left)
        begin = -1 if is_trial else best_above(ended, stage.down)
        return Stage(stage.down, time, begin, stage.taught if is_trial else is_taught(plan, ended))
    if plan.reach or left < LEAST * plan.time:
        return None
    down, time = where(plan, ended, left)
    return Stage(down, time, best_above(ended, down), is_taught(plan, ended))


def way_down(plan: Plan) -> list[Stage]:
    """List the planned stages down to the target: brief ones, the first of them twice where distillation is tried."""
    stages = [Stage(down, plan.brief) for down in plan.down]
    tried = [Stage(plan.down[0], plan.brief, taught=taught) for taught in (False, True)]
    if plan.teaches == "tried":
        stages = [*tried, *(stages[1:] or stages)]
    return [*stages[:-1], Stage(stages[-1].down, max(FIRST * plan.time, plan.brief))]


def is_taught(plan: Plan, ended: Sequence[Ended]) -> bool:
    """Tell whether the next stages are distilled from the parent."""
    if plan.teaches != "tried":
        return bool(plan.teaches)
    return len(ended) > 1 and ended[1].score > ended[0].score


def best_above(ended: Sequence[Ended], down: float) -> int:
    """Give the number of the stage to start from: the smallest network at or above a depth; -1 if none.

    Of several the best.
    """
    fitting = [(e.stage.down, e.score, n) for n, e in enumerate(ended) if e.stage.down <= down]
    return max(fitting)[2] if fitting else -1


def where(plan: Plan, ended: Sequence[Ended], left: float) -> tuple[float, float]:
    """Choose the depth and the time of the next stage, once the target has been judged.

    The smallest network that is non-inferior, or may become so in the time left, trains on. Where it is
    non-inferior and a smaller one failed, a size between the two is tried, unless they are close or time is
    short.
    """
    sizes = sorted({e.stage.down for e in ended}, reverse=True)
    fit = next((down for down in sizes if can_be_good(plan, ended, down, left)), 0.0)
    failed = min((down for down in sizes if down > fit), default=None)
    one_is_good = any(is_good(ended, e) for e in ended)
    is_settled = not fit or is_good(ended, best(ended, fit))
    is_apart = failed is not None and plan.share ** (fit - failed) > CLOSE
    is_long = left >= 2 * TRY * plan.time
    if failed is not None and is_settled and is_apart and (is_long or not fit):
        return (fit + failed) / 2, left / 2 if is_long else left
    if not fit:
        return min(sizes, key=lambda down: (strain(ended, down, left), -down)), left
    if is_settled or one_is_good:
        return fit, left
    down = between(ended, fit, failed, left) if failed is not None and left >= MUCH * plan.time else fit
    if plan.share ** (fit - down) > NEAR:
        return down, (1 - KEPT) * left
    time = max(plan.brief, ENOUGH * more_time(ended, fit))
    if failed is not None and left - time >= 2 * TRY * plan.time:
        return fit, time
    return fit, left if len(ended) > len(way_down(plan)) else (1 - KEPT) * left


def between(ended: Sequence[Ended], fit: float, failed: float, left: float) -> float:
    """Interpolate the depth of the smallest network that is expected to be non-inferior, on a logarithmic scale."""
    low, high = (max(strain(ended, down, left), 1e-9) for down in (fit, failed))
    part = log(SURE / low) / log(high / low) if high > low else 0.0
    return fit + min(MOST, max(0.0, part)) * (failed - fit)


def can_be_good(plan: Plan, ended: Sequence[Ended], down: float, left: float) -> bool:
    """Tell whether a size is non-inferior or is expected to be after so much more time.

    Where a size was tried in vain and none is non-inferior, the expectation must be a sure one.
    """
    must_be_sure = len(ended) > len(way_down(plan)) and not any(is_good(ended, e) for e in ended)
    return is_good(ended, best(ended, down)) or strain(ended, down, left) < (SURE if must_be_sure else 1.0)


def is_good(ended: Sequence[Ended], one: Ended) -> bool:
    """Tell whether a result is non-inferior or, with too few patients to show it, loses under half of the margin."""
    return one.loss < one.margin / 2 if are_few(ended) else one.bound < one.margin


def are_few(ended: Sequence[Ended]) -> bool:
    """Tell whether the patients are too few to show even an equal network as non-inferior."""
    return all(e.bound - e.loss >= e.margin for e in ended)


def best(ended: Sequence[Ended], down: float) -> Ended:
    """Give the best result at a depth."""
    return max((e for e in ended if e.stage.down == down), key=lambda e: e.score)


def chain(ended: Sequence[Ended], down: float) -> list[tuple[float, float]]:
    """List (training time, loss) after each stage of the last network at a depth."""
    number = max(n for n, e in enumerate(ended) if e.stage.down == down)
    numbers: list[int] = []
    while number >= 0 and ended[number].stage.down == down:
        numbers.insert(0, number)
        number = ended[number].stage.begin
    points, time = [], 0.0
    for each in numbers:
        time += ended[each].stage.time
        points.append((time, ended[each].loss))
    return points


def powers(points: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """Estimate the powers of time by which the loss decays, far from the parent and near it.

    Half of each is the power seen in the last two points, if there are two.

    >>> powers([(10.0, 0.02)]), [round(p, 3) for p in powers([(10.0, 0.02), (40.0, 0.005)])]
    ((1.0, 0.8), [1.0, 0.9])
    """
    if len(points) < 2 or points[-2][1] <= 0 or points[-1][1] <= 0:
        return FAR, USUAL
    (before, lost), (after, loses) = points[-2:]
    seen = min(QUICKEST, max(SLOWEST, log(lost / loses) / log(after / before)))
    return (FAR + seen) / 2, (USUAL + seen) / 2


def expected(ended: Sequence[Ended], down: float, more: float) -> float:
    """Predict the loss of a network after more training time; one without loss is not expected to get worse."""
    points, one = chain(ended, down), best(ended, down)
    if one.loss <= 0:
        return one.loss
    time, loss, near = points[-1][0], one.loss, 2 * one.margin
    far_power, near_power = powers(points)
    there = time * max(1.0, loss / near) ** (1 / far_power)  # when it loses twice the margin
    if time + more < there:
        return float(loss * (time / (time + more)) ** far_power)
    return float(min(loss, near) * (there / (time + more)) ** near_power)


def strain(ended: Sequence[Ended], down: float, more: float) -> float:
    """Predict the bound of the loss after more training time, as a share of the margin.

    The bound comes nearer as the loss falls.
    """
    one, loss = best(ended, down), expected(ended, down, more)
    if are_few(ended):
        return 2 * loss / one.margin
    nearer = min(1.0, loss / one.loss) ** NARROWER if one.loss > 0 else 1.0
    return (loss + (one.bound - one.loss) * nearer) / one.margin


def more_time(ended: Sequence[Ended], down: float) -> float:
    """Estimate the further training time until a network is non-inferior; infinite where that is not in sight."""
    if is_good(ended, best(ended, down)):
        return 0.0
    low, high = 0.0, FARTHEST * chain(ended, down)[-1][0]
    if strain(ended, down, high) >= 1:
        return inf
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if strain(ended, down, middle) >= 1 else (low, middle)
    return high

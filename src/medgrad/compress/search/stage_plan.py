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
FIRST_TARGET_SHARE = 0.2
"""The share after which the network of the target is judged for the first time."""
RESERVED_SHARE = 0.3
"""The share of what is left that is kept for a larger network while none is good."""
SURE_MARGIN_SHARE = 0.7
"""It is sure to be good enough where it is expected to lose at most this share of what it may."""
TIME_SAFETY_FACTOR = 1.3
"""A network that can be good learns so many times as long as is expected to do, where a smaller one was given up."""
TRY, MUCH = 0.12, 0.4
"""A size between two others is tried with at least this share of the time; with so much, before the larger is good."""
MIN_STAGE_SHARE = 0.06
"""Less than this share of the time is not worth a stage of its own."""
CLOSE, NEAR = 1.5, 1.15
"""Two networks are close where the larger costs at most so many times what the smaller does: too close to try one
between them, and too near to cut the larger.
"""
MAX_INTERPOLATION = 0.75
"""The smallest network between one that can be good and one that cannot is at most so much of the way."""
USUAL, FAR = 0.8, 1.0
"""The power of time by which a loss falls, and by which it does while it is more than twice the margin.

Of hippocampus networks 0.7 to 1.2 was seen: what was just cut regains much at first.
"""
BOUND_POWER = 0.25
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
class StageResult:
    """The result of a stage: its score, its loss against the parent, and the upper bound of that loss.

    All are those of the selecting patients; the margin was chosen before.
    """

    stage: Stage
    score: float
    loss: float
    bound: float
    margin: float


@dataclass(frozen=True)
class SearchPlan:
    """The plan of a search: its ``time``, the depths ``depths`` of its stages, and the cost share of the target.

    With ``force_target`` the last stage takes all of the time, whatever is lost; each before it takes a ``brief_time``
    one. With ``distillation`` all stages are distilled; if it is "tried", the first stage is trained both ways and the
    better one decides.
    """

    time: float
    depths: Sequence[float]
    target_share: float
    brief_time: float
    force_target: bool = False
    distillation: bool | str = False


def plan_stage_count(time: float, wanted_stages: int, min_time: float) -> tuple[int, float]:
    """Give the number of stages to the target, at most as many as wanted, and the time of a brief one.

    The ``min_time`` time is what it takes to cut a network and train it enough to be cut again.

    >>> plan_stage_count(1000.0, 3, 10.0), plan_stage_count(1000.0, 3, 200.0), plan_stage_count(1000.0, 3, 500.0)
    ((3, 75.0), (2, 200.0), (1, 500.0))
    """
    brief = max(BRIEF * time, min_time)
    return 1 + min(wanted_stages - 1, int(ALL_BRIEF * time / brief)), brief


def next_stage(plan: SearchPlan, results: Sequence[StageResult], time_left: float) -> Stage | None:
    """Give the next stage from the results so far and the time left; None where the search is over."""
    first = planned_stages(plan)
    if len(results) < len(first):
        is_late = time_left <= 0 and len(results) > 0
        if is_late and not plan.force_target:
            return None
        number = len(first) - 1 if is_late else len(results)
        stage, is_trial = first[number], plan.distillation == "tried" and number < 2 and number < len(first) - 1
        time = time_left if plan.force_target and number == len(first) - 1 else min(stage.time, time_left)
        begin = -1 if is_trial else start_stage_index(results, stage.down)
        return Stage(stage.down, time, begin, stage.taught if is_trial else uses_distillation(plan, results))
    if plan.force_target or time_left < MIN_STAGE_SHARE * plan.time:
        return None
    down, time = choose_depth_and_time(plan, results, time_left)
    return Stage(down, time, start_stage_index(results, down), uses_distillation(plan, results))


def planned_stages(plan: SearchPlan) -> list[Stage]:
    """List the planned stages down to the target: brief ones, the first of them twice where distillation is tried."""
    stages = [Stage(down, plan.brief_time) for down in plan.depths]
    tried = [Stage(plan.depths[0], plan.brief_time, taught=taught) for taught in (False, True)]
    if plan.distillation == "tried":
        stages = [*tried, *(stages[1:] or stages)]
    return [*stages[:-1], Stage(stages[-1].down, max(FIRST_TARGET_SHARE * plan.time, plan.brief_time))]


def uses_distillation(plan: SearchPlan, results: Sequence[StageResult]) -> bool:
    """Tell whether the next stages are distilled from the parent."""
    if plan.distillation != "tried":
        return bool(plan.distillation)
    return len(results) > 1 and results[1].score > results[0].score


def start_stage_index(results: Sequence[StageResult], depth: float) -> int:
    """Give the number of the stage to start from: the smallest network at or above a depth; -1 if none.

    Of several the best.
    """
    fitting = [(e.stage.down, e.score, n) for n, e in enumerate(results) if e.stage.down <= depth]
    return max(fitting)[2] if fitting else -1


def choose_depth_and_time(plan: SearchPlan, results: Sequence[StageResult], time_left: float) -> tuple[float, float]:
    """Choose the depth and the time of the next stage, once the target has been judged.

    The smallest network that is non-inferior, or may become so in the time left, trains on. Where it is
    non-inferior and a smaller one failed, a size between the two is tried, unless they are close or time is
    short.
    """
    depths = sorted({e.stage.down for e in results}, reverse=True)
    good_depth = next((down for down in depths if may_become_noninferior(plan, results, down, time_left)), 0.0)
    failed_depth = min((down for down in depths if down > good_depth), default=None)
    one_is_good = any(is_noninferior(results, e) for e in results)
    is_settled = not good_depth or is_noninferior(results, best_at_depth(results, good_depth))
    is_apart = failed_depth is not None and plan.target_share ** (good_depth - failed_depth) > CLOSE
    is_long = time_left >= 2 * TRY * plan.time
    if failed_depth is not None and is_settled and is_apart and (is_long or not good_depth):
        return (good_depth + failed_depth) / 2, time_left / 2 if is_long else time_left
    if not good_depth:
        return min(depths, key=lambda down: (predict_margin_share(results, down, time_left), -down)), time_left
    if is_settled or one_is_good:
        return good_depth, time_left
    depth = (
        interpolate_depth(results, good_depth, failed_depth, time_left)
        if failed_depth is not None and time_left >= MUCH * plan.time
        else good_depth
    )
    if plan.target_share ** (good_depth - depth) > NEAR:
        return depth, (1 - RESERVED_SHARE) * time_left
    time = max(plan.brief_time, TIME_SAFETY_FACTOR * estimate_time_needed(results, good_depth))
    if failed_depth is not None and time_left - time >= 2 * TRY * plan.time:
        return good_depth, time
    return good_depth, time_left if len(results) > len(planned_stages(plan)) else (1 - RESERVED_SHARE) * time_left


def interpolate_depth(
    results: Sequence[StageResult], good_depth: float, failed_depth: float, time_left: float
) -> float:
    """Interpolate the depth of the smallest network that is expected to be non-inferior, on a logarithmic scale."""
    low, high = (max(predict_margin_share(results, down, time_left), 1e-9) for down in (good_depth, failed_depth))
    part = log(SURE_MARGIN_SHARE / low) / log(high / low) if high > low else 0.0
    return good_depth + min(MAX_INTERPOLATION, max(0.0, part)) * (failed_depth - good_depth)


def may_become_noninferior(plan: SearchPlan, results: Sequence[StageResult], depth: float, time_left: float) -> bool:
    """Tell whether a size is non-inferior or is expected to be after so much more time.

    Where a size was tried in vain and none is non-inferior, the expectation must be a sure one.
    """
    must_be_sure = len(results) > len(planned_stages(plan)) and not any(is_noninferior(results, e) for e in results)
    return is_noninferior(results, best_at_depth(results, depth)) or predict_margin_share(results, depth, time_left) < (
        SURE_MARGIN_SHARE if must_be_sure else 1.0
    )


def is_noninferior(results: Sequence[StageResult], result: StageResult) -> bool:
    """Tell whether a result is non-inferior or, with too few patients to show it, loses under half of the margin."""
    return result.loss < result.margin / 2 if has_too_few_patients(results) else result.bound < result.margin


def has_too_few_patients(results: Sequence[StageResult]) -> bool:
    """Tell whether the patients are too few to show even an equal network as non-inferior."""
    return all(e.bound - e.loss >= e.margin for e in results)


def best_at_depth(results: Sequence[StageResult], depth: float) -> StageResult:
    """Give the best result at a depth."""
    return max((e for e in results if e.stage.down == depth), key=lambda e: e.score)


def loss_history(results: Sequence[StageResult], depth: float) -> list[tuple[float, float]]:
    """List (training time, loss) after each stage of the last network at a depth."""
    number = max(n for n, e in enumerate(results) if e.stage.down == depth)
    numbers: list[int] = []
    while number >= 0 and results[number].stage.down == depth:
        numbers.insert(0, number)
        number = results[number].stage.begin
    points, time = [], 0.0
    for each in numbers:
        time += results[each].stage.time
        points.append((time, results[each].loss))
    return points


def loss_decay_powers(points: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """Estimate the powers of time by which the loss decays, far from the parent and near it.

    Half of each is the power seen in the last two points, if there are two.

    >>> loss_decay_powers([(10.0, 0.02)]), [round(p, 3) for p in loss_decay_powers([(10.0, 0.02), (40.0, 0.005)])]
    ((1.0, 0.8), [1.0, 0.9])
    """
    if len(points) < 2 or points[-2][1] <= 0 or points[-1][1] <= 0:
        return FAR, USUAL
    (before, loss_before), (after, loss_after) = points[-2:]
    observed_power = min(QUICKEST, max(SLOWEST, log(loss_before / loss_after) / log(after / before)))
    return (FAR + observed_power) / 2, (USUAL + observed_power) / 2


def predict_loss(results: Sequence[StageResult], depth: float, extra_time: float) -> float:
    """Predict the loss of a network after more training time; one without loss is not expected to get worse."""
    points, one = loss_history(results, depth), best_at_depth(results, depth)
    if one.loss <= 0:
        return one.loss
    time, loss, near = points[-1][0], one.loss, 2 * one.margin
    far_power, near_power = loss_decay_powers(points)
    time_at_twice_margin = time * max(1.0, loss / near) ** (1 / far_power)  # when it loses twice the margin
    if time + extra_time < time_at_twice_margin:
        return float(loss * (time / (time + extra_time)) ** far_power)
    return float(min(loss, near) * (time_at_twice_margin / (time + extra_time)) ** near_power)


def predict_margin_share(results: Sequence[StageResult], depth: float, extra_time: float) -> float:
    """Predict the bound of the loss after more training time, as a share of the margin.

    The bound comes nearer as the loss falls.
    """
    one, loss = best_at_depth(results, depth), predict_loss(results, depth, extra_time)
    if has_too_few_patients(results):
        return 2 * loss / one.margin
    nearer = min(1.0, loss / one.loss) ** BOUND_POWER if one.loss > 0 else 1.0
    return (loss + (one.bound - one.loss) * nearer) / one.margin


def estimate_time_needed(results: Sequence[StageResult], depth: float) -> float:
    """Estimate the further training time until a network is non-inferior; infinite where that is not in sight."""
    if is_noninferior(results, best_at_depth(results, depth)):
        return 0.0
    low, high = 0.0, FARTHEST * loss_history(results, depth)[-1][0]
    if predict_margin_share(results, depth, high) >= 1:
        return inf
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if predict_margin_share(results, depth, middle) >= 1 else (low, middle)
    return high

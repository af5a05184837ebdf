"""Run the pruning stages: each cuts an earlier network and trains what is left."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from math import inf
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from torch import nn

from ...data.atomic_files import write_text
from ...engine.runs.pretrained import load_pretrained
from ...engine.runs.recipe import Recipe
from ...engine.runs.run import Run, load_network
from ...engine.training.fit import FitOptions, run_descent
from ...engine.training.trainer import Trainer
from ...errors import SettingError
from ..structure.removable_layers import merge_widths, remove_layers
from .fold import FoldCandidate, FoldContext
from .parents import Candidate, Parents
from .selection import ChannelSelection, choose_widths
from .shrinking import CRITERION_BATCHES, check_feasible, choose_layers_to_drop, prune_channels, time_share
from .stage_plan import (
    ALL_BRIEF,
    SearchPlan,
    Stage,
    StageResult,
    has_too_few_patients,
    is_noninferior,
    next_stage,
    plan_stage_count,
)
from .target import TIME, Target

STAGE_COST_RATIO = 0.4
"""Each stage on the way down costs at least so much of the one before: who loses little at a time forgets little."""
MIN_STEPS = 60
"""A network that learned for less than so many steps of its parent is not worth cutting again."""
MIN_STEPS_WITHOUT_LAYERS = 2500
"""A network that lacks whole layers takes so many steps to make up for them; where there is less time, none go."""
TAUGHT, HEARD = 0.5, 0.5
"""The weight of what the parent says where it teaches, and the share of each batch that it is asked about."""
MAX_TEACHER_SLOWDOWN = 1.5
"""The parent is not asked where that would make a step of the smallest network take more than so many times as long."""


@dataclass(frozen=True)
class SearchBudget:
    """How much is learned in all: ``steps`` or, where these are 0, until the ``deadline`` on the clock.

    ``distill_weight`` is the weight of what the parent says; None chooses by whether it pays. With ``force_target`` the
    search goes to the target whatever it costs. The search is for a person who gave so many ``minutes``.
    """

    steps: int
    deadline: float
    minutes: float = 0.0
    distill_weight: float | None = None
    force_target: bool = False
    seed: int = 0


@dataclass
class SearchState:
    """The state of a search, kept in its folder so that an interrupted one can be resumed."""

    folder: Path
    target: str
    minutes: float
    time: float
    left: float
    count: int
    brief: float
    choice: dict[str, Any] = field(default_factory=dict)
    gone: list[list[str]] = field(default_factory=list)
    teaches: bool | str = False
    weight: float = TAUGHT
    counts_steps: bool = False
    stages: list[Stage] = field(default_factory=list)
    children: list[Candidate] = field(default_factory=list)

    def write(self) -> None:
        """Write the state to ``search.json``."""
        kept = {k: v for k, v in vars(self).items() if k not in ("folder", "stages", "children")}
        kept |= {
            "stages": [asdict(s) for s in self.stages],
            "children": [c.to_json(self.folder) for c in self.children],
        }
        write_text(self.folder / "search.json", json.dumps(kept, indent=1) + "\n")

    @classmethod
    def read(cls, folder: Path) -> SearchState | None:
        """Read the state from a folder; None where no search was started."""
        path = folder / "search.json"
        if not path.exists():
            return None
        kept = json.loads(path.read_text(encoding="utf-8"))
        stages = [Stage(**s) for s in kept.pop("stages")]
        children = [Candidate.from_json(c, folder) for c in kept.pop("children")]
        return cls(folder, **kept, stages=stages, children=children)

    @property
    def results(self) -> list[StageResult]:
        """The results of the stages that are finished."""
        each = zip(self.stages, self.children, strict=False)
        return [StageResult(s, c.score, c.verdict.loss, c.verdict.bound, c.verdict.margin) for s, c in each]

    @property
    def counterpart_index(self) -> int | None:
        """The number of the stage that differs from the last one only in whether it was distilled."""
        last = self.stages[-1]
        alike = [replace(s, time=0.0, taught=last.taught) == replace(last, time=0.0) for s in self.stages[:-1]]
        return next((n for n, s in enumerate(self.stages[:-1]) if alike[n] and s.taught != last.taught), None)

    def plan(self, goal: Target, *, force_target: bool) -> SearchPlan:
        """Make the plan that the next stage is chosen by."""
        down = [(number + 1) / self.count for number in range(self.count)]
        return SearchPlan(self.time, down, goal.shares[goal.primary_cost], self.brief, force_target, self.teaches)

    def best_index(self, *, force_target: bool) -> int | None:
        """Give the number of the smallest non-inferior network, or just of the smallest; of several the best.

        Where none is non-inferior and the patients are too few to show it, the smallest that loses less than the
        margin.
        """
        ended = self.results
        every = [(e.stage.down, e.score, n) for n, e in enumerate(ended)]
        good = [one for one, e in zip(every, ended, strict=True) if force_target or is_noninferior(ended, e)]
        near = [one for one, e in zip(every, ended, strict=True) if has_too_few_patients(ended) and e.loss < e.margin]
        return max(good or near)[2] if good or near else None


def run_search(
    parents: Parents, target: Target, selection: ChannelSelection, budget: SearchBudget, folder: Path
) -> SearchState:
    """Train stage by stage, all folds side by side, until the time is used up."""
    state = resume_or_begin(parents, target, selection, budget, folder)
    selection, is_cut_off = replace(selection, **state.choice, automatic=()), len(state.stages) > len(state.children)
    while True:
        began = time.perf_counter()
        if not is_cut_off:
            stage = next_stage(state.plan(target, force_target=budget.force_target), state.results, state.left)
            if stage is None:
                return state
            if state.counts_steps:
                stage = replace(stage, time=float(max(len(parents.folds), round(stage.time))))
            state.stages.append(stage)
            state.write()
        parents.progress.say(describe_stage(state, target))
        child = train_stage(parents, target, selection, state, budget)
        state.children.append(child)
        taken = 0.0 if state.counts_steps else time.perf_counter() - began
        state.left -= max(taken, state.stages[-1].time) if state.counts_steps or is_cut_off else taken
        state.write()
        parents.progress.say(f"{child.score:.4f}, its parent {parents.score('chooses'):.4f}. {child.verdict}")
        is_cut_off = False


def resume_or_begin(
    parents: Parents, target: Target, selection: ChannelSelection, budget: SearchBudget, folder: Path
) -> SearchState:
    """Resume an interrupted search, with the minutes that were added, or start a new one."""
    target_text = str(target)
    state = SearchState.read(folder)
    if state is not None:
        state.children = [child.with_margin(parents.margin) for child in state.children]
        if state.target != target_text:
            raise SettingError(f"The search in {str(folder)!r} has begun for {state.target}. Name a new folder.")
        more = 0.0 if state.counts_steps else 60 * max(0.0, budget.minutes - state.minutes)
        state.left, state.time, state.minutes = state.left + more, state.time + more, max(state.minutes, budget.minutes)
        return state
    graphs = [(ground.channel_graph(ground.network), ground.network) for ground in parents.folds]
    selection = choose_widths(selection, graphs, {what: share for what, share in target.shares.items() if what != TIME})
    gone = []
    for ground, place in zip(parents.folds, parents.fold_folders(folder), strict=True):
        needs = selection.layers or ("layers" in selection.automatic and can_drop_layers(parents, target, budget))
        gone.append(choose_layers_to_drop(ground, target, selection, place) if needs else [])
        network = remove_layers(ground.network, gone[-1]) if gone[-1] else ground.network
        check_feasible(ground, network, target, selection)
    settled_selection = {
        "min_per_layer": selection.min_per_layer,
        "channel_multiple": selection.channel_multiple,
        "min_share": selection.min_share,
    }
    message = (
        f"Layers keep at least {selection.min_share:.0%} of their channels, in multiples of "
        f"{selection.channel_multiple}"
    )
    parents.progress.say(f"{message}; left out whole: {', '.join(n for names in gone for n in names) or 'none'}.")
    total_time = float(budget.steps) or max(1.0, budget.deadline - time.perf_counter())
    min_time = 0.0 if budget.steps else (CRITERION_BATCHES + MIN_STEPS) * parents.step_seconds
    count, brief = plan_stage_count(total_time, target.count_stages(STAGE_COST_RATIO), min_time)
    is_short = not budget.steps and (count + 1) * brief > ALL_BRIEF * total_time
    state = SearchState(
        folder,
        target_text,
        budget.minutes,
        time=total_time,
        left=total_time,
        count=count,
        brief=brief,
        choice=settled_selection,
        gone=gone,
        teaches=choose_distillation(parents, target, budget, is_short=is_short),
        weight=budget.distill_weight or TAUGHT,
        counts_steps=budget.steps > 0,
    )
    state.write()
    return state


def can_drop_layers(parents: Parents, target: Target, budget: SearchBudget) -> bool:
    """Tell whether time is targeted and there is enough of it to train without whole layers."""
    share = time_share(target)
    left = budget.deadline - time.perf_counter()
    steps = budget.steps or (1 - ALL_BRIEF) * left / (share * parents.step_seconds)
    return TIME in target.shares or (share < 1 and steps >= MIN_STEPS_WITHOUT_LAYERS)


def choose_distillation(
    parents: Parents, target: Target, budget: SearchBudget, *, is_short: bool = False
) -> bool | str:
    """Choose whether to distil from the parent: as asked, or "tried" where it may pay.

    It is not tried where time is short, or where the parent would make a step of the smallest network much
    slower: a step costs about three forward passes, and the parent answers about a part of the batch.
    """
    if not all(fold.task.can_distill for fold in parents.folds) or budget.distill_weight == 0:
        return False
    if budget.distill_weight is not None:
        return True
    share = time_share(target) if time_share(target) < 1 else target.shares[target.primary_cost]
    return "tried" if not is_short and 1 + HEARD / (3 * share) <= MAX_TEACHER_SLOWDOWN else False


def describe_stage(state: SearchState, target: Target) -> str:
    """Describe the stage that starts, for the progress display."""
    stage, down = state.stages[-1], len(state.stages)
    again = [n for n, e in enumerate(state.stages[:-1]) if e.down == stage.down]
    what = "learns on" if again and stage.begin in again else f"is cut to {target.at_fraction(stage.down)} and learns"
    taught = ", taught by its parent" if stage.taught else ""
    source = "the parent" if stage.begin < 0 else f"the network of stage {stage.begin + 1}"
    return f"Stage {down}: {source} {what}{taught}."


def train_stage(
    parents: Parents, target: Target, selection: ChannelSelection, state: SearchState, budget: SearchBudget
) -> Candidate:
    """Train the networks of a stage, fold by fold, and compare them with their parents."""
    number, stage = len(state.stages) - 1, state.stages[-1]
    began, parts = time.perf_counter(), list[FoldCandidate]()
    for fold_number, fold in enumerate(parents.folds):
        run = Run(parents.fold_folders(state.folder)[fold_number] / str(number))
        if not run.has_started:
            weight, seed = state.weight if stage.taught else 0.0, budget.seed + stage.begin + 1
            if (twin := state.counterpart_index) is not None:
                copy_stage_start(fold, Run(state.children[twin].folds[fold_number].folder), run, weight, seed)
            else:
                source = None if stage.begin < 0 else Run(state.children[stage.begin].folds[fold_number].folder)
                is_cut = source is None or state.stages[stage.begin].down != stage.down
                stage_target = target.at_fraction(stage.down) if is_cut else None
                prepare_stage(fold, run, source, state.gone[fold_number], stage_target, selection, weight, seed)
        until = began + stage.time * (fold_number + 1) / len(parents.folds)
        steps = max(1, round(stage.time / len(parents.folds))) if state.counts_steps else 0
        parts.append(train_fold(fold, run, until if not steps else inf, steps))
    return parents.judge_candidate(selection.criterion, parts, "chooses")


def copy_stage_start(fold: FoldContext, counterpart: Run, run: Run, distill_weight: float, seed: int) -> None:
    """Write the recipe of a stage with the starting weights of its counterpart, with distillation switched."""
    recipe = counterpart.load_recipe()
    network = fold.build_network(recipe)
    load_pretrained(network, {"weights": str(counterpart.folder / "weights" / "begin.safetensors")})
    write_stage_recipe(fold, recipe, network, {}, run, distill_weight, seed)


def prepare_stage(
    fold: FoldContext,
    run: Run,
    source: Run | None,
    dropped_layers: Sequence[str],
    target: Target | None,
    selection: ChannelSelection,
    distill_weight: float,
    seed: int,
) -> None:
    """Prune a network to a target, if one is given, and write the recipe and starting weights of the stage."""
    if source is None:
        network = remove_layers(fold.network, dropped_layers)
        widths = merge_widths(fold.recipe.layer_widths, dict.fromkeys(dropped_layers, ()))
        recipe = replace(fold.recipe, layer_widths=widths)
    else:
        (network, _), recipe = load_network(source), source.load_recipe()
    changed_widths: Mapping[str, Sequence[int]] = {}
    if target is not None:
        network, changed_widths = prune_channels(
            fold, network, target, selection, lambda: fold.draw_batches(recipe, run.folder / "seen")
        )
    write_stage_recipe(fold, recipe, network, changed_widths, run, distill_weight, seed)


def write_stage_recipe(
    fold: FoldContext,
    recipe: Recipe,
    smaller: nn.Module,
    widths: Mapping[str, Sequence[int]],
    run: Run,
    distill_weight: float,
    seed: int,
) -> None:
    """Write the recipe and the starting weights of a pruned network."""
    begin = run.folder / "weights" / "begin.safetensors"
    begin.parent.mkdir(parents=True, exist_ok=True)
    save_file({k: v.contiguous().clone() for k, v in smaller.state_dict().items()}, begin)
    parent = str(fold.folder.resolve())
    teacher_gradients = ({"name": "distilled", "run": parent, "weight": distill_weight, "share": HEARD},)
    own_gradients = tuple(g for g in recipe.gradients if g["name"] != "distilled")
    child = replace(
        recipe,
        task=fold.task.settings(),
        layer_widths=merge_widths(recipe.layer_widths, widths),
        init={"weights": str(begin.resolve())},
        gradients=(*(teacher_gradients if distill_weight and fold.task.can_distill else ()), *own_gradients),
    ).with_training(steps=0, threads=0, boost_below_steps=0, replanned=(), seed=fold.recipe.training.seed + seed)
    run.write_recipe(child)


def train_fold(fold: FoldContext, run: Run, deadline: float, steps: int) -> FoldCandidate:
    """Train the network of a run for so many steps or until the deadline, and measure its cost."""
    recipe = run.load_recipe()
    if steps and not run.has_started:
        recipe = recipe.with_training(steps=steps)
    learner = Trainer(run, recipe, fold.task, fold.train_cases, fold.validation_cases, fold.compute)
    run_descent(learner, FitOptions(deadline, 0, fold.device), fold.progress)
    return fold.measure_run(run)

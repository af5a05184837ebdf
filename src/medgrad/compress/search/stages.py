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
from ...engine.runs.run import Run, network_of
from ...engine.training.fit import FitOptions, run_descent
from ...engine.training.trainer import Trainer
from ...errors import SettingError
from ..structure.layers import merged_widths, without
from .fold import FoldContext, Part
from .parents import Child, Parents
from .selection import Choice, widths_for
from .shrinking import SHOWN, check_feasible, drop_layers, prune_channels, share_of_time
from .stage_plan import ALL_BRIEF, Ended, Plan, Stage, are_few, is_good, next_stage, stages_down
from .target import TIME, Target

STRIDE = 0.4
"""Each stage on the way down costs at least so much of the one before: who loses little at a time forgets little."""
FEWEST = 60
"""A network that learned for less than so many steps of its parent is not worth cutting again."""
FEWEST_WITHOUT = 2500
"""A network that lacks whole layers takes so many steps to make up for them; where there is less time, none go."""
TAUGHT, HEARD = 0.5, 0.5
"""The weight of what the parent says where it teaches, and the share of each batch that it is asked about."""
SLOWER = 1.5
"""The parent is not asked where that would make a step of the smallest network take more than so many times as long."""


@dataclass(frozen=True)
class Effort:
    """How much is learned in all: ``steps`` or, where these are 0, until the ``deadline`` on the clock.

    ``taught`` is the weight of what the parent says; None chooses by whether it pays. With ``reach`` the search goes to
    the target whatever it costs. The search is for a person who gave so many ``minutes``.
    """

    steps: int
    deadline: float
    minutes: float = 0.0
    taught: float | None = None
    reach: bool = False
    seed: int = 0


@dataclass
class Search:
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
    children: list[Child] = field(default_factory=list)

    def write(self) -> None:
        """Write the state to ``search.json``."""
        kept = {k: v for k, v in vars(self).items() if k not in ("folder", "stages", "children")}
        kept |= {"stages": [asdict(s) for s in self.stages], "children": [c.kept(self.folder) for c in self.children]}
        write_text(self.folder / "search.json", json.dumps(kept, indent=1) + "\n")

    @classmethod
    def read(cls, folder: Path) -> Search | None:
        """Read the state from a folder; None where no search was started."""
        path = folder / "search.json"
        if not path.exists():
            return None
        kept = json.loads(path.read_text(encoding="utf-8"))
        stages = [Stage(**s) for s in kept.pop("stages")]
        children = [Child.known(c, folder) for c in kept.pop("children")]
        return cls(folder, **kept, stages=stages, children=children)

    @property
    def ended(self) -> list[Ended]:
        """The results of the stages that are finished."""
        each = zip(self.stages, self.children, strict=False)
        return [Ended(s, c.score, c.verdict.loss, c.verdict.bound, c.verdict.margin) for s, c in each]

    @property
    def twin(self) -> int | None:
        """The number of the stage that differs from the last one only in whether it was distilled."""
        last = self.stages[-1]
        alike = [replace(s, time=0.0, taught=last.taught) == replace(last, time=0.0) for s in self.stages[:-1]]
        return next((n for n, s in enumerate(self.stages[:-1]) if alike[n] and s.taught != last.taught), None)

    def plan(self, goal: Target, *, reach: bool) -> Plan:
        """Make the plan that the next stage is chosen by."""
        down = [(number + 1) / self.count for number in range(self.count)]
        return Plan(self.time, down, goal.shares[goal.first], self.brief, reach, self.teaches)

    def best(self, *, reach: bool) -> int | None:
        """Give the number of the smallest non-inferior network, or just of the smallest; of several the best.

        Where none is non-inferior and the patients are too few to show it, the smallest that loses less than the
        margin.
        """
        ended = self.ended
        every = [(e.stage.down, e.score, n) for n, e in enumerate(ended)]
        good = [one for one, e in zip(every, ended, strict=True) if reach or is_good(ended, e)]
        near = [one for one, e in zip(every, ended, strict=True) if are_few(ended) and e.loss < e.margin]
        return max(good or near)[2] if good or near else None


def search(parents: Parents, goal: Target, choice: Choice, effort: Effort, folder: Path) -> Search:
    """Train stage by stage, all folds side by side, until the time is used up."""
    kept = begun(parents, goal, choice, effort, folder)
    choice, is_cut_off = replace(choice, **kept.choice, free=()), len(kept.stages) > len(kept.children)
    while True:
        began = time.perf_counter()
        if not is_cut_off:
            stage = next_stage(kept.plan(goal, reach=effort.reach), kept.ended, kept.left)
            if stage is None:
                return kept
            if kept.counts_steps:
                stage = replace(stage, time=float(max(len(parents.each), round(stage.time))))
            kept.stages.append(stage)
            kept.write()
        parents.progress.say(told_stage(kept, goal))
        child = learned_stage(parents, goal, choice, kept, effort)
        kept.children.append(child)
        taken = 0.0 if kept.counts_steps else time.perf_counter() - began
        kept.left -= max(taken, kept.stages[-1].time) if kept.counts_steps or is_cut_off else taken
        kept.write()
        parents.progress.say(f"{child.score:.4f}, its parent {parents.score('chooses'):.4f}. {child.verdict}")
        is_cut_off = False


def begun(parents: Parents, goal: Target, choice: Choice, effort: Effort, folder: Path) -> Search:
    """Resume an interrupted search, with the minutes that were added, or start a new one."""
    target = str(goal)
    kept = Search.read(folder)
    if kept is not None:
        kept.children = [child.with_margin(parents.margin) for child in kept.children]
        if kept.target != target:
            raise SettingError(f"The search in {str(folder)!r} has begun for {kept.target}. Name a new folder.")
        more = 0.0 if kept.counts_steps else 60 * max(0.0, effort.minutes - kept.minutes)
        kept.left, kept.time, kept.minutes = kept.left + more, kept.time + more, max(kept.minutes, effort.minutes)
        return kept
    graphs = [(ground.graph(ground.network), ground.network) for ground in parents.each]
    choice = widths_for(choice, graphs, {what: share for what, share in goal.shares.items() if what != TIME})
    gone = []
    for ground, place in zip(parents.each, parents.places(folder), strict=True):
        needs = choice.layers or ("layers" in choice.free and can_miss_layers(parents, goal, effort))
        gone.append(drop_layers(ground, goal, choice, place) if needs else [])
        network = without(ground.network, gone[-1]) if gone[-1] else ground.network
        check_feasible(ground, network, goal, choice)
    settled = {"least": choice.least, "multiple": choice.multiple, "floor": choice.floor}
    said = f"Layers keep at least {choice.floor:.0%} of their channels, in multiples of {choice.multiple}"
    parents.progress.say(f"{said}; left out whole: {', '.join(n for names in gone for n in names) or 'none'}.")
    whole = float(effort.steps) or max(1.0, effort.deadline - time.perf_counter())
    least = 0.0 if effort.steps else (SHOWN + FEWEST) * parents.step_seconds
    count, brief = stages_down(whole, goal.stages(STRIDE), least)
    is_short = not effort.steps and (count + 1) * brief > ALL_BRIEF * whole
    kept = Search(
        folder,
        target,
        effort.minutes,
        time=whole,
        left=whole,
        count=count,
        brief=brief,
        choice=settled,
        gone=gone,
        teaches=teaching(parents, goal, effort, is_short=is_short),
        weight=effort.taught or TAUGHT,
        counts_steps=effort.steps > 0,
    )
    kept.write()
    return kept


def can_miss_layers(parents: Parents, goal: Target, effort: Effort) -> bool:
    """Tell whether time is targeted and there is enough of it to train without whole layers."""
    share = share_of_time(goal)
    left = effort.deadline - time.perf_counter()
    steps = effort.steps or (1 - ALL_BRIEF) * left / (share * parents.step_seconds)
    return TIME in goal.shares or (share < 1 and steps >= FEWEST_WITHOUT)


def teaching(parents: Parents, goal: Target, effort: Effort, *, is_short: bool = False) -> bool | str:
    """Choose whether to distil from the parent: as asked, or "tried" where it may pay.

    It is not tried where time is short, or where the parent would make a step of the smallest network much
    slower: a step costs about three forward passes, and the parent answers about a part of the batch.
    """
    if not all(can_be_taught(ground) for ground in parents.each) or effort.taught == 0:
        return False
    if effort.taught is not None:
        return True
    share = share_of_time(goal) if share_of_time(goal) < 1 else goal.shares[goal.first]
    return "tried" if not is_short and 1 + HEARD / (3 * share) <= SLOWER else False


def told_stage(kept: Search, goal: Target) -> str:
    """Describe the stage that starts, for the progress display."""
    stage, down = kept.stages[-1], len(kept.stages)
    again = [n for n, e in enumerate(kept.stages[:-1]) if e.down == stage.down]
    what = "learns on" if again and stage.begin in again else f"is cut to {goal.at(stage.down)} and learns"
    taught = ", taught by its parent" if stage.taught else ""
    source = "the parent" if stage.begin < 0 else f"the network of stage {stage.begin + 1}"
    return f"Stage {down}: {source} {what}{taught}."


def learned_stage(parents: Parents, goal: Target, choice: Choice, kept: Search, effort: Effort) -> Child:
    """Train the networks of a stage, fold by fold, and compare them with their parents."""
    number, stage = len(kept.stages) - 1, kept.stages[-1]
    began, parts = time.perf_counter(), list[Part]()
    for place, ground in enumerate(parents.each):
        run = Run(parents.places(kept.folder)[place] / str(number))
        if not run.has_begun:
            weight, seed = kept.weight if stage.taught else 0.0, effort.seed + stage.begin + 1
            if (twin := kept.twin) is not None:
                copy_begin(ground, Run(kept.children[twin].each[place].folder), run, weight, seed)
            else:
                source = None if stage.begin < 0 else Run(kept.children[stage.begin].each[place].folder)
                is_cut = source is None or kept.stages[stage.begin].down != stage.down
                near = goal.at(stage.down) if is_cut else None
                begin_stage(ground, run, source, kept.gone[place], near, choice, weight, seed)
        until = began + stage.time * (place + 1) / len(parents.each)
        steps = max(1, round(stage.time / len(parents.each))) if kept.counts_steps else 0
        parts.append(learned(ground, run, until if not steps else inf, steps))
    return parents.child(choice.criterion, parts, "chooses")


def copy_begin(ground: FoldContext, twin: Run, run: Run, weight: float, seed: int) -> None:
    """Write the recipe of a stage with the starting weights of its counterpart, with distillation switched."""
    recipe = twin.recipe()
    network = ground.built(recipe)
    load_pretrained(network, {"weights": str(twin.folder / "weights" / "begin.safetensors")})
    write_child(ground, recipe, network, {}, run, weight, seed)


def begin_stage(
    ground: FoldContext,
    run: Run,
    source: Run | None,
    gone: Sequence[str],
    goal: Target | None,
    choice: Choice,
    weight: float,
    seed: int,
) -> None:
    """Prune a network to a target, if one is given, and write the recipe and starting weights of the stage."""
    if source is None:
        network = without(ground.network, gone)
        widths = merged_widths(ground.recipe.widths, dict.fromkeys(gone, ()))
        recipe = replace(ground.recipe, widths=widths)
    else:
        (network, _), recipe = network_of(source), source.recipe()
    lost: Mapping[str, Sequence[int]] = {}
    if goal is not None:
        network, lost = prune_channels(
            ground, network, goal, choice, lambda: ground.batches(recipe, run.folder / "seen")
        )
    write_child(ground, recipe, network, lost, run, weight, seed)


def write_child(
    ground: FoldContext,
    recipe: Recipe,
    smaller: nn.Module,
    widths: Mapping[str, Sequence[int]],
    run: Run,
    weight: float,
    seed: int,
) -> None:
    """Write the recipe and the starting weights of a pruned network."""
    begin = run.folder / "weights" / "begin.safetensors"
    begin.parent.mkdir(parents=True, exist_ok=True)
    save_file({k: v.contiguous().clone() for k, v in smaller.state_dict().items()}, begin)
    parent = str(ground.folder.resolve())
    teaching = ({"name": "distilled", "run": parent, "weight": weight, "share": HEARD},)
    own = tuple(g for g in recipe.gradients if g["name"] != "distilled")
    child = replace(
        recipe,
        task=ground.task.settings(),
        widths=merged_widths(recipe.widths, widths),
        start={"weights": str(begin.resolve())},
        gradients=(*(teaching if weight and can_be_taught(ground) else ()), *own),
    ).with_training(steps=0, threads=0, brief=0, replanned=(), seed=ground.recipe.training.seed + seed)
    run.write_recipe(child)


def can_be_taught(ground: FoldContext) -> bool:
    """Tell whether the parent can be a teacher: a two-stage detector chooses its own proposals, so it cannot."""
    return getattr(ground.task, "detector", "") != "two_stage"


def learned(ground: FoldContext, run: Run, deadline: float, steps: int) -> Part:
    """Train the network of a run for so many steps or until the deadline, and measure its cost."""
    recipe = run.recipe()
    if steps and not run.has_begun:
        recipe = recipe.with_training(steps=steps)
    learner = Trainer(run, recipe, ground.task, ground.train, ground.valid, ground.place)
    run_descent(learner, FitOptions(deadline, 0, ground.device), ground.progress)
    return ground.part(run)

"""Train with automatic fixes: on a training problem, change the recipe and resume from the last healthy checkpoint."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ... import registry
from ...descent.diagnostics import CHECKS_IN_A_ROW, Finding
from ...errors import Diverged, SettingError
from ..runs.checkpoint import read_checkpoint, write_checkpoint
from ..runs.recipe import Recipe, find_network
from ..runs.run import Run
from .time_budget import TimeBudget
from .trackers import LogFigures
from .trainer import OnStep, Trainer, run_training

MAX_REMEDIES = 6
"""How many remedies are tried before a run goes on as it is."""
CLIP_NORM = 1.0
WARMUP_SHARE = 0.1


@dataclass(frozen=True)
class Remedy:
    """A changed recipe and its description; the factor of the learning rate, and whether training restarts."""

    recipe: Recipe
    description: str
    rate_factor: float = 1.0
    restarts: bool = False


class NeedsFix(Exception):  # noqa: N818  (no error: it is caught where it is healed)
    """Raised to interrupt a training that is to be fixed."""

    def __init__(self, finding: Finding) -> None:
        super().__init__(finding.sentence)
        self.finding = finding


def train_with_fixes(
    trainer: Trainer,
    *,
    auto_fix: bool,
    on_message: Callable[[str], None],
    on_step: OnStep | None = None,
    trackers: Sequence[LogFigures] = (),
    time_budget: TimeBudget | None = None,
) -> str:
    """Train a run, and report problems of the network; with ``auto_fix``, fix them and resume."""
    if auto_fix and trainer.processes.size > 1:
        raise SettingError("A team of processes cannot be healed together. Use one process, or leave --auto-fix away.")
    applied_remedies = previous_remedies(trainer.run)
    while True:
        may_fix = auto_fix and len(applied_remedies) < MAX_REMEDIES
        try:
            handle_finding = make_finding_handler(trainer.recipe, on_message, may_fix)
            return run_training(
                trainer, on_step=on_step, trackers=trackers, on_finding=handle_finding, time_budget=time_budget
            )
        except NeedsFix as ailing:
            finding = ailing.finding
        except Diverged as reason:
            if not may_fix:
                raise
            finding = Finding(trainer.steps_done, "exploding", "the network", str(reason))
            on_message(finding.sentence)
        remedy = choose_remedy(finding, trainer.recipe)
        assert remedy is not None  # what has none was not raised
        begin = return_to_healthy_checkpoint(trainer, finding, remedy)
        words = f"Healed: {remedy.description}; it goes on from {f'step {begin}' if begin else 'the beginning'}."
        on_message(words)
        applied_remedies.append(
            {
                "step": finding.step,
                "kind": finding.kind,
                "layer": finding.layer,
                "sentence": finding.sentence,
                "remedy": words,
            }
        )
        trainer.run.write_facts(healed=applied_remedies)


def previous_remedies(run: Run) -> list[dict[str, Any]]:
    """Return the remedies that a run has had already."""
    return list(run.read_facts().get("healed", []))


def make_finding_handler(
    recipe: Recipe, on_message: Callable[[str], None], auto_fix: bool
) -> Callable[[Finding], None]:
    """Return a handler of findings: it reports them, and interrupts the training where there is a remedy."""

    def handle_finding(finding: Finding) -> None:
        on_message(f"Step {finding.step}: {finding.sentence}")
        if auto_fix and choose_remedy(finding, recipe) is not None:
            raise NeedsFix(finding)

    return handle_finding


def choose_remedy(finding: Finding, recipe: Recipe) -> Remedy | None:
    """Choose the remedy for a finding; None where none is known."""
    if finding.kind == "exploding":
        return lower_rate(recipe, 0.1)
    if finding.kind in ("dead", "saturated"):
        return lower_rate(recipe, 0.3)
    if finding.kind == "vanishing":
        return add_normalisation(recipe)
    return None


def lower_rate(recipe: Recipe, factor: float) -> Remedy:
    """Lower the learning rate, clip the gradients, and add a warmup."""
    rate = float(recipe.optimiser.get("rate", default_setting("descent.optimisers", recipe.optimiser, "rate"))) * factor
    words = [f"the rate is {rate:.2g}"]
    gradients = recipe.gradients
    if not any(g["name"] == "clipped" for g in gradients):
        gradients = (*gradients, {"name": "clipped", "norm": CLIP_NORM})
        words.append(f"gradients are clipped at {CLIP_NORM:g}")
    schedule = dict(recipe.schedule)
    warm = schedule.get("warmup", default_setting("descent.schedules", schedule, "warmup"))
    if warm is not None and warm < WARMUP_SHARE:
        schedule["warmup"] = WARMUP_SHARE
        words.append(f"the rate rises over a {WARMUP_SHARE:.0%} of the steps")
    changed = replace(recipe, optimiser={**recipe.optimiser, "rate": rate}, gradients=gradients, schedule=schedule)
    return Remedy(changed, ", ".join(words), factor)


def add_normalisation(recipe: Recipe) -> Remedy:
    """Add normalisation and skip connections where the network has such settings, else normalise gradients."""
    defaults = registry.keyword_defaults(find_network(recipe.model["name"], recipe.task["kind"]))
    usual, changes, words = defaults.get("normalise"), dict[str, Any](), list[str]()
    if usual not in (None, "none") and recipe.model.get("normalise", usual) == "none":
        changes["normalise"] = usual
        words.append(f"the layers are normalised ({usual})")
    if defaults.get("skip") is False and not recipe.model.get("skip", False):
        changes["skip"] = True
        words.append("ways lead around the layers")
    if changes:
        return Remedy(replace(recipe, model={**recipe.model, **changes}), ", ".join(words), restarts=True)
    if any(g["name"] == "normalised" for g in recipe.gradients):
        return lower_rate(recipe, 0.3)
    changed = replace(recipe, gradients=(*recipe.gradients, {"name": "normalised", "each": True}))
    return Remedy(changed, "the gradient of each layer is scaled to one length", restarts=True)


def default_setting(package: str, table: Mapping[str, Any], key: str) -> Any:
    """Return the default of a setting of the named part; None where it has no such setting."""
    return registry.keyword_defaults(registry.find(package, table["name"])).get(key)


def return_to_healthy_checkpoint(trainer: Trainer, finding: Finding, remedy: Remedy) -> int:
    """Write the changed recipe, and return to the last checkpoint before the problem; return its step."""
    run = trainer.run
    trainer.recipe = remedy.recipe
    run.write_recipe(remedy.recipe)
    healthy_state = None
    for path in () if remedy.restarts else (run.last_checkpoint, run.best_checkpoint):
        state = read_checkpoint(path) if path.exists() else None
        if healthy_state is None and state is not None and int(state["done"]) <= finding.step - CHECKS_IN_A_ROW:
            healthy_state = state
    for path in (run.last_checkpoint, run.best_checkpoint):
        path.unlink(missing_ok=True)
    trainer.reset()
    if healthy_state is None:
        return 0
    healthy_state.setdefault("gradients", trainer.gradients.state_dict())  # the best weights come without
    for group in healthy_state["optimiser"]["param_groups"]:
        for key in {"lr", "base_rate"} & group.keys():
            group[key] *= remedy.rate_factor
    write_checkpoint(run.last_checkpoint, healthy_state)
    return int(healthy_state["done"])

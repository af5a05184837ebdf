"""Train with automatic fixes: on a training problem, change the recipe and resume from the last healthy checkpoint."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ... import registry
from ...descent.diagnostics import LASTS, Finding
from ...errors import Diverged, SettingError
from ..runs.checkpoint import read_checkpoint, write_checkpoint
from ..runs.recipe import Recipe
from ..runs.run import Run
from .pace import Pace
from .trackers import Track
from .trainer import Trainer, Watch, learn

MOST = 6
"""How many remedies are tried before a run goes on as it is."""
CLIP = 1.0
WARM = 0.1


@dataclass(frozen=True)
class Remedy:
    """A changed recipe and its description; the factor of the learning rate, and whether training restarts."""

    recipe: Recipe
    words: str
    slower: float = 1.0
    anew: bool = False


class NeedsFix(Exception):  # noqa: N818  (no error: it is caught where it is healed)
    """Raised to interrupt a training that is to be fixed."""

    def __init__(self, finding: Finding) -> None:
        super().__init__(finding.sentence)
        self.finding = finding


def train_with_fixes(
    learner: Trainer,
    *,
    heal: bool,
    say: Callable[[str], None],
    watch: Watch | None = None,
    trackers: Sequence[Track] = (),
    pace: Pace | None = None,
) -> str:
    """Train a run, and report problems of the network; with ``heal``, fix them and resume."""
    if heal and learner.team.size > 1:
        raise SettingError("A team of processes cannot be healed together. Use one process, or leave --auto-fix away.")
    healed = told_before(learner.run)
    while True:
        tries = heal and len(healed) < MOST
        try:
            heed = heed_of(learner.recipe, say, tries)
            return learn(learner, watch=watch, trackers=trackers, heed=heed, pace=pace)
        except NeedsFix as ailing:
            finding = ailing.finding
        except Diverged as reason:
            if not tries:
                raise
            finding = Finding(learner.done, "exploding", "the network", str(reason))
            say(finding.sentence)
        remedy = remedy_for(finding, learner.recipe)
        assert remedy is not None  # what has none was not raised
        begin = go_back(learner, finding, remedy)
        words = f"Healed: {remedy.words}; it goes on from {f'step {begin}' if begin else 'the beginning'}."
        say(words)
        healed.append({"step": finding.step, "kind": finding.kind, "layer": finding.layer, "sentence": finding.sentence,
                       "remedy": words})  # fmt: skip
        learner.run.note(healed=healed)


def told_before(run: Run) -> list[dict[str, Any]]:
    """Return the remedies that a run has had already."""
    return list(run.noted().get("healed", []))


def heed_of(recipe: Recipe, say: Callable[[str], None], heal: bool) -> Callable[[Finding], None]:
    """Return a handler of findings: it reports them, and interrupts the training where there is a remedy."""

    def heed(finding: Finding) -> None:
        say(f"Step {finding.step}: {finding.sentence}")
        if heal and remedy_for(finding, recipe) is not None:
            raise NeedsFix(finding)

    return heed


def remedy_for(finding: Finding, recipe: Recipe) -> Remedy | None:
    """Choose the remedy for a finding; None where none is known."""
    if finding.kind == "exploding":
        return lower_rate(recipe, 0.1)
    if finding.kind in ("dead", "saturated"):
        return lower_rate(recipe, 0.3)
    if finding.kind == "vanishing":
        return add_normalisation(recipe)
    return None


def lower_rate(recipe: Recipe, slower: float) -> Remedy:
    """Lower the learning rate, clip the gradients, and add a warmup."""
    rate = float(recipe.optimiser.get("rate", default_of("descent.optimisers", recipe.optimiser, "rate"))) * slower
    words = [f"the rate is {rate:.2g}"]
    gradients = recipe.gradients
    if not any(g["name"] == "clipped" for g in gradients):
        gradients = (*gradients, {"name": "clipped", "norm": CLIP})
        words.append(f"gradients are clipped at {CLIP:g}")
    schedule = dict(recipe.schedule)
    warm = schedule.get("warmup", default_of("descent.schedules", schedule, "warmup"))
    if warm is not None and warm < WARM:
        schedule["warmup"] = WARM
        words.append(f"the rate rises over a {WARM:.0%} of the steps")
    changed = replace(recipe, optimiser={**recipe.optimiser, "rate": rate}, gradients=gradients, schedule=schedule)
    return Remedy(changed, ", ".join(words), slower)


def add_normalisation(recipe: Recipe) -> Remedy:
    """Add normalisation and skip connections where the network has such settings, else normalise gradients."""
    usual, changes, words = default_of("models", recipe.model, "normalise"), dict[str, Any](), list[str]()
    if usual not in (None, "none") and recipe.model.get("normalise", usual) == "none":
        changes["normalise"] = usual
        words.append(f"the layers are normalised ({usual})")
    if default_of("models", recipe.model, "around") is False and not recipe.model.get("around", False):
        changes["around"] = True
        words.append("ways lead around the layers")
    if changes:
        return Remedy(replace(recipe, model={**recipe.model, **changes}), ", ".join(words), anew=True)
    if any(g["name"] == "normalised" for g in recipe.gradients):
        return lower_rate(recipe, 0.3)
    changed = replace(recipe, gradients=(*recipe.gradients, {"name": "normalised", "each": True}))
    return Remedy(changed, "the gradient of each layer is scaled to one length", anew=True)


def default_of(room: str, table: Mapping[str, Any], key: str) -> Any:
    """Return the default of a setting of the named part; None where it has no such setting."""
    return registry.settings(registry.find(room, table["name"])).get(key)


def go_back(learner: Trainer, finding: Finding, remedy: Remedy) -> int:
    """Write the changed recipe, and return to the last checkpoint before the problem; return its step."""
    run = learner.run
    learner.recipe = remedy.recipe
    run.write_recipe(remedy.recipe)
    sound = None
    for path in () if remedy.anew else (run.last, run.best):
        state = read_checkpoint(path) if path.exists() else None
        if sound is None and state is not None and int(state["done"]) <= finding.step - LASTS:
            sound = state
    for path in (run.last, run.best):
        path.unlink(missing_ok=True)
    learner.begin()
    if sound is None:
        return 0
    for group in sound["optimiser"]["param_groups"]:
        for key in {"lr", "base_rate"} & group.keys():
            group[key] *= remedy.slower
    write_checkpoint(run.last, sound)
    return int(sound["done"])

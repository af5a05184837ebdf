"""``medgrad plan``: plan a recipe for the data and the training time."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from ...engine.progress import Progress
from ._arguments import Labels, Roi, Seed, Task, Truth, UntilPlateau
from ._checks import check_budget, check_new_file, check_part, check_training_options


def plan(
    folder: Annotated[Path, typer.Argument(help="The folder (or the file that holds a set) to plan for.")],
    *,
    out: Annotated[Path, typer.Option("--out", "-o", help="The recipe to write.")] = Path("recipe.toml"),
    minutes: Annotated[float, typer.Option(help="How long training may take.")] = 20.0,
    steps: Annotated[int, typer.Option(help="How many steps to take, instead of minutes.")] = 0,
    until_plateau: UntilPlateau = False,
    model: Annotated[str, typer.Option(help="The network, by its name.")] = "",
    task: Task = None,
    truth: Truth = None,
    roi: Roi = None,
    labels: Labels = None,
    seed: Seed = 0,
    find_rate: Annotated[
        bool, typer.Option("--find-rate", help="Try rates from far too low to far too high, and take what suits.")
    ] = False,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Write the recipe that fit would use: a TOML file to read, change and give to fit with --recipe."""
    check_budget(minutes, steps, seed)
    check_part("--model", model, "models")
    check_training_options(folder, task=task)
    check_new_file(out, folder, such_as="recipe.toml")

    import torch

    from ...data.atomic_files import write_text
    from ...engine.progress import SilentProgress
    from ...engine.runs.recipe import merge_changes, recipe_to_toml
    from ...engine.training.plan import Budget
    from ...engine.training.plan import plan as make
    from ...survey.dataset_facts import gather_dataset_facts
    from ._cohort import check_model, find_cohort

    cohort, seen = find_cohort(
        folder,
        truth=truth,
        roi=roi,
        task=task,
        labels=labels,
        allow_leak=True,
        seed=seed,
        check=lambda cohort: check_model(cohort, model),
        progress=progress or SilentProgress(),
    )
    budget = Budget(minutes, steps, until_plateau)
    facts = gather_dataset_facts(cohort, modality=seen.statistics.get("modality"), survey=seen.survey)
    recipe = make(facts, budget, has_gpu=torch.cuda.is_available(), seed=seed, model=model)
    recipe = merge_changes(recipe, {"model": {"name": model}}) if model else recipe
    found: dict[str, Any] = {}
    if find_rate:
        recipe, found = find_and_set_rate(cohort, recipe, Path(out), seed, progress or SilentProgress())
    write_text(Path(out), recipe_to_toml(recipe))
    return {"text": recipe_to_toml(recipe), "recipe": str(out), **found}


def find_and_set_rate(cohort: Any, recipe: Any, out: Path, seed: int, progress: Progress) -> tuple[Any, dict[str, Any]]:
    """Set the learning rate of a recipe by a range test, and write the page of its curve."""
    from tempfile import TemporaryDirectory

    from ...data.cohorts.split import split as make_split
    from ...engine.compute.device import choose_device
    from ...engine.loading.cache import load_split
    from ...engine.runs.recipe import merge_changes
    from ...engine.runs.run import Run
    from ...engine.training.lr_finder import find_rate as find
    from ...engine.training.trainer import Trainer
    from ...prepare import build_steps
    from ...report import write_rate

    with TemporaryDirectory() as folder:
        side = make_split(cohort, seed=seed)
        cases, _ = load_split(
            side, "train", build_steps(recipe.prepare), Path(folder), progress, (), recipe.build_task()
        )
        place = choose_device(recipe.training.precision)
        found = find(Trainer(Run(Path(folder)), recipe, recipe.build_task(), cases, [], place))
    page = write_rate(out.with_name(f"{out.stem}-rate.html"), found.rates, found.losses, found.rate)
    return merge_changes(recipe, {"optimiser": {"rate": found.rate}}), {"rate": found.rate, "curve": str(page)}


THIS = plan

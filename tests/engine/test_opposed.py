"""Two networks against each other are one new file of gradients: trained, clipped, averaged, killed and resumed."""

import json
import sys
from dataclasses import replace
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
import torch

from medgrad import registry
from medgrad.data import Case, Grid, Image, LabelMap
from medgrad.descent.gradients import build_gradients
from medgrad.engine.compute.device import AutocastModule, Compute, choose_device
from medgrad.engine.loading.cache import PreparedCase
from medgrad.engine.loading.sampling import index_labels
from medgrad.engine.runs.checkpoint import read_checkpoint
from medgrad.engine.runs.recipe import Recipe, Training, read_recipe
from medgrad.engine.runs.run import Run
from medgrad.engine.training.trainer import Trainer, run_training
from medgrad.errors import FormatError, SettingError
from medgrad.tasks import stack_samples

PARTS = Path(__file__).parents[1] / "plugins"
ROOMS = {"descent.gradients": PARTS / "descent" / "gradients", "models": PARTS / "models"}


@pytest.fixture(scope="module", autouse=True)
def parts():
    """Put one new file into each of two folders, for as long as these tests run."""
    packages = {import_module(f"medgrad.{room}"): folder for room, folder in ROOMS.items()}
    for package, folder in packages.items():
        package.__path__.append(str(folder))
    registry._list_modules.cache_clear()
    yield
    for package, folder in packages.items():
        package.__path__.remove(str(folder))
        for file in folder.glob("*.py"):
            sys.modules.pop(f"{package.__name__}.{file.stem}", None)
    registry._list_modules.cache_clear()


def prepared(number):
    rng, grid = np.random.default_rng(number), Grid.from_shape((12, 12))
    labels = np.zeros(grid.shape, np.uint8)
    labels[2 + number : 7 + number, 3:8] = 1
    image = Image((labels + rng.normal(0, 0.3, grid.shape)).astype(np.float32), grid)
    case = index_labels(Case(f"case-{number}", {"image": image}, LabelMap(labels, grid, {1: "spot"})))
    return PreparedCase(case, (), case)


CASES = [prepared(number) for number in range(4)]


def recipe(**settings):
    return Recipe(
        task={"kind": "segmentation", "dims": 2, "labels": ("spot",)},
        model={"name": "opposed_pair"},
        optimiser={"name": "adamw", "rate": 3e-2},
        gradients=({"name": "opposed", **settings}, {"name": "clipped", "norm": 1.0}),
        training=Training(steps=14, batch=2, patch=(12, 12), validations=0, threads=1, precision="float32"),
    )


def trainer(folder, chosen):
    run = Run(folder)
    run.write_recipe(chosen)
    return Trainer(run, read_recipe(run.recipe_file), chosen.build_task(), CASES, [], choose_device("float32", "cpu"))


def lines(folder):
    found = [json.loads(line) for line in (folder / "steps.jsonl").read_text().splitlines()]
    return [{k: v for k, v in line.items() if k != "seconds"} for line in found]


def weights(folder, name="best"):
    return read_checkpoint(folder / "weights" / f"{name}.safetensors")


class KilledError(Exception):
    pass


def killed(folder, chosen, at):
    def kill(done, *_):
        if done == at:
            raise KilledError

    with pytest.raises(KilledError):
        run_training(trainer(folder, chosen.with_training(validations=14)), on_step=kill)
    return folder


@pytest.fixture(scope="module")
def whole(parts, tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    run_training(trainer(folder, recipe()))
    return folder


def test_both_networks_learn_and_the_segmentation_gets_better(whole):
    fresh = trainer(whole.parent / "fresh", recipe()).network.state_dict()
    learned = weights(whole)
    assert all(not torch.equal(learned["model"][name], fresh[name]) for name in fresh)
    assert all(not torch.equal(learned["ema"][name], learned["model"][name]) for name in fresh)
    losses = [sum(line["loss"].values()) - line["loss"]["adversarial"] for line in lines(whole)]
    assert np.mean(losses[-3:]) < 0.7 * np.mean(losses[:3])


def test_other_methods_wrap_it(whole):
    assert all(line["gradient/norm"] > 0 and "adversarial/accuracy" in line for line in lines(whole))
    chain = build_gradients([{"name": "clipped"}, {"name": "opposed"}])
    assert [name for name, _ in chain.links] == ["opposed", "clipped"]


def test_its_objectives_are_opposite(whole):
    made = trainer(whole.parent / "opposite", recipe())
    network, rule = made.network, build_gradients([{"name": "opposed", "weight": 100.0}])
    batch = stack_samples([made.task.encode(ready.case) for ready in CASES])

    def told_after_a_step_of(part):
        torch.manual_seed(0)
        told = rule(network, made.task, batch)
        with torch.no_grad():
            for p in part.parameters():
                p -= 1e-2 * p.grad / p.grad.norm()
        return told

    before = told_after_a_step_of(network.generator)
    between = told_after_a_step_of(network.discriminator)
    after = rule(network, made.task, batch)
    assert between["adversarial"] < before["adversarial"]
    assert between["adversarial/apart"] > before["adversarial/apart"]
    assert after["adversarial/apart"] < between["adversarial/apart"]


def test_killed_and_resumed_it_comes_to_the_same_bits(whole, tmp_path):
    killed(tmp_path, recipe(), at=6)
    state = weights(tmp_path, "last")["gradients"]
    assert state["0.opposed"]["accuracy"] == pytest.approx(lines(tmp_path)[5]["adversarial/accuracy"])
    run_training(trainer(tmp_path, recipe()))
    ours = [{k: v for k, v in line.items() if k != "health"} for line in lines(tmp_path)]
    assert ours == [{k: v for k, v in line.items() if k != "health"} for line in lines(whole)]
    for kept in ("model", "ema"):
        assert all(torch.equal(v, weights(whole)[kept][k]) for k, v in weights(tmp_path)[kept].items())


def test_secret_noise_is_not_repeated_by_the_recipe_but_by_a_checkpoint(tmp_path):
    chosen = recipe(secret_noise=0.1)
    first, second = (killed(tmp_path / name, chosen, at=4) for name in ("first", "second"))
    assert lines(first)[0]["loss"] == lines(second)[0]["loss"]
    assert lines(first)[1]["loss"] != lines(second)[1]["loss"]
    copy = tmp_path / "copy"
    for path in first.rglob("*"):
        if path.is_file():
            (copy / path.relative_to(first)).parent.mkdir(parents=True, exist_ok=True)
            (copy / path.relative_to(first)).write_bytes(path.read_bytes())
    for folder in (first, copy):
        run_training(trainer(folder, chosen))
    assert [line["loss"] for line in lines(first)] == [line["loss"] for line in lines(copy)]
    assert "gradients" not in weights(first, "best")


def test_a_checkpoint_of_other_methods_is_told(tmp_path):
    killed(tmp_path, recipe(), at=2)
    with pytest.raises(FormatError, match=r"holds the state of 0\.opposed, but .* needs that of none"):
        run_training(trainer(tmp_path, replace(recipe(), gradients=({"name": "clipped"},))))


def test_two_methods_that_compute_gradients_are_refused():
    with pytest.raises(SettingError, match="several methods that compute the gradients themselves: opposed, plain"):
        build_gradients([{"name": "opposed"}, {"name": "plain"}])


def test_a_part_runs_as_the_whole_does():
    network = registry.find("models", "opposed_pair")(1, 2, 2)
    x = torch.randn(2, 1, 12, 12)
    wrapped = AutocastModule(network, Compute("cpu", torch.bfloat16))
    seen = []
    network.generator[0].register_forward_hook(lambda *about: seen.append(about[-1].dtype))
    part = wrapped.generator(x)
    assert seen == [torch.bfloat16]
    assert part.dtype == torch.float32
    assert torch.equal(part, wrapped(x))
    assert [id(p) for p in wrapped.generator.parameters()] == [id(p) for p in network.generator.parameters()]
    assert wrapped.output_kinds == ("dense",)
    with pytest.raises(AttributeError, match="nothing"):
        _ = wrapped.nothing

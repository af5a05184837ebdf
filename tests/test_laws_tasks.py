"""Laws that every task keeps. A new task file is tested here the moment it exists."""

import dataclasses
import inspect
import json
import tomllib

import numpy as np
import pytest
import torch
from tiny_set import make_facts

from medgrad import metrics, registry
from medgrad.compress.structure.channels import choose_groups, cut, importance
from medgrad.compress.structure.cost import count_cost
from medgrad.compress.structure.graph import build_graph
from medgrad.data import LabelMap
from medgrad.descent.gradients import build_gradients, total_loss
from medgrad.engine.compute.device import Compute
from medgrad.engine.evaluation.infer import predictor
from medgrad.engine.runs.recipe import Recipe, recipe_from_tables, recipe_to_toml
from medgrad.engine.runs.run import build_model
from medgrad.engine.training.loop import EMA, train
from medgrad.errors import SettingError
from medgrad.tasks import Budget, Task, full_resolution, input_names, network_arguments, run_network, stack_samples

CPU = Compute("cpu", torch.float32)
DETECTORS = [name for name in registry.names("models") if "pyramid" in registry.find("models", name).output_kinds]
SLOW = {("faster_rcnn", 3), ("retinanet", 3), ("yolo", 2)}
"""Each detector, and both numbers of axes, in little time; the slow tests look at all."""
KINDS = [
    pytest.param(
        (kind, dims, reader),
        id=f"{kind}-{dims}D{'-' * bool(reader)}{reader}",
        marks=[pytest.mark.slow] if (reader, dims) in SLOW else [],
    )
    for kind in registry.names("tasks")
    for dims in (2, 3)
    for reader in (DETECTORS if registry.find("tasks", kind)().outputs.shape == "pyramid" else [""])
]


@pytest.fixture(params=KINDS)
def task(request):
    kind, dims, reader = request.param
    return registry.find("tasks", kind)(dims=dims).for_model(reader)


@pytest.fixture
def cases(task):
    return [task.example(seed) for seed in range(8)]


def network(task, seed=0):
    """The smallest network of the house that gives what a task needs."""
    torch.manual_seed(seed)
    if task.brings_network():
        return task.network(image_channels(task))
    name = fitting(task)
    planes = image_channels(task)
    channels = (8, 16) if name == "unet" else (8, 16, 16)
    settings = {"width": 16} if task.outputs.shape == "pyramid" else {}
    return registry.find("models", name)(planes, task.outputs.channels, task.dims, channels=channels, **settings)


def image_channels(task):
    """The number of channels of the images of a task; 0 where it takes none."""
    image = task.encode(task.example(0)).inputs.get("image")
    return 0 if image is None else image.shape[0]


def fitting(task):
    """The name of the network that suits a task."""
    if task.brings_network():
        return task.kind
    return {"dense": "unet", "pooled": "cnn", "pyramid": getattr(task, "detector", "")}[task.outputs.shape]


def batches(task, cases, size=4, seed=0):
    rng = np.random.default_rng(seed)
    while True:
        yield stack_samples([task.encode(cases[i]) for i in rng.integers(len(cases), size=size)])


def learn(task, cases, model, steps=40, gradients=(), rate=3e-3):
    optimiser = registry.find("descent.optimisers", "adamw")(model.named_parameters(), rate=rate)
    return list(
        train(
            model,
            task,
            batches(task, cases),
            optimiser=optimiser,
            gradients=build_gradients(gradients),
            n_steps=steps,
            ema=EMA(model, 0.9),
        )
    )


def test_learns(task, cases):
    losses = [s.loss for s in learn(task, cases, network(task))]
    assert np.median(losses[-10:]) < 0.8 * np.mean(losses[:3])


def test_comes_nearer_to_a_teacher(task, cases):
    batch = stack_samples([task.encode(c) for c in cases[:2]])
    teacher, pupil = network(task, seed=1).eval(), network(task, seed=2).eval()
    with torch.no_grad():
        for p in teacher.parameters():
            p.add_(0.1 * torch.randn_like(p))
        known = full_resolution(run_network(teacher, batch.inputs))
    assert task.distillation_loss(known, known).item() == pytest.approx(0, abs=1e-6)
    if getattr(task, "detector", "") == "faster_rcnn":
        with pytest.raises(ValueError, match="candidates"):
            task.distillation_loss(full_resolution(run_network(pupil, batch.inputs)), known)
        return
    optimiser, apart = torch.optim.Adam(pupil.parameters(), 3e-3), []
    for _ in range(12):
        optimiser.zero_grad()
        apart.append(task.distillation_loss(full_resolution(run_network(pupil, batch.inputs)), known, temperature=2.0))
        apart[-1].backward()
        optimiser.step()
    assert apart[-1].item() < 0.9 * apart[0].item()


def test_the_truth_is_the_best_answer(task, cases):
    rows = [task.judge(c.truth, c.truth) for c in cases]
    figures = task.summarise(rows)
    assert figures[task.primary_metric] == (metrics.value_range(task.primary_metric) or (0.0, 1.0))[1]
    for name, value in figures.items():
        if value is not None and metrics.better_direction(name) == "higher" and metrics.value_range(name) == (0.0, 1.0):
            assert value == 1, name


def test_the_report_is_headed_by_figures_of_the_task(task, cases):
    figures = task.summarise([task.judge(c.truth, c.truth) for c in cases])
    assert set(task.headline_metrics) & set(figures)
    assert len(set(task.headline_metrics)) == len(task.headline_metrics)


def test_a_failed_case_counts_against_the_aim(task, cases):
    good = [task.judge(c.truth, c.truth) for c in cases]
    bad = [*good[1:], task.failed_row(cases[0].truth)]
    assert task.summarise(bad)[task.primary_metric] < task.summarise(good)[task.primary_metric]


def test_a_quick_judgement_gives_the_same_aim(task, cases):
    slow = task.summarise([task.judge(c.truth, c.truth) for c in cases])
    quick = task.summarise([task.judge(c.truth, c.truth, quick=True) for c in cases])
    assert quick[task.primary_metric] == slow[task.primary_metric]


def test_a_region_that_holds_everything_changes_nothing(task, cases):
    truth, grid = cases[0].truth, cases[0].grid
    whole = LabelMap(np.ones(grid.shape, np.uint8), grid)
    assert task.judge(truth, truth, region=whole) == task.judge(truth, truth)
    assert task.failed_row(truth, region=whole) == task.failed_row(truth)


def test_a_failed_row_has_the_numbers_of_a_judged_one(task, cases):
    assert set(task.failed_row(cases[0].truth)) == set(task.judge(cases[0].truth, cases[0].truth))


def test_needs_no_truth_to_answer(task, cases):
    blind = dataclasses.replace(cases[0], truth=None)
    shape = cases[0].grid.shape
    said = predictor([network(task)], task, patch=shape, place=CPU).answer(blind)
    assert type(said) is type(cases[0].truth)
    other = dataclasses.replace(cases[0], truth=cases[1].truth)
    seen, told = task.encode(blind).target, task.encode(other).target
    assert all(torch.equal(told[name], value) for name, value in seen.items()), "hidden truth"


def test_the_answer_does_not_depend_on_the_truth(task, cases):
    model, shape = network(task), cases[0].grid.shape
    ask = predictor([model], task, patch=shape, place=CPU).answer
    with_truth, without = ask(cases[0]), ask(dataclasses.replace(cases[0], truth=None))
    assert task.judge(with_truth, without) == task.judge(with_truth, with_truth)


def test_calibration_keeps_the_order_of_answers(task, cases):
    ask = predictor([network(task)], task, patch=cases[0].grid.shape, place=CPU).answer
    rows = [task.judge(c.truth, ask(c)) for c in cases[:4]]
    found = task.calibrated(rows)
    assert [set(row) for row in found.rows] == [set(row) for row in rows]
    assert found.task.without_calibration() == task.without_calibration()
    after = task.summarise(found.rows)
    for name, value in task.summarise(rows).items():
        if metrics.rank_only(name):
            assert after[name] == pytest.approx(value), name
    assert json.loads(json.dumps([found.report, task.details(rows)])) is not None


def test_samples_have_one_shape(task, cases):
    samples = [task.encode(c) for c in cases]
    assert len({tuple(sorted((k, v.shape) for k, v in s.inputs.items())) for s in samples}) == 1
    assert len({tuple(sorted((k, v.shape) for k, v in s.target.items())) for s in samples}) == 1


def test_is_remembered_by_the_recipe(task):
    recipe = Recipe(task=task.settings(), model={"name": fitting(task)})
    again = recipe_from_tables(tomllib.loads(recipe_to_toml(recipe)))
    assert again.build_task() == task


def proposed(task, **changes):
    return task.propose(make_facts(task.kind, task.dims, **changes), Budget(), model=getattr(task, "detector", ""))


def test_proposes_a_recipe_of_itself(task):
    recipe = recipe_from_tables(proposed(task))
    assert recipe == recipe_from_tables(json.loads(json.dumps(proposed(task))))
    assert recipe_from_tables(tomllib.loads(recipe_to_toml(recipe))) == recipe
    mine = recipe.build_task()
    assert type(mine) is type(task)
    assert mine.dims == task.dims
    assert mine.channels == ("image",)
    assert getattr(mine, "labels", ("liver", "tumour")) == ("liver", "tumour")


def test_proposes_a_network_that_gives_what_it_needs(task):
    recipe = recipe_from_tables(proposed(task, shapes=((16,) * task.dims,) * 3))
    mine, image = recipe.build_task(), torch.zeros(1, 2, *recipe.training.patch)
    made = build_model(recipe, mine, 2).eval()
    inputs = {"image": image} if input_names(made) == ("image",) else {}
    if not inputs:
        inputs = dict(stack_samples([mine.encode(mine.example(0))]).inputs)
        inputs |= {} if task.brings_network() else {"image": image}
    with torch.no_grad():
        output = full_resolution(run_network(made, inputs))
    assert mine.outputs.shape == "pyramid" or output.shape[:2] == (1, mine.outputs.channels)
    assert mine.outputs.shape != "dense" or output.shape[2:] == image.shape[2:]


def test_score_has_a_gradient_at_the_input(task, cases):
    model = network(task)
    learn(task, cases, model, steps=5)
    inputs = stack_samples([task.encode(c) for c in cases[:2]]).inputs
    numbers = [x.requires_grad_() for x in network_arguments(model, inputs) if x.is_floating_point()]
    x = numbers[0] if numbers else next(model.parameters())  # numbers of words have no gradient; their embeddings do
    score = task.score(full_resolution(run_network(model.eval(), inputs)), task.outputs.channels - 1)
    assert score.shape == (2,)
    score.sum().backward()
    assert x.grad is not None
    assert float(x.grad.abs().max()) > 0


def test_a_mappable_loss_is_the_mean_of_its_samples(task, cases):
    if not task.is_mappable:
        pytest.skip("the task says that its loss is not mappable")
    batch = stack_samples([task.encode(c) for c in cases[:3]])
    output = full_resolution(run_network(network(task).eval(), batch.inputs)).detach()
    whole = sum(task.loss(output, batch.target).values())
    each = torch.func.vmap(lambda o, t: sum(task.loss(o[None], {k: v[None] for k, v in t.items()}).values()))(
        output, batch.target
    )
    torch.testing.assert_close(each.mean(), whole)


def test_the_gradient_in_parts_is_that_of_the_whole(task, cases):
    model = network(task).eval()
    batch = stack_samples([task.encode(c) for c in cases[:4]])
    told = build_gradients(())(model, task, batch)
    want = {k: p.grad.clone() for k, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    again = build_gradients([{"name": "accumulated", "parts": 2}])(model, task, batch)
    assert total_loss(again) == pytest.approx(total_loss(told), rel=1e-5)
    for k, p in model.named_parameters():
        none = torch.zeros_like(p)
        torch.testing.assert_close(none if p.grad is None else p.grad, want.get(k, none), rtol=1e-4, atol=1e-6)


def test_holds_settings_and_nothing_else(task):
    assert dataclasses.is_dataclass(task)
    assert hash(task.kind) == hash(task.kind)
    with pytest.raises(dataclasses.FrozenInstanceError):
        task.dims = 5
    assert isinstance(task, Task)
    assert not inspect.isabstract(type(task))


def test_can_be_exported(task, cases):
    model = network(task).eval()
    x = network_arguments(model, stack_samples([task.encode(cases[0])]).inputs)
    program = torch.export.export(model, x)
    torch.testing.assert_close(program.module()(*x), model(*x), rtol=1e-3, atol=1e-4)


def test_what_is_exported_is_decoded_to_the_same_answer(task, cases):
    try:
        task.check_export()
    except SettingError:
        return  # it says so
    model, inputs = network(task).eval(), stack_samples([task.encode(cases[0])]).inputs
    with torch.no_grad():
        found = task.exported(model)(*network_arguments(model, inputs))
        output = full_resolution(run_network(model, inputs))[0]
    arrays = [a[0].numpy() for a in (found if isinstance(found, tuple) else (found,))]
    assert len(arrays) == len(task.answer_kind.outputs)
    answer = task.answer_kind.decode(arrays, cases[0].grid, task.settings())
    assert task.answer_kind.compare([(answer, task.decode(output, cases[0].grid))]).off < 1e-5


def test_can_be_pruned_and_learns_on(task, cases):
    model, batch = network(task), stack_samples([task.encode(c) for c in cases[:2]])
    judge = registry.find("compress.criteria", "taylor")()
    example = network_arguments(model, batch.part(slice(1)).inputs)
    graph = build_graph(model, example)
    scores = importance(graph.groups, judge(model, task, lambda: [batch]))
    smaller, widths = cut(model, choose_groups(graph, scores, {"flops": 0.7}, min_count=2))
    assert widths
    assert count_cost(smaller, example).flops <= 0.7 * count_cost(model, example).flops
    with torch.no_grad():
        assert (
            full_resolution(run_network(smaller, batch.inputs)).shape
            == full_resolution(run_network(model, batch.inputs)).shape
        )
    losses = [s.loss for s in learn(task, cases[:1], smaller, steps=12, rate=1e-2)]
    assert max(losses[-3:]) < min(losses[:2])


def test_steps_are_the_same_for_the_same_seed(task, cases):
    losses = [[s.loss for s in learn(task, cases, network(task), steps=4)] for _ in range(2)]
    assert losses[0] == losses[1]

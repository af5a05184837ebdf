"""What ails a network is recognised, named by layer, and told once; a healthy one is left in peace."""

import time

import pytest
import torch
from torch import nn

from medgrad import registry
from medgrad.descent.diagnostics import Diagnostics
from medgrad.descent.gradients import build_gradients
from medgrad.descent.layer_monitor import LayerMonitor, is_monitored, monitor_steps
from medgrad.engine.training.loop import train
from medgrad.engine.training.step_log import step_to_line
from medgrad.models.mlp import MLP
from medgrad.tasks import stack_samples
from medgrad.tasks.classification import Classification

TASK = Classification(dims=2, labels=("a", "b"))


def batches(count=10_000, size=8):
    samples = [TASK.encode(TASK.example(seed)) for seed in range(32)]
    for number in range(count):
        yield stack_samples([samples[(number * size + i) % 32] for i in range(size)])


def lines(network, steps, *, rate=1e-3, optimiser="adamw", health=None):
    """Train, and give the lines and what was found."""
    made = registry.find("descent.optimisers", optimiser)(network.named_parameters(), rate=rate)
    told, found = [], []
    health = health or Diagnostics()
    run = train(network, TASK, batches(), optimiser=made, gradients=build_gradients([]), n_steps=steps)
    for step, seen in monitor_steps(network, run, first=0):
        told.append(step_to_line(step, seen))
        found += health.observe(told[-1])
    return told, found


def deep(normalise="none", layers=60):
    torch.manual_seed(0)
    return MLP(1, 2, 2, shape=(16, 16), widths=(64,) * layers, dropout=0.0, normalise=normalise)


def plain(active):
    torch.manual_seed(0)
    body = [nn.Flatten(), nn.Linear(256, 32), active(), nn.Linear(32, 32), active(), nn.Linear(32, 2)]
    return nn.Sequential(*body)


def test_sixty_layers_without_normalisation_vanish_and_the_layer_is_named():
    _, found = lines(deep(), 20)
    assert [f.kind for f in found] == ["vanishing"]
    names = [n for n, p in deep().named_parameters() if p.ndim > 1]
    assert names.index(found[0].layer) < 30
    assert found[0].layer in found[0].sentence
    assert found[0].step < 20


@pytest.mark.parametrize(("faded", "told"), [("first", 1), ("branch", 0)])
def test_a_branch_that_nothing_asks_for_is_no_fault(faded, told):
    health = Diagnostics()
    layers = {n: {"gradient": 1e-9 if n == faded else 1.0, "update": 0.01} for n in ("first", "branch", "last")}
    line = {"loss": {"mse": 1.0}, "health": {"layers": layers}}
    assert sum(len(health.observe({"step": step, **line})) for step in range(9)) == told


@pytest.mark.parametrize("optimiser", ["adamw", "sgd"])
def test_a_rate_a_thousand_times_too_high_explodes_within_five_steps(optimiser):
    rate = {"adamw": 1.0, "sgd": 1e3}[optimiser]
    network = plain(nn.LeakyReLU)
    _, found = lines(network, 5, rate=rate, optimiser=optimiser)
    assert found[0].kind == "exploding"
    assert found[0].layer in dict(network.named_parameters())


@pytest.mark.parametrize("name", ["cnn", "resnet", "mlp", "vgg"])
def test_a_healthy_network_is_left_in_peace(name):
    torch.manual_seed(0)
    make = registry.find("models", name)
    known = {"shape": (16, 16), "channels": (8, 16), "blocks": (1, 1), "layers": (1, 1), "dropout": 0.0}
    network = make(1, 2, 2, **{k: v for k, v in known.items() if k in registry.keyword_defaults(make)})
    _, found = lines(network, 60)
    assert [f.kind for f in found if f.kind != "spike"] == []


def test_dead_units_are_counted():
    network = plain(nn.ReLU)
    with torch.no_grad():
        network[1].bias.fill_(-100.0)
    _, found = lines(network, 8, rate=1e-4)
    dead = [f for f in found if f.kind == "dead"]
    assert dead
    assert dead[0].layer == "2"
    assert "100%" in dead[0].sentence


def test_saturated_units_are_counted():
    network = plain(nn.Tanh)
    with torch.no_grad():
        network[1].weight.mul_(1000)
    _, found = lines(network, 8, rate=1e-5)
    assert [f.layer for f in found if f.kind == "saturated"] == ["2"]


def test_a_loss_that_leaps_is_told_and_the_ordinary_scatter_is_not():
    health, generator = Diagnostics(), torch.Generator().manual_seed(0)
    told = []
    for step in range(400):
        loss = float(1 + 0.1 * torch.randn((), generator=generator)) + (5.0 if step == 300 else 0.0)
        told += health.observe({"step": step, "loss": {"dice": loss}})
    assert [(f.kind, f.step) for f in told] == [("spike", 300)]


def test_leaps_are_told_once_in_a_while_and_only_where_they_matter():
    def told(leaps, *, usual=1.0):
        health, generator, found = Diagnostics(), torch.Generator().manual_seed(0), []
        for step in range(400):
            level = 1.0 if step < 5 else usual
            loss = level * float(1 + 0.1 * torch.randn((), generator=generator)) + leaps.get(step, 0.0)
            found += health.observe({"step": step, "loss": {"dice": loss}})
        return [f.step for f in found]

    assert told({200: 5.0, 210: 5.0, 300: 5.0}) == [200, 300]
    assert told({200: 0.01}, usual=1e-4) == []
    assert told({200: 0.5}, usual=1e-4) == [200]
    resumed = Diagnostics()
    resumed.observe({"step": 200, "finding": {"kind": "spike", "layer": "step 200", "sentence": ""}})
    assert [
        f for n in range(100, 249) for f in resumed.observe({"step": n, "loss": {"d": 9.0 if n > 240 else 1.0}})
    ] == []


def test_a_loss_that_is_no_number_twice_is_an_explosion_once():
    health = Diagnostics()
    found = []
    for step in range(6):
        found += health.observe({"step": step, "loss": {"dice": "nan"}, "skipped": True})
    assert [(f.kind, f.step) for f in found] == [("exploding", 1)]


def test_what_was_told_before_is_not_told_again():
    told, found = lines(deep(), 12)
    again = Diagnostics()
    fresh = []
    for line in told:
        fresh += again.observe(line)
        for f in found:
            if f.step == line["step"]:
                again.observe(f.as_line())
    assert fresh == found
    replayed = Diagnostics()
    replayed.observe(found[0].as_line())
    assert [f for line in told for f in replayed.observe(line)] == []


def test_watching_changes_nothing_and_takes_its_hooks_off():
    network, other = plain(nn.ReLU), plain(nn.ReLU)
    lines(network, 6)
    made = registry.find("descent.optimisers", "adamw")(other.named_parameters(), rate=1e-3)
    for _ in train(other, TASK, batches(), optimiser=made, gradients=build_gradients([]), n_steps=6):
        pass
    assert all(torch.equal(a, b) for a, b in zip(network.parameters(), other.parameters(), strict=True))
    watch = LayerMonitor(network)
    watch.begin_step(0)
    assert network[2]._forward_hooks
    watch.end_step(0)
    assert not network[2]._forward_hooks


def test_the_update_is_what_the_weights_moved_by():
    network = plain(nn.ReLU)
    before = network[1].weight.detach().clone()
    watch = LayerMonitor(network)
    watch.begin_step(0)
    with torch.no_grad():
        network[1].weight.add_(0.5)
    network[1].weight.grad = torch.full_like(before, 2.0)
    seen = watch.end_step(0)["layers"]
    assert list(seen) == ["1.weight"]  # the other has no gradient
    assert seen["1.weight"]["update"] == pytest.approx(0.5 * 16, rel=1e-5)
    assert seen["1.weight"]["gradient"] == pytest.approx(2 * (32 * 256) ** 0.5, rel=1e-5)
    assert seen["1.weight"]["weight"] == pytest.approx(float(before.norm()), rel=1e-5)


def test_few_steps_are_due_in_a_long_run():
    assert sum(is_monitored(s) for s in range(20)) == 20
    assert sum(is_monitored(s) for s in range(10_000)) < 250


@pytest.mark.slow
def test_watching_takes_under_two_hundredths_of_a_long_training():
    """Measured on a U-Net's step; what is due in 1,000 steps is spread over them."""
    unet = registry.find("models", "unet")
    torch.manual_seed(0)
    network = unet(1, 3, 3, channels=(16, 32, 64), strides=((2, 2, 2), (2, 2, 2)))
    x = torch.randn(2, 1, 32, 32, 32)

    def step(watch=None):
        began = time.process_time()
        if watch:
            watch.begin_step(0)
        said = network(x)
        (said[0] if isinstance(said, tuple) else said).square().mean().backward()
        if watch:
            watch.end_step(0)
        return time.process_time() - began

    plain_seconds = sorted(step() for _ in range(9))[4]
    seen_seconds = sorted(step(LayerMonitor(network)) for _ in range(9))[4]
    share = sum(is_monitored(s) for s in range(1000)) / 1000
    assert share * (seen_seconds - plain_seconds) < 0.02 * plain_seconds

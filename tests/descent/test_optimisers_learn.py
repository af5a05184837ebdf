"""Every optimiser learns a small real task as the loop steps it, and says what its kind can and cannot."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from test_laws_descent import OPTIMISERS, banana, bowl, closure_of, made, optimiser, walk, weight
from torch import nn

from medgrad import registry
from medgrad.descent.gradients import build_gradients
from medgrad.descent.optimisers.muon import orthogonalise
from medgrad.engine.runs.checkpoint import read_checkpoint, write_checkpoint
from medgrad.engine.training.loop import EMA, train
from medgrad.engine.training.trainer import Trainer
from medgrad.errors import NameNotFound, SettingError
from medgrad.tasks import stack_samples
from medgrad.tasks.classification import Classification

STEPS = 70


def layer(inputs, outputs):
    return nn.Linear(inputs, outputs), nn.LayerNorm(outputs), nn.GELU()


def learned(make, *, steps=STEPS, **settings):
    """Give the loss on all cases before and after learning, at the default rate, from batches of a third of them."""
    torch.manual_seed(0)
    task = Classification(dims=2, labels=("a", "b", "c"))
    samples = [task.encode(task.example(seed)) for seed in range(24)]
    every, batches = stack_samples(samples), [stack_samples(samples[start : start + 8]) for start in (0, 8, 16)]
    network = nn.Sequential(nn.Flatten(), *layer(256, 32), *layer(32, 32), nn.Linear(32, 3))
    loss_of_all = lambda: float(sum(task.loss(network.eval()(every.inputs["image"]), every.target).values()).detach())  # noqa: E731
    before = loss_of_all()
    stepper = make(network.named_parameters(), **settings)
    warm = registry.find("descent.schedules", "cosine")(warmup=0.05)
    drawn = (batches[number % 3] for number in range(steps))
    for _ in train(
        network, task, drawn, optimiser=stepper, gradients=build_gradients([]), schedule=warm, n_steps=steps
    ):
        pass
    return before, loss_of_all()


@pytest.mark.parametrize("name", OPTIMISERS)
def test_an_optimiser_learns_a_small_task_as_it_comes(name):
    before, after = learned(optimiser(name))
    assert after < before / 2


def test_one_that_learns_nothing_is_caught():
    before, after = learned(optimiser("sgd"), rate=1e-7)
    assert after > before / 2


def learner(name):
    """Make what a learner is restored by: a network in channels-last order, its optimiser, its mean."""
    torch.manual_seed(0)
    network = registry.find("models", "cnn")(1, 3, 2, channels=(4, 8)).to(memory_format=torch.channels_last)
    stepper = optimiser(name)(network.named_parameters())
    place = SimpleNamespace(device="cpu")
    chain = build_gradients([])
    return SimpleNamespace(network=network, optimiser=stepper, ema=EMA(network, 0.9), compute=place, gradients=chain)


def go(learner, first, last):
    task = Classification(dims=2, labels=("a", "b", "c"))
    batches = (stack_samples([task.encode(task.example(6 * n + k)) for k in range(6)]) for n in range(first, last))
    settings = {"gradients": learner.gradients, "n_steps": last, "first_step": first, "ema": learner.ema}
    for _ in train(learner.network, task, batches, optimiser=learner.optimiser, **settings):
        pass


@pytest.mark.parametrize("name", OPTIMISERS)
def test_a_run_that_is_restored_goes_on_to_the_same_bits(name, tmp_path):
    whole, first, second = (learner(name) for _ in range(3))
    go(whole, 0, 6)
    go(first, 0, 3)
    state = {"model": first.network.state_dict(), "ema": first.ema.weights, "done": 3, "best": 0.0}
    state |= {"optimiser": first.optimiser.state_dict(), "best_step": 0, "stale": 0}
    write_checkpoint(tmp_path / "last.safetensors", state)
    Trainer.load_state_dict(second, read_checkpoint(tmp_path / "last.safetensors"))
    go(second, 3, 6)
    for key, value in whole.network.state_dict().items():
        assert torch.equal(second.network.state_dict()[key], value), key


# What the kinds are


def spectrum(matrix):
    return torch.linalg.svdvals(matrix.double().flatten(1))


@pytest.mark.parametrize("shape", [(6, 9), (9, 6), (8, 8), (1, 7), (5, 1)])
def test_muon_turns_a_matrix_into_an_orthogonal_one_with_the_same_singular_vectors(shape):
    torch.manual_seed(0)
    given = torch.randn(3, *shape, dtype=torch.float64)
    for one, made_of in zip(orthogonalise(given), given, strict=True):
        assert spectrum(one).min() > 0.6
        assert spectrum(one).max() < 1.25
        u, _, v = torch.linalg.svd(made_of, full_matrices=False)
        inside = u.T @ one @ v.T
        torch.testing.assert_close(inside, inside.diag().diag(), rtol=0, atol=1e-9)


@pytest.mark.parametrize("weakest", [1e-2, 1e-8, 0.0])
def test_muon_stays_calm_where_a_gradient_has_directions_that_are_all_but_missing(weakest):
    """In float32, half of the singular values far below the first: the strong ones come near 1, none goes astray."""
    torch.manual_seed(0)
    u, v = (torch.linalg.qr(torch.randn(n, 16, dtype=torch.float64))[0] for n in (16, 64))
    values = torch.cat([torch.linspace(1, 0.5, 8, dtype=torch.float64), torch.full((8,), weakest)])
    found = spectrum(orthogonalise(((u * values) @ v.T)[None].float())[0])
    assert found[:8].min() > 0.6
    assert found.max() < 1.25


def test_muon_takes_the_kernels_of_a_convolution_as_one_matrix():
    torch.manual_seed(0)
    w = nn.Parameter(torch.zeros(6, 4, 3, 3))
    stepper = made(optimiser("muon"), [w], rate=0.1, decay=0.0)
    steep = torch.randn_like(w)
    stepper.step(closure_of(w, lambda w: (w * steep).sum(), stepper))
    lengths = spectrum(w.detach()) / (0.1 * 0.2 * math.sqrt(36))
    assert lengths.min() > 0.6
    assert lengths.max() < 1.25


def test_muon_moves_all_but_the_first_and_the_last_weights_as_matrices():
    network = nn.Sequential(nn.Linear(5, 8), nn.LayerNorm(8), nn.Linear(8, 8), nn.Linear(8, 8), nn.Linear(8, 2))
    stepper = optimiser("muon")(network.named_parameters(), decay=0.5)
    turned = [p for g in stepper.param_groups if g["orthogonal"] for p in g["params"]]
    assert [id(p) for p in turned] == [id(network[2].weight), id(network[3].weight)]
    others = {id(p): g["weight_decay"] for g in stepper.param_groups if not g["orthogonal"] for p in g["params"]}
    assert {others[id(p)] for p in (network[0].weight, network[4].weight)} == {0.5}
    assert len(others) == 8
    assert [others[id(p)] for p in network.parameters() if p.ndim == 1] == [0.0] * 6


def test_the_steps_of_muon_are_as_long_as_those_of_adamw():
    torch.manual_seed(0)
    lengths = {}
    for name in ("muon", "adamw"):
        w = nn.Parameter(torch.zeros(64, 48))
        stepper = made(optimiser(name), [w], rate=1.0, decay=0.0)
        for _ in range(30):
            noise = torch.randn_like(w)
            before = w.detach().clone()
            stepper.step(closure_of(w, lambda w, n=noise: (w * n).sum(), stepper))
        lengths[name] = float((w.detach() - before).square().mean().sqrt())
    assert 0.5 < lengths["muon"] / lengths["adamw"] < 2


@pytest.mark.parametrize("base", [n for n in OPTIMISERS if n != "sam"])
def test_sam_keeps_its_word_around_any_other(base):
    """Without a radius it is the other, to the same bits; with one, it goes down as well."""
    settings = {"rate": 1e-3, "decay": 0.1}
    alone = walk(optimiser(base), banana, [-1.2, 1.0], 8, **settings)
    assert torch.equal(walk(optimiser("sam"), banana, [-1.2, 1.0], 8, base=base, rho=0.0, **settings), alone)
    with_radius = walk(optimiser("sam"), banana, [-1.2, 1.0], 8, base=base, rho=0.1, **settings)
    assert float(banana(with_radius[-1])) < float(banana(with_radius[0]))


def test_sam_names_what_it_does_not_know():
    with pytest.raises(NameNotFound, match="Did you mean 'lion'"):
        made(optimiser("sam"), [weight([1.0])], base="lionn")
    with pytest.raises(SettingError, match="no setting 'momentun'"):
        optimiser("sam")([("w", weight([1.0]))], base="momentum", momentun=0.5)


def calls_of(name, **settings):
    w, calls = weight([-1.2, 1.0]), 0
    stepper = made(optimiser(name), [w], rate=1e-3, **settings)
    again = closure_of(w, banana, stepper)

    def counted():
        nonlocal calls
        calls += 1
        return again()

    for _ in range(4):
        stepper.step(counted)
    return calls / 4


@pytest.mark.parametrize("name", OPTIMISERS)
def test_a_step_costs_the_gradients_that_it_says(name):
    if name == "lbfgs":
        assert 2 <= calls_of(name) <= 12
    else:
        assert calls_of(name) == (2 if name == "sam" else 1)


@pytest.mark.parametrize("name", ["schedule_free", "entropy_sgd"])
def test_what_lies_between_steps_is_better_than_the_walk_on_noisy_slopes(name):
    """The mean of a walk about the bottom of a bowl is nearer to the bottom than the places of the walk."""
    torch.manual_seed(0)
    w = nn.Parameter(torch.full((1, 50), 3.0, dtype=torch.float64))
    stepper = made(optimiser(name), [w], rate=0.05, decay=0.0, alpha=0.1)
    means, walks = [], []
    for _ in range(300):
        noise = torch.randn_like(w)
        stepper.step(closure_of(w, lambda w, n=noise: ((w - 3) ** 2).sum() / 2 + (w * n).sum(), stepper))
        means.append(float((w.detach() - 3).norm()))
        kept = stepper.state[w]
        walks.append(float((kept["fast" if name == "schedule_free" else "walk"] - 3).norm()))
    assert np.mean(means[100:]) < 0.8 * np.mean(walks[100:])


def test_entropy_sgd_draws_other_noise_from_another_seed_and_at_each_step():
    ends = [walk(optimiser("entropy_sgd"), banana, [-1.2, 1.0], 5, seed=seed, noise=0.1) for seed in (0, 0, 1)]
    assert torch.equal(ends[0], ends[1])
    assert not torch.equal(ends[0], ends[2])
    still = walk(optimiser("entropy_sgd"), lambda w: 0.0 * w.sum(), [0.0, 0.0], 3, noise=0.1, momentum=0.0, decay=0.0)
    assert len({tuple(place) for place in still.diff(dim=0).squeeze(1).tolist()}) == 3


def test_lbfgs_learns_no_curvature_from_the_difference_of_two_batches():
    """The batches pull to other places and curve alike; from a pair across them the curvature would be far off."""
    w = weight([0.0, 0.0, 0.0])
    stepper = made(optimiser("lbfgs"), [w], iterations=2)
    for number in range(6):
        centre = 3 + (-1) ** number
        stepper.step(closure_of(w, lambda w, c=centre: bowl(w + 3 - c), stepper))
    for step, slope in zip(stepper.state[w]["old_stps"], stepper.state[w]["old_dirs"], strict=True):
        torch.testing.assert_close(slope, torch.tensor([0.5, 1.0, 5.0], dtype=torch.float64) * step)


def test_lbfgs_is_at_the_bottom_of_a_bowl_in_a_few_steps():
    end = walk(optimiser("lbfgs"), bowl, [0.0, 0.0, 0.0], 8)[-1]
    torch.testing.assert_close(end, torch.full_like(end, 3.0), rtol=1e-5, atol=0)


def test_lbfgs_needs_a_second_iteration_to_learn_from():
    with pytest.raises(ValueError, match="'iterations' is 1"):
        made(optimiser("lbfgs"), [weight([1.0])], iterations=1)


@pytest.mark.parametrize("size", [1e-45, 1e-38, 1e-30, 1e-20, 1.0, 1e18])
def test_muon_turns_a_gradient_of_any_size(size):
    """A gradient that has all but vanished made numbers that are none."""
    from medgrad.descent.optimisers.muon import orthogonalise

    found = orthogonalise(size * torch.randn(2, 4, 6, generator=torch.Generator().manual_seed(0)))
    assert found.isfinite().all()
    assert float(torch.linalg.matrix_norm(found, 2).max()) < 1.5
    assert torch.equal(orthogonalise(torch.zeros(1, 3, 3)), torch.zeros(1, 3, 3))

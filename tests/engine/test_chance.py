"""What a network leaves to chance comes from the seed and the step, so that a run that goes on draws the same."""

import pytest
import torch
from torch import nn, optim

from medgrad import registry
from medgrad.descent.gradients import build_gradients
from medgrad.engine.training.loop import train
from medgrad.tasks import stack_samples


@pytest.fixture(scope="module")
def batch():
    task = registry.find("tasks", "classification")(dims=2, labels=("ill", "well"))
    return task, stack_samples([task.encode(task.example(seed)) for seed in range(2)])


def losses(task, batch, first, *, seed=0):
    """Let a network that drops most of what it sees answer, from one step to the fourth, and learn nothing."""
    network = nn.Sequential(nn.Flatten(), nn.Dropout(0.9), nn.LazyLinear(task.outputs.channels))
    network(batch.inputs["image"])
    for weights in network.parameters():
        nn.init.normal_(weights, generator=torch.Generator().manual_seed(0))
    optimiser = optim.SGD(network.parameters(), lr=0.0)
    steps = train(
        network, task, [batch] * (4 - first), optimiser=optimiser, gradients=build_gradients(()),
        n_steps=4, first_step=first, seed=seed,
    )  # fmt: skip
    return [step.loss for step in steps]


def test_a_step_draws_the_same_wherever_a_run_begins(batch):
    assert losses(*batch, 0)[2:] == losses(*batch, 2)


def test_each_step_and_each_seed_draws_anew(batch):
    assert len({*losses(*batch, 0), *losses(*batch, 0, seed=1)}) == 8

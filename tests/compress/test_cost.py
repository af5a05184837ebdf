"""What an answer costs is counted as torch itself counts it."""

import time

import pytest
import torch
from small_networks import EVERY, example, make
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from medgrad.compress.structure.cost import Cost, count_bytes, count_cost, measure_milliseconds, time_interleaved
from medgrad.errors import SettingError

QUICK = ("unet", "mlp", "cnn", "svm rbf")


@pytest.mark.parametrize(
    ("kind", "dims"),
    [
        p if p.values[0] in QUICK and p.values[1] == 2 else pytest.param(*p.values, marks=pytest.mark.slow)
        for p in EVERY
    ],
)
def test_flops_are_those_that_torch_counts(kind, dims):
    model, x = make(kind, dims).eval(), example(kind, dims)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(x)
    assert count_cost(model, x).flops == counter.get_total_flops()


LAYERS = [
    (nn.Conv2d(4, 6, 3, stride=2, groups=2, bias=False), (3, 4, 9, 9), 2 * 3 * 6 * 16 * 2 * 9),
    (nn.Conv1d(2, 3, 5), (1, 2, 9), 2 * 3 * 5 * 2 * 5),
    (nn.ConvTranspose3d(2, 3, 2, 2), (1, 2, 3, 3, 3), 2 * 2 * 27 * 3 * 8),
    (nn.Linear(5, 7), (2, 3, 5), 2 * 6 * 7 * 5),
    (nn.Sequential(nn.ReLU(), nn.BatchNorm2d(2)), (1, 2, 4, 4), 0),
]


@pytest.mark.parametrize(("layer", "shape", "flops"), LAYERS, ids=lambda v: type(v).__name__)
def test_a_layer_costs_what_is_counted_by_hand(layer, shape, flops):
    assert count_cost(layer, torch.zeros(shape)).flops == flops


class Products(nn.Module):
    def forward(self, x):
        return torch.einsum("bij,bkj->bik", x, x) @ x


class Attention(nn.Module):
    def forward(self, x):
        return nn.functional.scaled_dot_product_attention(x, x, x)


def test_products_of_tensors_count():
    x = torch.randn(2, 4, 8)
    with FlopCounterMode(display=False) as counter:
        Products()(x)
    assert count_cost(Products(), x).flops == counter.get_total_flops() == 2 * 2 * (2 * 4 * 4 * 8)
    assert count_cost(Attention(), x[None]).flops == 2 * 2 * (2 * 4 * 4 * 8)


class Choosy(nn.Module):
    def forward(self, x):
        return x if x.sum() > 0 else -x


def test_what_cannot_be_traced_is_told_in_a_line():
    with pytest.raises(SettingError, match="cannot be traced"):
        count_cost(Choosy(), torch.zeros(1, 2))


def test_a_checkpoint_holds_weights_and_buffers_once():
    net = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3), nn.Linear(3, 3))
    net[2].weight = net[0].weight
    assert count_bytes(net) == 4 * (9 + 3 + 3 + 3 + 3 + 3 + 3) + 8
    assert count_cost(nn.Linear(3, 2).half(), torch.zeros(1, 3).half()) == Cost(12, 8, 16)


class Slow(nn.Module):
    def __init__(self):
        super().__init__()
        self.waits = [0.05, 0.0, 0.05, 0.02, 0.05, 0.02]

    def forward(self, x):
        assert not self.training
        time.sleep(self.waits.pop(0))
        return x


def test_the_time_is_the_median_of_the_rounds():
    net = Slow().train()
    assert 20 <= measure_milliseconds(net, torch.zeros(1), rounds=3) < 50
    assert net.training
    with pytest.raises(ValueError, match="at least one round"):
        measure_milliseconds(net, torch.zeros(1), rounds=0)


def test_networks_are_timed_in_turns_by_the_second_of_two_answers():
    order, nets = [], [nn.Identity(), nn.Identity()]
    for name, net in zip("ab", nets, strict=True):
        net.register_forward_hook(lambda *_, name=name: order.append(name))
    found = time_interleaved(nets, torch.zeros(1), rounds=2)
    assert "".join(order) == "aabbaabb"
    assert [len(row) for row in found] == [2, 2]

"""Whole layers are left out that change no shape, those first without which least is lost for what they cost."""

import json
from types import SimpleNamespace

import pytest
import torch
from small_networks import example, make
from torch import nn

from medgrad import fit, predict, prune
from medgrad.compress.search.selection import ChannelSelection
from medgrad.compress.search.shrinking import cut_to_time, min_cost
from medgrad.compress.search.target import Target
from medgrad.compress.structure.cost import count_cost
from medgrad.compress.structure.graph import build_graph
from medgrad.compress.structure.removable_layers import (
    choose_removable_layers,
    list_removable_layers,
    merge_widths,
    remove_layers,
)
from medgrad.engine.runs.run import Run
from medgrad.errors import SettingError


class Steps(nn.Module):
    """Parts that multiply by a number and pass on."""

    def __init__(self, *factors, wide=4):
        super().__init__()
        self.parts = nn.ModuleList(nn.Sequential(nn.Linear(wide, wide, bias=False), nn.Identity()) for _ in factors)
        for part, factor in zip(self.parts, factors, strict=True):
            part[0].weight.data = factor * torch.eye(wide)

    def forward(self, x):
        for part in self.parts:
            x = part(x)
        return x


def test_those_go_first_without_which_least_is_lost():
    net, x = Steps(1.0, 3.0, 1.1), torch.ones(2, 4)
    wanted = net(x).detach()

    def damage(network):
        return float((network(x) - wanted).detach().square().mean())

    def cost(network):
        return float(count_cost(network, x).flops)

    assert list_removable_layers(net, x) == ["parts.0", "parts.1", "parts.2"]
    assert choose_removable_layers(net, x, 2, loss=damage, cost=cost) == ["parts.0", "parts.2"]
    assert len(choose_removable_layers(net, x, 9, loss=damage, cost=cost)) == 3


def test_the_dearer_of_two_that_do_nothing_goes_first():
    net = nn.Sequential(Steps(1.0, wide=4), nn.Linear(4, 16), Steps(1.0, wide=16))
    x = torch.ones(1, 4)
    gone = choose_removable_layers(net, x, 1, loss=lambda _: 1.0, cost=lambda network: count_cost(network, x).flops)
    assert gone == ["2.parts.0"]


def ground_of(network, example):
    """What a search asks of the network that it begins from."""
    return SimpleNamespace(example=example, network=network, channel_graph=lambda some: build_graph(some, example))


def test_a_layer_costs_what_it_will_when_it_is_narrow():
    wide = nn.Sequential(nn.Conv2d(16, 16, 3, padding=1), nn.Conv2d(16, 16, 1))
    narrow = nn.Sequential(nn.Conv2d(4, 4, 1), nn.Conv2d(4, 4, 1))
    net = nn.Sequential(nn.Conv2d(1, 4, 1), narrow, nn.Conv2d(4, 16, 1, 8), wide, nn.Conv2d(16, 2, 1))
    ground, choice = ground_of(net, torch.zeros(1, 1, 64, 64)), ChannelSelection(min_per_layer=4)

    def saved(name, cost):
        return cost(net) - cost(remove_layers(net, [name]))

    def whole(network):
        return count_cost(network, ground.example).flops

    def slim(network):
        return min_cost(ground, network, Target.parse("flops=0.5"), choice)

    assert slim(net) < whole(net)
    assert saved("1", whole) < saved("3", whole)
    assert saved("1", slim) > saved("3", slim) > 0


def test_what_stands_at_two_places_or_takes_two_values_stays():
    shared = nn.Sequential(nn.Linear(4, 4), nn.Tanh())
    assert list_removable_layers(nn.Sequential(shared, nn.ReLU(), shared), torch.zeros(1, 4)) == []


@pytest.mark.parametrize(("kind", "dims"), [("unet none", 3), ("resnet", 2), ("vgg", 2)])
def test_a_network_of_ours_answers_without_any_of_them(kind, dims):
    net, x = make(kind, dims), example(kind, dims)
    names, whole = list_removable_layers(net, x), count_cost(net, x).flops
    assert names
    for each in names:
        smaller = remove_layers(net, [each])
        assert smaller.eval()(x).shape == net.eval()(x).shape
        assert count_cost(smaller, x).flops < whole


def test_nothing_is_told_of_what_lies_in_a_part_that_is_left_out():
    assert merge_widths({"a.0": [3], "ab": [1]}, {"a": ()}) == {"ab": [1], "a": ()}


def test_where_time_is_aimed_at_a_layer_costs_what_a_processor_spends():
    part = nn.Sequential(nn.Conv2d(8, 8, 1), nn.ReLU())
    net = nn.Sequential(nn.Conv2d(1, 8, 1), part, nn.Conv2d(8, 2, 1))
    ground = ground_of(net, torch.zeros(1, 1, 8, 8))

    def saved(goal):
        whole, less = (
            min_cost(ground, n, Target.parse(goal), ChannelSelection(min_per_layer=4))
            for n in (net, remove_layers(net, ["1"]))
        )
        return whole - less

    assert saved("flops=0.5") == 2 * 64 * 4 * 4
    assert saved("flops=0.5,latency=0.5") == saved("latency=0.5") == 2 * 64 * 4 * 16


def test_a_network_within_time_is_found_where_little_can_go():
    ground = SimpleNamespace(time_network=lambda network: 1000 * network)

    def smaller_by(lanes):
        if lanes < 0.995:
            raise SettingError("smaller than it can be")
        return lanes, {}

    found, _ = cut_to_time(ground, 997.0, smaller_by, 0.995)
    assert 0.9965 < found <= 0.997
    with pytest.raises(SettingError, match="answers within 994"):
        cut_to_time(ground, 994.0, smaller_by, 0.995)


@pytest.fixture(scope="module")
def small(tmp_path_factory, brief_searches):
    """A run that lost a layer, and how; its outer layers are as narrow as they may become, so they can go whatever it
    learned: a layer that takes other channels than it gives cannot.
    """
    from tiny_set import make_folder

    folder = tmp_path_factory.mktemp("layers")
    data = make_folder(folder / "data")
    recipe = (
        (data / "recipe.toml")
        .read_text()
        .replace("[4, 8]", "[2, 8, 8]")
        .replace("[[2, 2, 2]]", "[[2, 2, 2], [2, 2, 2]]")
    )
    recipe = recipe.replace("validations = 6", "validations = 1")
    (folder / "wide.toml").write_text(recipe)
    fit(str(data), out=folder / "run", steps=4, recipe=folder / "wide.toml")
    words = {
        "target": "flops=0.5,parameters=0.45",
        "steps": 4,
        "min_channels": 2,
        "force_target": True,
        "baselines": False,
    }
    prune(folder / "run", out=folder / "small", layers=1, **words)
    return folder, words


def test_a_run_without_a_layer_stands_by_itself(small):
    folder, _ = small
    told = json.loads((folder / "small" / "pruned.json").read_text())
    gone = [name for name, numbers in told["widths"].items() if not numbers]
    assert len(gone) == 1
    assert told["rungs"][-1]["flops"] <= 0.5 * told["whole"]["flops"]
    assert told["rungs"][-1]["parameters"] <= 0.45 * told["whole"]["parameters"]
    assert told["reached"]
    assert "1 whole layer went" in (folder / "small" / "report.html").read_text()
    assert f'"{gone[0]}" = []' in (folder / "small" / "recipe.toml").read_text()
    answers = predict(folder / "small", folder / "data" / "images" / "case_00.nii.gz", out=folder / "answers")
    assert len(answers["answers"]) == 1


def test_it_can_be_pruned_again(small):
    folder, words = small
    prune(folder / "small", out=folder / "smaller", layers=1, **{**words, "target": "flops=0.95"})
    before, after = (
        {part for part, numbers in Run(folder / name).load_recipe().layer_widths.items() if not numbers}
        for name in ("small", "smaller")
    )
    (new,) = after - before
    assert after == {new} | {part for part in before if not part.startswith(f"{new}.")}

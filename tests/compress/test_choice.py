"""What nobody named is chosen from the network: even widths in blocks, and as many whole layers as time asks for."""

from types import SimpleNamespace

import pytest
import torch
from small_networks import example, make
from torch import nn

from medgrad.compress.search import stages
from medgrad.compress.search.selection import FREE, Choice, fewest, widths_for
from medgrad.compress.search.shrinking import quick_without, within_time_if_cheap
from medgrad.compress.search.target import Target
from medgrad.compress.structure.channels import chosen
from medgrad.compress.structure.cost import Cost
from medgrad.compress.structure.graph import graph_of
from medgrad.errors import SettingError


@pytest.fixture(scope="module")
def wide():
    """A network of even layers, 16 channels each but for the last, and its graph."""
    net = nn.Sequential(nn.Conv2d(1, 16, 3), nn.ReLU(), nn.Conv2d(16, 16, 3), nn.ReLU(), nn.Conv2d(16, 2, 1))
    return net, graph_of(net, torch.zeros(1, 1, 16, 16))


def test_layers_keep_a_little_less_than_even_widths_would_be_in_blocks_of_a_quarter_of_the_narrowest(wide):
    net, graph = wide
    choice = widths_for(Choice(free=FREE), [(graph, net)], {"flops": 0.25})
    assert (choice.multiple, choice.floor) == (4, 0.4)
    assert choice.free == ("layers",)
    assert choice.leasts(graph, net) == {0: 4, 1: 4}
    gone = chosen(graph, torch.ones(len(graph.groups)), {"flops": 0.25}, least=choice.leasts(graph, net), multiple=4)
    assert {sum(g.family == family for g in gone) % 4 for family in (0, 1)} == {0}


def test_what_a_person_named_stays_and_what_is_free_makes_way_for_the_target(wide):
    net, graph = wide
    named = widths_for(Choice(floor=0.5, free=("multiple",)), [(graph, net)], {"flops": 0.25})
    assert (named.floor, named.multiple) == (0.5, 1)
    small = widths_for(Choice(least=1, free=FREE), [(graph, net)], {"flops": 0.02})
    assert small.can_reach(graph, net, {"flops": 0.02})


def test_of_layers_that_meet_the_narrowest_counts():
    net, x = make("unet none", 3), example("unet none", 3)
    assert fewest(graph_of(net, x), net) == 4


class Tower(nn.Sequential):
    """Six parts that can be left out; an answer takes a millisecond each, and ``fixed`` ones."""

    def __init__(self):
        super().__init__(*(nn.Sequential(nn.Linear(8, 8), nn.Tanh()) for _ in range(6)))


def tower(per_part, fixed):
    net, x = Tower(), torch.zeros(1, 8)

    def timed(network, **_):
        parts = sum(1 for part in network if isinstance(part, nn.Sequential))
        return fixed + per_part * parts

    return SimpleNamespace(
        network=net,
        example=x,
        cost=Cost(6 * 128, 6 * 72, 0),
        milliseconds=timed(net),
        timed=timed,
        graph=lambda some: graph_of(some, x),
    )


def left_out(ground, wished):
    order = [str(n) for n in (3, 1, 4, 0, 2, 5)]
    return quick_without(ground, Target({"flops": 0.9}, wished), Choice(least=1), lambda: order)


def test_whole_layers_go_until_it_is_as_quick_as_is_wished_for_and_at_most_half_of_them():
    assert left_out(tower(1.0, 0.0), 0.7) == ["3", "1"]
    assert left_out(tower(1.0, 0.0), 0.1) == ["3", "1", "4"]
    assert left_out(tower(1.0, 0.0), 1.0) == []


def test_no_layer_goes_where_that_makes_nothing_quicker():
    assert left_out(tower(0.01, 5.0), 0.5) == []


def sized(lanes):
    """A network of which only the size is known, where no less than 0.2 can be left."""
    if lanes < 0.2:
        raise SettingError("smaller than it can be")
    return nn.Linear(round(1000 * lanes), 1, bias=False), {}


def timed_by(slope):
    """What is asked of a network that begins: its time is its size, by a slope, above what it always takes."""
    return SimpleNamespace(
        timed=lambda net, **_: 1000 * (1 - slope) + slope * net.in_features, example=torch.zeros(1, 1)
    )


def test_the_time_that_is_wished_for_is_met_where_enough_of_the_work_is_left(monkeypatch):
    monkeypatch.setattr("medgrad.compress.search.shrinking.cost_of", lambda net, _: Cost(net.in_features, 0, 0))
    found, _ = within_time_if_cheap(timed_by(1.0), 600.0, sized, 0.2, 500.0)
    assert 590 < found.in_features <= 600
    unchanged, _ = within_time_if_cheap(timed_by(1.0), 400.0, sized, 0.2, 500.0)
    assert unchanged.in_features == 1000


@pytest.mark.parametrize(
    ("target", "asked", "tells"),
    [("flops=0.1", None, False), ("flops=0.5", None, "tried"), ("flops=0.1", 0.5, True), ("flops=0.5", 0.0, False)],
)
def test_whether_the_parent_teaches_is_tried_only_where_it_does_not_make_steps_much_longer(target, asked, tells):
    parents = SimpleNamespace(each=[SimpleNamespace(task=SimpleNamespace(detector=""))])
    assert stages.teaching(parents, Target.of(target).quick(), stages.Effort(0, 0.0, taught=asked)) == tells
    two = SimpleNamespace(each=[SimpleNamespace(task=SimpleNamespace(detector="two_stage"))])
    assert stages.teaching(two, Target.of(target).quick(), stages.Effort(0, 0.0, taught=asked)) is False

"""What nobody named is chosen from the network: even widths in blocks, and as many whole layers as time asks for."""

from types import SimpleNamespace

import pytest
import torch
from small_networks import example, make
from torch import nn

from medgrad.compress.search import stages
from medgrad.compress.search.selection import AUTOMATIC, ChannelSelection, choose_widths, narrowest_width
from medgrad.compress.search.shrinking import choose_layers_for_time, cut_to_time_if_cheap
from medgrad.compress.search.target import Target
from medgrad.compress.structure.channels import choose_groups
from medgrad.compress.structure.cost import Cost
from medgrad.compress.structure.graph import build_graph
from medgrad.errors import SettingError
from medgrad.tasks.detection import Detection


@pytest.fixture(scope="module")
def wide():
    """A network of even layers, 16 channels each but for the last, and its graph."""
    net = nn.Sequential(nn.Conv2d(1, 16, 3), nn.ReLU(), nn.Conv2d(16, 16, 3), nn.ReLU(), nn.Conv2d(16, 2, 1))
    return net, build_graph(net, torch.zeros(1, 1, 16, 16))


def test_layers_keep_a_little_less_than_even_widths_would_be_in_blocks_of_a_quarter_of_the_narrowest(wide):
    net, graph = wide
    choice = choose_widths(ChannelSelection(automatic=AUTOMATIC), [(graph, net)], {"flops": 0.25})
    assert (choice.channel_multiple, choice.min_share) == (4, 0.4)
    assert choice.automatic == ("layers",)
    assert choice.min_channels_by_family(graph, net) == {0: 4, 1: 4}
    gone = choose_groups(
        graph,
        torch.ones(len(graph.groups)),
        {"flops": 0.25},
        min_count=choice.min_channels_by_family(graph, net),
        multiple=4,
    )
    assert {sum(g.family == family for g in gone) % 4 for family in (0, 1)} == {0}


def test_what_a_person_named_stays_and_what_is_free_makes_way_for_the_target(wide):
    net, graph = wide
    named = choose_widths(
        ChannelSelection(min_share=0.5, automatic=("channel_multiple",)), [(graph, net)], {"flops": 0.25}
    )
    assert (named.min_share, named.channel_multiple) == (0.5, 1)
    small = choose_widths(ChannelSelection(min_per_layer=1, automatic=AUTOMATIC), [(graph, net)], {"flops": 0.02})
    assert small.can_reach(graph, net, {"flops": 0.02})


def test_of_layers_that_meet_the_narrowest_counts():
    net, x = make("unet none", 3), example("unet none", 3)
    assert narrowest_width(build_graph(net, x), net) == 4


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
        time_network=timed,
        channel_graph=lambda some: build_graph(some, x),
    )


def left_out(ground, wished):
    order = [str(n) for n in (3, 1, 4, 0, 2, 5)]
    return choose_layers_for_time(
        ground, Target({"flops": 0.9}, wished), ChannelSelection(min_per_layer=1), lambda: order
    )


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
        time_network=lambda net, **_: 1000 * (1 - slope) + slope * net.in_features, example=torch.zeros(1, 1)
    )


def test_the_time_that_is_wished_for_is_met_where_enough_of_the_work_is_left(monkeypatch):
    monkeypatch.setattr("medgrad.compress.search.shrinking.count_cost", lambda net, _: Cost(net.in_features, 0, 0))
    found, _ = cut_to_time_if_cheap(timed_by(1.0), 600.0, sized, 0.2, 500.0)
    assert 590 < found.in_features <= 600
    unchanged, _ = cut_to_time_if_cheap(timed_by(1.0), 400.0, sized, 0.2, 500.0)
    assert unchanged.in_features == 1000


@pytest.mark.parametrize(
    ("target", "asked", "tells"),
    [("flops=0.1", None, False), ("flops=0.5", None, "tried"), ("flops=0.1", 0.5, True), ("flops=0.5", 0.0, False)],
)
def test_whether_the_parent_teaches_is_tried_only_where_it_does_not_make_steps_much_longer(target, asked, tells):
    parents = SimpleNamespace(folds=[SimpleNamespace(task=Detection())])
    assert (
        stages.choose_distillation(
            parents, Target.parse(target).with_soft_time(), stages.SearchBudget(0, 0.0, distill_weight=asked)
        )
        == tells
    )
    two = SimpleNamespace(folds=[SimpleNamespace(task=Detection(detector="faster_rcnn"))])
    assert (
        stages.choose_distillation(
            two, Target.parse(target).with_soft_time(), stages.SearchBudget(0, 0.0, distill_weight=asked)
        )
        is False
    )

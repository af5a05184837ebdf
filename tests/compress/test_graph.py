"""Which channels live and die together, in networks small enough to tell by hand."""

import numpy as np
import pytest
import torch
from torch import nn

from medgrad.compress.structure import graph
from medgrad.compress.structure.channel_ids import AxisChannels, reshape_channels
from medgrad.compress.structure.channels import cut
from medgrad.compress.structure.graph import list_groups

X = torch.zeros(1, 2, 8, 8)


def touches(net, x=X):
    return [dict(group.channel_indices) for group in list_groups(net, x)]


def conv(into, out, **settings):
    return nn.Conv2d(into, out, 3, padding=1, bias=False, **settings)


class Net(nn.Module):
    """Layers by name, and a function that says how they are joined."""

    def __init__(self, run, **layers):
        super().__init__()
        self.run = run
        for name, layer in layers.items():
            setattr(self, name, layer)

    def forward(self, x):
        return self.run(self, x)


def test_a_skip_ties_what_it_adds():
    net = Net(lambda n, x: n.c((y := n.a(x)) + n.b(y.relu())), a=conv(2, 3), b=conv(3, 3), c=conv(3, 1))
    wanted = [
        {("a.weight", 0): (i,), ("b.weight", 0): (i,), ("b.weight", 1): (i,), ("c.weight", 1): (i,)} for i in range(3)
    ]
    assert touches(net) == wanted


def test_a_concatenation_shifts_what_comes_second():
    net = Net(lambda n, x: n.c(torch.cat([n.a(x), n.b(x)], 1)), a=conv(2, 2), b=conv(2, 3), c=conv(5, 1))
    assert touches(net) == [{("a.weight", 0): (i,), ("c.weight", 1): (i,)} for i in range(2)] + [
        {("b.weight", 0): (i,), ("c.weight", 1): (2 + i,)} for i in range(3)
    ]


SIDE_BY_SIDE = {
    "cat": lambda a, b: torch.cat([a, b], 2),
    "cat with nothing": lambda a, b: torch.cat([a, torch.zeros_like(a), b], 3),
    "stack": lambda a, b: torch.stack([a, b], 2).flatten(2, 3),
    "stack first": lambda a, b: torch.stack([a, b]).sum(0),
    "where": lambda a, b: torch.where(a.sum((2, 3), keepdim=True) > b, a, b),
}


@pytest.mark.parametrize("how", SIDE_BY_SIDE)
def test_channels_side_by_side_are_one(how):
    net = Net(lambda n, x: n.c(SIDE_BY_SIDE[how](n.a(x), n.b(x))), a=conv(2, 3), b=conv(2, 3), c=conv(3, 1))
    wanted = [{("a.weight", 0): (i,), ("b.weight", 0): (i,), ("c.weight", 1): (i,)} for i in range(3)]
    assert touches(net) == wanted


TURNED = {
    "permute": lambda y: y.permute(0, 2, 3, 1),
    "movedim": lambda y: y.movedim(1, -1),
    "transpose": lambda y: y.flatten(2).transpose(-1, 1),
    "mT": lambda y: y.flatten(2).mT,
    "expand": lambda y: y.movedim(1, 3).expand(2, 1, 8, 8, -1),
    "select": lambda y: y[:, :, 0].movedim(1, 2),
    "unbind": lambda y: y.unbind(2)[1].mT,
    "slice": lambda y: y[:, :, ::2].movedim(1, 3),
    "mean": lambda y: y.mean((2, 3)),
    "pool and squeeze": lambda y: nn.functional.adaptive_avg_pool2d(y, 1).squeeze((2, 3)),
    "maximum": lambda y: y.amax(2).transpose(1, 2),
    "softmax": lambda y: y.softmax(3).movedim(1, 3),
    "pad": lambda y: nn.functional.pad(y, (1, 1, 2, 2), "reflect").mean((2, 3)),
    "interpolate": lambda y: nn.functional.interpolate(y, scale_factor=2, mode="bilinear").mean((2, 3)),
}


@pytest.mark.parametrize("how", TURNED)
def test_channels_are_followed_to_a_linear_layer(how):
    net = Net(lambda n, x: n.b(TURNED[how](n.a(x))), a=conv(2, 3), b=nn.Linear(3, 1))
    assert touches(net) == [{("a.weight", 0): (i,), ("b.weight", 1): (i,)} for i in range(3)]


def test_equal_parts_lose_theirs_side_by_side():
    def run(n, x):
        some, others = n.a(x).chunk(2, 1)
        return n.b(some) + n.c(others)

    net = Net(run, a=conv(2, 4), b=conv(2, 1), c=conv(2, 1))
    assert touches(net) == [{("a.weight", 0): (i, i + 2), ("b.weight", 1): (i,), ("c.weight", 1): (i,)} for i in (0, 1)]


def test_unequal_parts_lose_nothing():
    def run(n, x):
        some, others = n.a(x).split([3, 1], 1)
        return n.b(some) + n.c(others)

    assert touches(Net(run, a=conv(2, 4), b=conv(3, 1), c=conv(1, 1))) == []


def test_the_channels_in_a_group_of_a_norm_go_together():
    net = nn.Sequential(conv(2, 6), nn.GroupNorm(3, 6), nn.ReLU(), conv(6, 1))
    found = list_groups(net, X)
    assert [group.channel_indices["0.weight", 0] for group in found] == [(0, 1), (2, 3), (4, 5)]
    assert {group.size for group in found} == {2}
    assert cut(net, found[:1])[1]["1"] == [4, 2]


@pytest.mark.parametrize("norm", [nn.BatchNorm2d(3), nn.InstanceNorm2d(3, affine=True)], ids=["batch", "instance"])
def test_a_channel_takes_its_norms_numbers_with_it(norm):
    found = touches(nn.Sequential(conv(2, 3), norm, conv(3, 1)))
    own = {name for name, tensor in norm.named_parameters()} | {n for n, t in norm.named_buffers() if t.ndim}
    assert set(found[1]) == {("0.weight", 0), ("2.weight", 1), *((f"1.{name}", 0) for name in own)}
    assert set(found[1].values()) == {(1,)}


def test_channels_by_themselves_pass_through():
    net = nn.Sequential(conv(2, 3), conv(3, 3, groups=3), conv(3, 1))
    assert touches(net) == [{("0.weight", 0): (i,), ("1.weight", 0): (i,), ("2.weight", 1): (i,)} for i in range(3)]
    assert cut(net, list_groups(net, X)[:1])[1] == {"0": [2, 2, 1], "1": [2, 2, 2], "2": [2, 1, 1]}


def test_groups_of_a_convolution_go_whole():
    net = nn.Sequential(conv(2, 6), nn.Conv2d(6, 9, 1, groups=3), conv(9, 1))
    found = touches(net)
    assert [g["0.weight", 0] for g in found] == [(0, 1), (2, 3), (4, 5)]
    assert [g["1.weight", 0] for g in found] == [(0, 1, 2), (3, 4, 5), (6, 7, 8)]
    assert [g["1.bias", 0] for g in found] == [g["1.weight", 0] for g in found] == [g["2.weight", 1] for g in found]


def test_a_transposed_convolution_makes_its_channels_at_the_second_axis():
    net = nn.Sequential(nn.ConvTranspose2d(2, 3, 2, 2, bias=False), nn.ConvTranspose2d(3, 1, 2, 2, bias=False))
    assert touches(net) == [{("0.weight", 1): (i,), ("1.weight", 0): (i,)} for i in range(3)]


def test_a_flattened_channel_is_read_at_each_of_its_elements():
    net = nn.Sequential(conv(2, 3), nn.MaxPool2d(4), nn.Flatten(), nn.Linear(12, 1))
    assert [g["3.weight", 1] for g in touches(net)] == [(0, 1, 2, 3), (4, 5, 6, 7), (8, 9, 10, 11)]


def test_a_head_that_is_asked_twice_keeps_one_set_of_channels():
    net = Net(lambda n, x: n.c(n.b(n.a(x))) + n.c(n.b(n.d(x))), a=conv(2, 3), b=conv(3, 3), c=conv(3, 1), d=conv(2, 3))
    assert [sorted(g) for g in touches(net)] == [
        *[[("a.weight", 0), ("b.weight", 1), ("d.weight", 0)]] * 3,
        *[[("b.weight", 0), ("c.weight", 1)]] * 3,
    ]


def test_a_part_that_answers_only_while_learning_is_followed():
    def run(n, x):
        y = n.a(x)
        return (n.b(y), n.c(y)) if n.training else n.b(y)

    net = Net(run, a=conv(2, 3), b=conv(3, 1), c=conv(3, 1)).eval()
    assert all(("c.weight", 1) in group for group in touches(net))


def test_what_one_channel_scales_stays_free_of_it():
    net = Net(lambda n, x: n.c(n.a(x) * n.b(x).sigmoid()), a=conv(2, 3), b=conv(2, 1), c=conv(3, 1))
    assert touches(net) == [{("a.weight", 0): (i,), ("c.weight", 1): (i,)} for i in range(3)]


LOCKING = {
    "an operation that is not known": lambda _, y: torch.fft.fft(y, dim=1).real,
    "a mean over the channels": lambda _, y: y - y.mean(1, keepdim=True),
    "shares of the channels": lambda _, y: y.softmax(1),
    "channels by their number": lambda _, y: torch.cat([y[:, 1:3], y[:, 1:3]], 1),
    "channels as rows and columns": lambda _, y: y.reshape(1, 2, 2, 8, 8).transpose(1, 2).reshape(1, 4, 8, 8),
    "channels as space": lambda _, y: torch.cat([torch.pixel_shuffle(y, 2)] * 4, 1),
    "a constant for each channel": lambda _, y: y * torch.arange(4.0).view(4, 1, 1),
    "a weight for each channel": lambda n, y: y * n.scale,
    "a write into a constant": lambda _, y: torch.zeros(1, 4, 8, 8).copy_(y),
    "an addition to a constant": lambda _, y: torch.zeros_like(y).add_(y),
    "a write into a part": lambda _, y: y.clone()[:, :2].mul_(2).repeat(1, 2, 1, 1),
    "a width in the code": lambda _, y: y.flatten(2).reshape(1, 4, 8, 8),
    "a width in the code of what learns": lambda n, y: y.flatten(2).reshape(1, 4 if n.training else -1, 8, 8),
    "a width in a constant": lambda _, y: y + torch.zeros(1, 4, 1, 1),
    "a kernel that is made": lambda n, y: nn.functional.conv2d(y, n.made.weight * 2),
}


BY_TRIAL = [why for why in LOCKING if why.startswith("a width")]


@pytest.mark.parametrize("why", LOCKING)
def test_what_cannot_be_followed_stays(why, monkeypatch):
    if why not in BY_TRIAL:  # the graph alone tells
        monkeypatch.setattr(graph, "keep_removable", lambda *given: given[-1])
    join = LOCKING[why]
    net = Net(lambda n, x: n.c(join(n, n.a(x))), a=conv(2, 4), c=conv(4, 1))
    net.scale, net.made = nn.Parameter(torch.ones(4, 1, 1)), conv(4, 4)
    assert touches(net) == []


@pytest.mark.parametrize(
    ("before", "after", "found"),
    [
        ((1, 4, 3), (1, 12), (1, [1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2])),
        ((3, 4), (3, 1, 4, 1), (2, [1, 1, 2, 2])),
        ((2, 4, 1, 5), (2, 4, 5), (1, [1, 1, 2, 2])),
        ((1, 4), (1, 2, 2), None),
        ((4, 4), (2, 8), (1, [1, 1, 2, 2, 1, 1, 2, 2])),
        ((0, 4), (4, 0), None),
    ],
)
def test_channels_are_followed_into_another_shape_while_their_axis_stays_whole(before, after, found):
    told = reshape_channels(AxisChannels(1, np.array([1, 1, 2, 2])), before, after)
    assert (None if told is None else (told.axis, told.ids.tolist())) == found


def test_a_lock_holds_no_more_than_it_must():
    net = Net(lambda n, x: n.c(n.b(torch.fft.fft(n.a(x), dim=1).real)), a=conv(2, 4), b=conv(4, 3), c=conv(3, 1))
    assert [sorted(g) for g in touches(net)] == [[("b.weight", 0), ("c.weight", 1)]] * 3


def test_weights_that_two_layers_share_stay(monkeypatch):
    monkeypatch.setattr(graph, "keep_removable", lambda *given: given[-1])
    net = nn.Sequential(conv(2, 4), conv(4, 4), conv(4, 4), conv(4, 1))
    assert touches(net)
    net[2].weight = net[1].weight
    assert touches(net) == []


def test_a_layer_at_two_places_is_one_layer():
    block = conv(3, 3)
    net = Net(lambda n, x: n.c(n.again.inner(n.a(x))), a=conv(2, 3), b=block, c=conv(3, 1))
    net.again = nn.Module()
    net.again.inner = block
    found = list_groups(net, X)
    assert {p for g in found for p in g.channel_indices} == {
        ("a.weight", 0),
        ("b.weight", 0),
        ("b.weight", 1),
        ("c.weight", 1),
    }
    smaller, _ = cut(net, [found[0], found[-1]])
    assert smaller.again.inner.weight.shape == smaller.b.weight.shape == (2, 2, 3, 3)
    assert smaller(X).shape == (1, 1, 8, 8)


def test_a_network_of_one_channel_throughout_has_nothing_to_give():
    assert touches(nn.Sequential(conv(2, 1), nn.ReLU(), conv(1, 1))) == []


@pytest.mark.filterwarnings("ignore:The tensor attribute.*were assigned during export")
@pytest.mark.filterwarnings("ignore:The tensor attribute.*was assigned during export")
def test_a_network_that_keeps_what_it_sees_is_followed():
    def run(n, x):
        n.seen = n.a(x)
        return n.b(n.seen)

    net = Net(run, a=conv(2, 3), b=conv(3, 1))
    assert len(list_groups(net, X)) == 3
    assert not hasattr(net, "seen") or type(net.seen) is torch.Tensor


def test_the_network_is_left_as_it_was():
    net = nn.Sequential(conv(2, 3), nn.BatchNorm2d(3), nn.Dropout(), conv(3, 1)).train()
    net[2].eval()
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    found = list_groups(net, torch.randn(1, 2, 8, 8))
    assert [m.training for m in net] == [True, True, False, True]
    assert all(torch.equal(before[name], tensor) for name, tensor in net.state_dict().items())
    assert [p.shape for p in cut(net, found[:1])[0].parameters()] == [(2, 2, 3, 3), (2,), (2,), (1, 2, 3, 3)]
    assert all(torch.equal(before[name], tensor) for name, tensor in net.state_dict().items())

"""A network takes the widths that it is given, and tells those that it has."""

import tomllib

import pytest
import torch
from torch import nn

from medgrad import registry
from medgrad.engine.runs.recipe import Recipe, recipe_from_tables, recipe_to_toml
from medgrad.engine.runs.run import build_model
from medgrad.errors import MedgradError, SettingError
from medgrad.models import InstanceNorm, layer_widths, with_widths
from medgrad.models._blocks import make_conv

LAYERS = [
    (nn.Conv2d(4, 6, 3), [4, 6, 1], [2, 3, 1], {"weight": (3, 2, 3, 3), "bias": (3,)}),
    (nn.Conv3d(4, 8, 1, groups=4, bias=False), [4, 8, 4], [2, 4, 2], {"weight": (4, 1, 1, 1, 1)}),
    (nn.ConvTranspose3d(4, 6, 2), [4, 6, 1], [3, 5, 1], {"weight": (3, 5, 2, 2, 2), "bias": (5,)}),
    (nn.ConvTranspose2d(4, 8, 2, groups=2), [4, 8, 2], [2, 4, 1], {"weight": (2, 4, 2, 2), "bias": (4,)}),
    (nn.Linear(4, 6), [4, 6], [1, 2], {"weight": (2, 1), "bias": (2,)}),
    (nn.BatchNorm2d(4), [4], [3], dict.fromkeys(("weight", "bias", "running_mean", "running_var"), (3,))),
    (nn.InstanceNorm3d(4, affine=True), [4], [2], {"weight": (2,), "bias": (2,)}),
    (InstanceNorm(4), [4], [2], {"weight": (2,), "bias": (2,)}),
    (nn.GroupNorm(2, 4), [4, 2], [2, 1], {"weight": (2,), "bias": (2,)}),
    (nn.LayerNorm(4), [4], [2], {"weight": (2,), "bias": (2,)}),
    (nn.PReLU(4), [4], [2], {"weight": (2,)}),
]


@pytest.mark.parametrize(("layer", "old", "new", "shapes"), LAYERS, ids=lambda v: type(v).__name__)
def test_each_kind_of_layer_takes_another_width_and_works_with_it(layer, old, new, shapes):
    assert layer_widths(nn.Sequential(layer)) == {"0": old}
    smaller = with_widths(nn.Sequential(layer), {"0": new})
    assert layer_widths(smaller) == {"0": new}
    state = {name: tuple(t.shape) for name, t in smaller[0].state_dict().items() if t.ndim}
    assert state == shapes
    dims = (
        layer.weight.ndim - 2 if layer.weight.ndim > 2 else {"BatchNorm2d": 2, "PReLU": 2}.get(type(layer).__name__, 3)
    )
    rows = isinstance(layer, (nn.Linear, nn.LayerNorm))
    out = smaller(torch.randn(2, new[0]) if rows else torch.randn(2, new[0], *(4,) * dims))
    last = new[1] if len(new) > 1 and not isinstance(layer, nn.GroupNorm) else new[0]
    assert out.shape[1] == last


def test_the_network_that_was_given_stays_as_it_is():
    net = nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 2))
    with_widths(net, {"0": [4, 1], "1": [1, 2]})
    assert net(torch.zeros(1, 4)).shape == (1, 2)
    assert layer_widths(net) == {"0": [4, 3], "1": [3, 2]}


@pytest.mark.parametrize(
    ("layer", "old", "new"),
    [
        (lambda into, out: make_conv(into, out, 2), [64, 96, 1], [16, 64, 1]),
        (lambda into, out: nn.ConvTranspose2d(into, out, 2, 2), [64, 96, 1], [64, 32, 1]),
        (nn.Linear, [256, 96], [64, 48]),
    ],
    ids=["conv", "up", "linear"],
)
def test_a_new_layer_begins_as_if_it_had_been_made_so(layer, old, new):
    torch.manual_seed(0)
    narrow, fresh = with_widths(nn.Sequential(layer(*old[:2])), {"0": new})[0], layer(*new[:2])
    assert float(narrow.weight.detach().std()) == pytest.approx(float(fresh.weight.detach().std()), rel=0.05)


def test_a_layer_that_begins_with_no_opinion_has_none():
    net = registry.find("models", "yolo")(1, 2, 2, channels=(4, 8), first=1, width=8, normalise="batch")
    small = with_widths(net, {"classes.last": [5, 2, 1]})
    assert torch.equal(small.classes.last.bias, net.classes.last.bias)


def test_no_layer_becomes_wider():
    with pytest.raises(SettingError, match="none is larger"):
        with_widths(nn.Sequential(nn.Linear(4, 3)), {"0": [4, 5]})


def test_a_part_without_any_width_is_left_out():
    net = nn.Sequential(nn.Linear(4, 4), nn.Sequential(nn.Linear(4, 4), nn.Tanh()), nn.Linear(4, 2))
    smaller = with_widths(net, {"1": []})
    x = torch.randn(3, 4)
    assert torch.equal(smaller(x), net[2](net[0](x)))
    assert set(smaller.state_dict()) == {"0.weight", "0.bias", "2.weight", "2.bias"}
    with pytest.raises(SettingError, match="no part"):
        with_widths(net, {"3": []})


def test_what_was_frozen_stays_so():
    net = nn.Sequential(nn.Linear(4, 3))
    net[0].bias.requires_grad_(False)
    smaller = with_widths(net, {"0": [4, 2]})
    assert not smaller[0].bias.requires_grad
    assert smaller[0].weight.requires_grad


@pytest.mark.parametrize(
    ("wanted", "said"),
    [({"1.weigth": [1]}, "no layer"), ({"0": [4]}, "2 whole numbers"), ({"0": [4, 0]}, "above 0")],
)
def test_widths_that_do_not_fit_are_told(wanted, said):
    with pytest.raises(SettingError, match=said):
        with_widths(nn.Sequential(nn.Linear(4, 3)), wanted)


SMALL = {"down.0.0.0": (1, 5, 1), "down.0.0.1": (5,), "down.0.1.0": (5, 8, 1), "join.0.1": ()}
RECIPE = Recipe(
    task={"kind": "segmentation", "dims": 2, "labels": ("a",)},
    model={"name": "unet", "channels": (8, 16)},
    layer_widths=SMALL,
)


def test_a_recipe_remembers_the_widths_of_its_network():
    assert '"down.0.0.0" = [1, 5, 1]' in recipe_to_toml(RECIPE)
    assert recipe_from_tables(tomllib.loads(recipe_to_toml(RECIPE))) == RECIPE
    assert "widths" not in recipe_to_toml(Recipe())


def test_the_network_of_a_recipe_has_its_widths():
    model = build_model(RECIPE, RECIPE.build_task(), 1)
    assert layer_widths(model)["down.0.0.0"] == [1, 5, 1]
    assert model(torch.zeros(1, 1, 8, 8)).shape == (1, 2, 8, 8)


@pytest.mark.parametrize("wrong", [{"a": 5}, {"a": [0]}, {"a": [1.5]}, {"a": [True]}])
def test_widths_that_are_no_whole_numbers_are_told(wrong):
    with pytest.raises(MedgradError, match="whole numbers above 0"):
        Recipe(layer_widths=wrong)

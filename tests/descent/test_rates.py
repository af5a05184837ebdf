"""Some weights at a rate of their own."""

import pytest
import torch
from torch import nn

from medgrad import registry
from medgrad.descent.parameter_groups import split_groups
from medgrad.errors import SettingError


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 2))


def optimiser(net, rules, name="adamw"):
    made = registry.find("descent.optimisers", name)(net.named_parameters(), rate=1e-2)
    split_groups(made, net.named_parameters(), rules)
    return made


def rates_of(net, made):
    rate = {id(p): g["lr"] for g in made.param_groups for p in g["params"]}
    return {name: rate[id(p)] for name, p in net.named_parameters()}


def decays_of(net, made):
    decay = {id(p): g["weight_decay"] for g in made.param_groups for p in g["params"]}
    return {name: decay[id(p)] for name, p in net.named_parameters()}


def test_without_rules_nothing_changes():
    net = network()
    assert len(optimiser(net, ()).param_groups) == 2


def test_the_first_rule_that_matches_counts():
    net = network()
    found = rates_of(net, optimiser(net, ({"match": "4.*", "rate": 10.0}, {"match": "*.weight", "rate": 0.1})))
    assert found["4.weight"] == pytest.approx(0.1)
    assert found["4.bias"] == pytest.approx(0.1)
    assert found["0.weight"] == pytest.approx(1e-3)
    assert found["0.bias"] == pytest.approx(1e-2)


def test_layers_far_from_the_answer_learn_more_slowly():
    net = network()
    found = rates_of(net, optimiser(net, ({"match": "*", "layerwise": 0.5},)))
    assert [found[f"{n}.weight"] for n in (0, 2, 4)] == pytest.approx([0.0025, 0.005, 0.01])
    assert found["0.bias"] == found["0.weight"]


def test_decay_is_masked_where_a_rule_says():
    net = network()
    found = decays_of(net, optimiser(net, ({"match": "0.*", "decay": 0.0},)))
    assert found["0.weight"] == 0
    assert found["2.weight"] > 0
    assert found["2.bias"] == 0


def test_a_rate_of_nothing_freezes():
    net = network()
    made = optimiser(net, ({"match": "0.*", "rate": 0.0},))
    before = net[0].weight.detach().clone()
    last = net[4].weight.detach().clone()

    def closure():
        made.zero_grad()
        with torch.enable_grad():
            loss = net(torch.ones(2, 3)).square().sum()
            loss.backward()
        return loss.detach()

    for _ in range(3):
        made.step(closure)
    assert torch.equal(net[0].weight, before)
    assert not torch.equal(net[4].weight, last)


@pytest.mark.parametrize(
    ("rules", "words"),
    [
        (({"match": "9.*"},), "matches no weight"),
        (({"rate": 2.0},), "which weights"),
        (({"match": "*", "speed": 2.0},), "speed"),
        (({"match": "*", "rate": -1.0},), "at least 0"),
        (({"match": "*", "rate": "fast"},), "a number"),
    ],
)
def test_what_cannot_be_meant_is_an_error(rules, words):
    with pytest.raises(SettingError, match=words):
        optimiser(network(), rules)

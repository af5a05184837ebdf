"""A smaller network is the larger one with the removed channels silent; and it costs what was asked."""

import numpy as np
import pytest
import torch
from small_networks import EVERY, KINDS, QUICK, example, known, make
from torch import nn
from torch.nn import functional as F

from medgrad import registry
from medgrad.compress.structure.channels import choose_groups, cut, importance, min_channels, smallest_share
from medgrad.compress.structure.cost import count_cost
from medgrad.compress.structure.graph import build_graph
from medgrad.errors import SettingError
from medgrad.models import layer_widths, with_widths
from medgrad.tasks import full_resolution

TRACED = [("unet", 3), ("mlp none", 2)]
NOTHING = ("logistic", "svm", "svm rbf")
DIFFERENT = [("unet", 3), ("unet group", 2), ("resnet", 2), ("mlp none", 2)]
"""Norms and groups of channels, sums of layers, linear layers."""
PRUNED = [each for each in EVERY if each.values[0] not in NOTHING]


def half(groups, share=0.5, seed=0):
    """Draw about half of the groups, leaving at least one of each family."""
    rng = np.random.default_rng(seed)
    families = {}
    for group in groups:
        families.setdefault(group.family, []).append(group)
    drawn = []
    for members in families.values():
        count = min(len(members) - 1, max(1, int(share * len(members))))
        drawn += [members[i] for i in rng.permutation(len(members))[:count]]
    return drawn


class LookingAway(nn.Module):
    """A layer norm over some of its elements."""

    def __init__(self, norm, gone):
        super().__init__()
        self.norm, self.kept = norm, [i for i in range(len(norm.weight)) if i not in gone]

    def forward(self, x):
        out, weight, bias = torch.zeros_like(x), self.norm.weight[self.kept], self.norm.bias[self.kept]
        out[..., self.kept] = F.layer_norm(x[..., self.kept], (len(self.kept),), weight, bias, self.norm.eps)
        return out


def silenced(kind, dims, gone):
    """The whole network, in which what makes the removed channels gives zero, and their norms keep it so."""
    model = make(kind, dims).eval()
    lost = {}
    for group in gone:
        for place, indices in group.channel_indices.items():
            lost.setdefault(place, []).extend(indices)
    for (name, axis), indices in lost.items():
        path, _, kind_of = name.rpartition(".")
        module, weight = model.get_submodule(path), model.state_dict()[name]
        turned = isinstance(module, nn.modules.conv._ConvTransposeNd) and weight.ndim > 1
        if axis == (1 if turned else 0) and not kind_of.startswith("running"):
            weight.index_fill_(axis, torch.tensor(indices), 0)
    for path, module in list(model.named_modules()):
        if isinstance(module, nn.LayerNorm):
            parent = model.get_submodule(path.rpartition(".")[0])
            setattr(parent, path.rpartition(".")[2], LookingAway(module, lost[f"{path}.weight", 0]))
    return model


@pytest.mark.parametrize(("kind", "dims"), PRUNED)
def test_a_cut_network_answers_as_the_whole_one_with_those_channels_silent(kind, dims):
    model, graph = known(kind, dims)
    gone = half(graph.groups)
    smaller, _ = cut(model, gone)
    with torch.no_grad():
        want = full_resolution(silenced(kind, dims, gone)(example(kind, dims, 2)))
        got = full_resolution(smaller.eval()(example(kind, dims, 2)))
        whole = full_resolution(model.eval()(example(kind, dims, 2)))
    torch.testing.assert_close(got, want, rtol=1e-3, atol=1e-3)
    assert not torch.allclose(got, whole, rtol=1e-2, atol=1e-2), "nothing was removed"


@pytest.mark.parametrize(("kind", "dims"), PRUNED)
def test_a_cut_network_learns_and_keeps_its_shapes(kind, dims):
    model, graph = known(kind, dims)
    smaller, new = cut(model, half(graph.groups))
    x = example(kind, dims, 4)
    shapes = lambda out: [o.shape for o in (out if isinstance(out, tuple) else (out,))]  # noqa: E731
    out = smaller.train()(x)
    assert shapes(out) == shapes(model.train()(x))
    sum(o.float().square().mean() for o in (out if isinstance(out, tuple) else (out,))).backward()
    for name, p in smaller.named_parameters():
        if name.split(".")[0] in getattr(model, "training_only", ()):
            continue  # what only its own gradients train
        assert p.grad is not None, name
        assert p.grad.isfinite().all(), name
    every = layer_widths(smaller)
    assert new == {name: numbers for name, numbers in every.items() if numbers != layer_widths(model)[name]}
    assert sum(p.numel() for p in smaller.parameters()) < sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize(("kind", "dims"), [p for p in PRUNED if p.values in TRACED or p.marks])
def test_a_cut_network_is_exported_and_its_flops_were_foreseen(kind, dims):
    model, graph = known(kind, dims)
    gone = half(graph.groups)
    smaller, _ = cut(model, gone)
    x = example(kind, dims)
    program = torch.export.export(smaller.eval(), (x,))
    with torch.no_grad():
        torch.testing.assert_close(program.module()(x), smaller(x), rtol=1e-3, atol=1e-4)
    tally, numbers = graph.costs["flops"], {i for i, g in enumerate(graph.groups) if g in gone}
    left = lambda owners: 1 if owners is None else sum(int(o) not in numbers for o in owners)  # noqa: E731
    foreseen = tally.fixed + sum(t.unit_cost * left(t.out) * left(t.into) for t in tally.terms)
    assert foreseen == count_cost(smaller, x).flops


@pytest.mark.parametrize(("kind", "dims"), PRUNED)
def test_every_hidden_layer_is_within_reach(kind, dims):
    """Nothing stays as it is but the first layer's inputs and the last layers' outputs."""
    model, graph = known(kind, dims)
    met = {place for group in graph.groups for place in group.channel_indices}
    answers = {n for n, m in model.named_modules() if isinstance(m, nn.modules.conv._ConvNd | nn.Linear)}
    left = {name for name in answers if (f"{name}.weight", 0) not in met or (f"{name}.weight", 1) not in met}
    ends = {
        "unet": 2, "resnet": 2, "vgg": 2, "cnn": 2, "mlp": 2, "yolo": 3, "retinanet": 3, "faster_rcnn": 5, "monai": 2,
        "image_unet": 2, "autoencoder": 2, "dncnn": 2, "rectified_flow": 2,
        "adversarial_pair": 5,  # its critic of three layers stays
    }[kind.split()[0]]  # fmt: skip
    ends += {"unet deep": 1, "unet residual deep": 2, "monai unet": 2, "autoencoder levels": 1}.get(kind, 0)
    assert len(left) == ends, left


@pytest.mark.parametrize("kind", NOTHING)
def test_where_all_is_input_and_output_nothing_can_go(kind):
    assert known(kind, 2)[1].groups == ()


@pytest.mark.parametrize(
    ("kind", "dims", "what"), [("unet", 3, "flops"), ("cnn", 3, "parameters"), ("mlp none", 2, "bytes")]
)
def test_the_cost_comes_down_to_what_was_asked(kind, dims, what):
    model, graph = known(kind, dims)
    assert graph.costs[what].total == getattr(count_cost(model, example(kind, dims)), what)
    smaller = cut(model, choose_groups(graph, torch.rand(len(graph.groups)), {what: 0.4}, min_count=2))[0]
    share = getattr(count_cost(smaller, example(kind, dims)), what) / graph.costs[what].total
    assert 0.2 < share <= 0.4


def test_several_costs_come_down_together_and_none_lower_than_they_must():
    model, graph = known("unet", 3)
    weigh = torch.rand(len(graph.groups), generator=torch.Generator().manual_seed(0))
    want = {"flops": 0.4, "parameters": 0.25}
    gone = choose_groups(graph, weigh, want, min_count=2)
    left = lambda some: count_cost(cut(model, some)[0], example("unet", 3))  # noqa: E731
    met = lambda cost: [getattr(cost, w) <= s * graph.costs[w].total for w, s in want.items()]  # noqa: E731
    assert all(met(left(gone)))
    assert not all(met(left(gone[:-1])))
    first = choose_groups(graph, weigh, {"flops": 0.4}, min_count=2)
    assert not all(met(left(first)))


def test_the_lowest_share_is_that_of_the_network_with_the_fewest_channels():
    model, graph = known("unet", 3)
    share = smallest_share(graph, min_count=2)
    smaller, _ = cut(model, choose_groups(graph, torch.rand(len(graph.groups)), {"flops": share}, min_count=2))
    assert count_cost(smaller, example("unet", 3)).flops == pytest.approx(
        share * count_cost(model, example("unet", 3)).flops
    )
    assert {w[1] for n, w in layer_widths(smaller).items() if len(w) == 3} == {2, 3}


def test_the_least_important_goes_first():
    _, graph = known("cnn", 3)
    scores = torch.arange(len(graph.groups), dtype=torch.float) % 4
    gone = choose_groups(graph, 1 + 100 * scores, {"flops": 0.8}, min_count=1)
    assert gone
    assert {int(scores[graph.groups.index(group)]) for group in gone} == {0}


def test_widths_are_multiples_where_asked():
    model, graph = known("resnet", 2)
    _, new = cut(model, choose_groups(graph, torch.rand(len(graph.groups)), {"flops": 0.5}, min_count=2, multiple=2))
    assert new
    changed = [(n, o) for name, numbers in new.items() for n, o in zip(numbers, layer_widths(model)[name], strict=True)]
    assert all(n % 2 == 0 for n, o in changed if n != o)


def test_a_layer_keeps_the_fewest_or_a_multiple():
    model, graph = known("resnet", 2)
    weigh = torch.rand(len(graph.groups), generator=torch.Generator().manual_seed(3))
    share = smallest_share(graph, min_count=3, multiple=4)
    _, new = cut(model, choose_groups(graph, weigh, {"flops": share}, min_count=3, multiple=4))
    changed = [(n, o) for name, numbers in new.items() for n, o in zip(numbers, layer_widths(model)[name], strict=True)]
    assert {n for n, o in changed if n != o} == {3}
    _, new = cut(model, choose_groups(graph, weigh, {"flops": (1 + share) / 2}, min_count=3, multiple=4))
    changed = [(n, o) for name, numbers in new.items() for n, o in zip(numbers, layer_widths(model)[name], strict=True)]
    assert {n for n, o in changed if n != o} <= {3, 4, 8, 12}


def test_lanes_count_what_comes_out_in_full_blocks():
    net = nn.Sequential(nn.Linear(3, 20), nn.ReLU(), nn.Linear(20, 7), nn.ReLU(), nn.Linear(7, 2))
    graph = build_graph(net, torch.zeros(1, 3))
    assert graph.costs["lanes"].total == 2 * (3 * 32 + 20 * 16 + 7 * 16)
    gone = choose_groups(graph, torch.arange(27.0).flip(0), {"lanes": 0.9}, min_count=1)
    left = cut(net, gone)[0]
    assert build_graph(left, torch.zeros(1, 3)).costs["lanes"].total <= 0.9 * graph.costs["lanes"].total


def test_each_family_keeps_the_fewest_that_were_asked():
    model, graph = known("cnn", 3)
    with pytest.raises(SettingError, match="keeps 4 channels"):
        choose_groups(graph, torch.rand(len(graph.groups)), {"flops": 0.01}, min_count=4)
    smaller, _ = cut(
        model,
        choose_groups(graph, torch.rand(len(graph.groups)), {"flops": smallest_share(graph, min_count=3)}, min_count=3),
    )
    assert {numbers[0] for numbers in layer_widths(smaller).values() if len(numbers) == 1} == {3}


def test_what_is_infinitely_important_stays():
    _, graph = known("cnn", 3)
    importances = torch.ones(len(graph.groups))
    kept = [number for number, group in enumerate(graph.groups) if group.family == 0]
    importances[kept] = torch.inf
    gone = choose_groups(graph, importances, {"flops": 0.6}, min_count=1)
    assert gone
    assert all(group.family != 0 for group in gone)


def test_an_importance_for_each_group_is_a_number():
    _, graph = known("cnn", 3)
    for wrong, said in ((torch.full((len(graph.groups),), torch.nan), "not a number"), (torch.ones(2), "need as many")):
        with pytest.raises(ValueError, match=said):
            choose_groups(graph, wrong, {"flops": 0.5})


@pytest.mark.parametrize("target", [0, -1, 1.5])
def test_a_target_that_is_no_share_is_told(target):
    _, graph = known("cnn", 3)
    with pytest.raises(SettingError, match="above 0"):
        choose_groups(graph, torch.rand(len(graph.groups)), {"flops": target})


def net():
    return nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1))


SCORES = {
    "0.weight": torch.tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]),
    "0.bias": torch.tensor([1.0, 0.0, 2.0]),
    "2.weight": torch.tensor([[10.0, 20.0, 30.0]]),
}


def test_the_importance_of_a_channel_is_that_of_all_its_weights():
    groups = build_graph(net(), torch.zeros(1, 2)).groups
    assert importance(groups, SCORES, relative=False).tolist() == [14, 27, 43]
    assert importance(groups, SCORES, reduction="mean", relative=False).tolist() == [14 / 4, 27 / 4, 43 / 4]
    assert importance(groups, SCORES).tolist() == pytest.approx([0.5, 27 / 28, 43 / 28])


def test_weights_without_a_score_count_nothing():
    groups = build_graph(net(), torch.zeros(1, 2)).groups
    assert importance(groups, {"2.weight": SCORES["2.weight"]}, relative=False).tolist() == [10, 20, 30]


def test_layers_of_other_scales_compare():
    _, graph = known("cnn", 3)
    model = make("cnn", 3)
    scores = {name: p.abs() for name, p in model.named_parameters()}
    loud = {name: s * (1000 if name.startswith("body.0") else 1) for name, s in scores.items()}
    families = torch.tensor([g.family for g in graph.groups])
    for family in families.unique():
        assert float(importance(graph.groups, loud)[families == family].mean()) == pytest.approx(1)


def test_a_cut_network_is_rebuilt_from_its_settings_its_widths_and_its_weights():
    model, graph = known("faster_rcnn", 2)
    smaller, new = cut(model, half(graph.groups))
    again = with_widths(registry.find("models", "faster_rcnn")(2, 3, 2, **KINDS["faster_rcnn"]), new)
    again.load_state_dict(smaller.state_dict())
    x = example("faster_rcnn", 2)
    with torch.no_grad():
        torch.testing.assert_close(again.eval()(x), smaller.eval()(x))


def test_a_network_is_cut_again():
    model, graph = known("unet", 3)
    once, first = cut(model, half(graph.groups))
    twice, new = cut(once, half(build_graph(once, example("unet", 3)).groups))
    fresh = with_widths(make("unet", 3), first | new)
    fresh.load_state_dict(twice.state_dict())
    assert sum(p.numel() for p in fresh.parameters()) < sum(p.numel() for p in once.parameters())


def test_every_model_of_the_house_is_looked_at():
    assert {kind.split()[0] for kind in KINDS} == set(registry.names("models"))
    assert {kind.split()[0] for kind, _ in QUICK} == set(registry.names("models")) - {"monai"}


@pytest.mark.parametrize(
    ("kind", "dims"),
    [
        p if p.marks or p.values in DIFFERENT else pytest.param(*p.values, id=p.id, marks=pytest.mark.slow)
        for p in PRUNED
    ],
)
def test_each_layer_keeps_its_share_of_what_it_was(kind, dims):
    (model, known_graph), shown = known(kind, dims), example(kind, dims)
    before, whole = layer_widths(model), model.state_dict()
    once, _ = cut(model, half(known_graph.groups, share=0.3))
    graph = build_graph(once, shown)
    least = min_channels(graph, whole, 1, 0.5)
    share = max(0.01, smallest_share(graph, min_count=least))
    gone = choose_groups(graph, torch.rand(len(graph.groups)), {"flops": share}, min_count=least)
    twice = cut(once, gone)[0]
    assert all(
        now >= old / 2
        for name, left in layer_widths(twice).items()
        for now, old in zip(left, before[name], strict=True)
    )
    assert count_cost(twice, shown).flops < graph.costs["flops"].total


def test_a_network_of_which_nothing_can_go_is_told_so():
    graph = build_graph(make("logistic", 2), example("logistic", 2))
    least = min_channels(graph, {}, 4, 0.25)
    with pytest.raises(SettingError, match="each layer keeps all of its channels"):
        choose_groups(graph, torch.zeros(len(graph.groups)), {"flops": 0.5}, min_count=least)

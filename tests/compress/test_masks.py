"""Masks, shares and growth by known values, and zeros that last through training."""

from itertools import pairwise

import pytest
import torch
from torch import nn
from torch.optim import optimizer

from medgrad import registry
from medgrad.compress.weights.masks import apply_masks, make_masks, n_of_m, read_masks, transposed_weights, zero_share
from medgrad.compress.weights.sparsity_schedule import (
    drop_and_grow,
    layer_sparsities,
    prune_in_rounds,
    regrow_share,
    sparsity_at,
)
from medgrad.descent.gradients import build_gradients, prunable_weights
from medgrad.engine.runs.checkpoint import read_checkpoint, write_checkpoint
from medgrad.engine.training.loop import EMA, train
from medgrad.errors import SettingError
from medgrad.tasks import stack_samples

SCORES = {"a": torch.tensor([[1.0, 2.0], [3.0, 4.0]]), "b": torch.tensor([[0.1, 0.2, 9.0]])}


def counts(masks):
    return {name: int(m.sum()) for name, m in masks.items()}


# Masks


def test_the_lowest_of_all_go_wherever_they_are():
    kept = make_masks(SCORES, share=3 / 7)
    assert kept["a"].tolist() == [[False, True], [True, True]]
    assert kept["b"].tolist() == [[False, False, True]]


def test_within_each_layer_the_same_share_goes():
    kept = make_masks(SCORES, share=0.5, scope="layer")
    assert kept["a"].tolist() == [[False, False], [True, True]]
    assert kept["b"].tolist() == [[False, False, True]]


def test_each_layer_may_have_a_share_of_its_own():
    assert counts(make_masks(SCORES, share={"a": 0.0, "b": 2 / 3})) == {"a": 4, "b": 1}


def test_the_threshold_keeps_what_reaches_it():
    kept = make_masks(SCORES, epsilon=2.0)
    assert kept["a"].tolist() == [[False, True], [True, True]]
    assert kept["b"].tolist() == [[False, False, True]]


@pytest.mark.parametrize("how", [{"share": 1.0}, {"share": 1.0, "scope": "layer"}, {"epsilon": 99.0}])
def test_no_layer_is_emptied(how):
    kept = make_masks(SCORES, **how)
    assert kept["a"].tolist() == [[False, False], [False, True]]
    assert kept["b"].tolist() == [[False, False, True]]


@pytest.mark.parametrize("share", [0.0, 0.1, 0.37, 0.5, 0.99])
@pytest.mark.parametrize("scope", ["global", "layer"])
def test_equal_scores_are_parted_to_one_weight(share, scope):
    flat = {"a": torch.zeros(10, 20), "b": torch.zeros(300)}
    kept = make_masks(flat, share=share, scope=scope)
    gone = 500 - sum(counts(kept).values())
    assert gone == round(share * 500)


def test_scores_below_nothing_are_ranked_as_well():
    kept = make_masks({"a": torch.tensor([-3.0, 0.0, -1.0, 2.0])}, share=0.5)
    assert kept["a"].tolist() == [False, True, False, True]


def test_scores_in_channels_last_order_are_masked_where_they_are():
    scores = torch.rand(4, 3, 3, 3, generator=torch.Generator().manual_seed(0)).contiguous(
        memory_format=torch.channels_last
    )
    kept = make_masks({"a": scores}, share=0.5)["a"]
    assert float(scores[kept].min()) > float(scores[~kept].max())


@pytest.mark.parametrize(
    ("how", "words"),
    [({}, "not both"), ({"share": 0.5, "epsilon": 1.0}, "not both"), ({"share": 1.5}, "from 0 to 1"),
     ({"share": 0.5, "scope": "all"}, "'global' or 'layer'")],
)  # fmt: skip
def test_a_wrong_wish_is_told(how, words):
    with pytest.raises(SettingError, match=words):
        make_masks(SCORES, **how)


def test_scores_that_are_no_numbers_are_told_by_name():
    with pytest.raises(SettingError, match="'a' are not finite"):
        make_masks({"a": torch.tensor([1.0, torch.nan])}, share=0.5)


def test_two_of_every_four_input_channels_stay():
    scores = torch.rand(6, 8, 3, 3, generator=torch.Generator().manual_seed(0))
    kept = n_of_m({"a": scores})["a"]
    groups = kept.unflatten(1, (2, 4))
    assert bool((groups.sum(2) == 2).all())
    best = scores.unflatten(1, (2, 4)).topk(2, dim=2).indices
    assert torch.equal(torch.zeros_like(groups).scatter(2, best, True), groups)


@pytest.mark.parametrize(("inputs", "left"), [(1, 1), (2, 2), (3, 2), (4, 2), (5, 3), (7, 4)])
def test_a_short_group_counts_as_filled_up_with_zeros(inputs, left):
    kept = n_of_m({"a": torch.rand(2, inputs, 3)})["a"]
    assert bool((kept.sum(1) == left).all())


def test_of_a_transposed_convolution_the_first_axis_is_grouped():
    model = nn.Sequential(nn.Conv2d(4, 8, 1), nn.ConvTranspose2d(8, 3, 2))
    names = transposed_weights(model)
    assert names == {"1.weight"}
    kept = n_of_m({k: w.detach().abs() for k, w in prunable_weights(model).items()}, transposed=names)
    assert kept["1.weight"].shape == (8, 3, 2, 2)
    assert bool((kept["1.weight"].unflatten(0, (2, 4)).sum(1) == 2).all())
    assert bool((kept["0.weight"].sum(1) == 2).all())


def test_what_is_pruned_is_zero_and_can_be_read_off_again():
    model = nn.Sequential(nn.Conv3d(2, 4, 3), nn.BatchNorm3d(4), nn.Flatten(), nn.Linear(4, 3))
    biases = [p.clone() for p in model.parameters() if p.ndim == 1]
    scores = {k: w.detach().abs() for k, w in prunable_weights(model).items()}
    masks = make_masks(scores, share=0.7)
    apply_masks(model, masks)
    assert zero_share(model) == pytest.approx(round(0.7 * 228) / 228)
    assert all(torch.equal(m, masks[k]) for k, m in read_masks(model).items())
    assert all(torch.equal(p, b) for p, b in zip([p for p in model.parameters() if p.ndim == 1], biases, strict=True))


def test_a_layer_that_is_all_zero_is_at_its_beginning():
    model = nn.Linear(2, 2)
    nn.init.zeros_(model.weight)
    assert bool(read_masks(model)["weight"].all())


def test_a_mask_of_another_network_is_told():
    with pytest.raises(SettingError, match=r"'bias' .* no such weight"):
        apply_masks(nn.Linear(2, 2), {"bias": torch.ones(2, dtype=torch.bool)})
    with pytest.raises(SettingError, match=r"has the shape \(2, 2\)"):
        apply_masks(nn.Linear(2, 2), {"weight": torch.ones(2, dtype=torch.bool)})


# Growth


@pytest.mark.parametrize(("done", "wanted"), [(0.1, 0.2), (0.2, 0.2), (0.5, 0.8125), (0.8, 0.9), (1.0, 0.9)])
def test_the_share_rises_along_the_cubic_between_begin_and_end(done, wanted):
    assert sparsity_at(done, final=0.9, begin=0.2, end=0.8, start=0.2) == pytest.approx(wanted)


def test_what_moves_falls_along_a_cosine_and_ends():
    assert [regrow_share(d, share=0.4, end=0.5) for d in (0, 0.25, 0.5, 1)] == pytest.approx([0.4, 0.2, 0, 0], abs=1e-9)


@pytest.mark.parametrize("share", [0.3, 0.8, 0.95])
@pytest.mark.parametrize("how", ["uniform", "erk"])
def test_shares_of_layers_add_up_to_the_whole(share, how):
    model = registry.find("models", "unet")(1, 2, 2, channels=(4, 8, 16))
    found, sizes = (
        layer_sparsities(model, share, method=how),
        {k: w.numel() for k, w in prunable_weights(model).items()},
    )
    assert sum(found[k] * n for k, n in sizes.items()) / sum(sizes.values()) == pytest.approx(share)
    assert all(0 <= s < 1 for s in found.values())


def test_small_layers_stay_denser_in_proportion_to_their_axes():
    model = nn.Sequential(nn.Linear(10, 20), nn.Linear(20, 40), nn.Linear(40, 80))
    found = layer_sparsities(model, 0.9)
    density = [1 - found[f"{i}.weight"] for i in range(3)]
    assert density[0] / density[1] == pytest.approx((30 / 200) / (60 / 800))
    assert density[1] / density[2] == pytest.approx((60 / 800) / (120 / 3200))


def test_a_layer_that_is_whole_leaves_the_others_to_bear_its_share():
    """Of 4, 100 and 10,000 weights 1,110 stay: the first layer is whole at once, the second because the first is."""
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(10, 10), nn.Linear(100, 100))
    assert list(layer_sparsities(model, 1 - 1110 / 10104).values()) == pytest.approx([0, 0, 1 - (1110 - 104) / 10000])


def test_the_smallest_drop_and_the_steepest_grow():
    weights = {"a": torch.tensor([[5.0, -1.0, 0.0], [2.0, 0.0, 0.0]])}
    slopes = {"a": torch.tensor([[0.0, 0.0, 0.1], [9.0, -0.5, 0.2]])}
    kept = drop_and_grow(weights, slopes, {"a": weights["a"] != 0}, share=1 / 3)
    assert kept["a"].tolist() == [[True, False, False], [True, True, False]]


def test_as_many_grow_as_drop_and_nothing_where_all_are_kept():
    rng = torch.Generator().manual_seed(0)
    weights, slopes = ({"a": torch.randn(10, 10, generator=rng)} for _ in range(2))
    for share in (0.0, 0.3, 0.9):
        mask = {"a": torch.rand(10, 10, generator=rng) > 0.4}
        assert counts(drop_and_grow(weights, slopes, mask, share=share)) == counts(mask)
    whole = {"a": torch.ones(10, 10, dtype=torch.bool)}
    assert torch.equal(drop_and_grow(weights, slopes, whole, share=0.5)["a"], whole["a"])


def test_in_rounds_what_is_pruned_stays_pruned_though_its_score_has_risen():
    model, seen = nn.Sequential(nn.Linear(10, 10), nn.Linear(10, 10)), []
    orders = iter([1.0, -1.0, 1.0])

    def turning(model, task, batches):
        sign = next(orders)
        return {k: sign * torch.arange(100.0).view(10, 10) for k in prunable_weights(model)}

    def learn(model):
        seen.append(zero_share(model))

    masks = list(prune_in_rounds(model, None, None, criterion=turning, share=0.8, rounds=3, train=learn))
    assert seen == pytest.approx([0.8 * (1 - (2 / 3) ** 3), 0.8 * (1 - (1 / 3) ** 3), 0.8], abs=0.005)
    for earlier, later in pairwise(masks):
        assert not any(bool((later[k] & ~earlier[k]).any()) for k in later)


# Zeros that last through training


def learning(seed=0):
    task = registry.find("tasks", "segmentation")(dims=2)
    torch.manual_seed(seed)
    model = registry.find("models", "unet")(1, 2, 2, channels=(3, 4))
    return model, task, [stack_samples([task.encode(task.example(n)) for n in (s, s + 1)]) for s in range(8)]


def steps(model, task, batches, *, settings, by="muon", first=0, state=None, rate=None):
    """Train over the batches from step ``first`` on, and give the optimiser."""
    make = registry.find("descent.optimisers", by)
    stepper = make(model.named_parameters(), **({"rate": rate} if rate else {}))
    if state is not None:
        stepper.load_state_dict(state)
    gradients = build_gradients([{"name": "clipped"}, {"name": "sparse", **settings}])
    average = EMA(model, 0.9)
    for _ in train(
        model, task, batches[first:], optimiser=stepper, gradients=gradients, n_steps=99, first_step=first, ema=average
    ):
        pass
    return stepper, average


@pytest.mark.parametrize("optimiser", registry.names("descent.optimisers"))
def test_zeros_stay_zero_through_every_optimiser_and_its_mean(optimiser):
    model, task, batches = learning()
    masks = make_masks({k: w.detach().abs() for k, w in prunable_weights(model).items()}, share=0.5)
    apply_masks(model, masks)
    before = model.down[0][0][0].weight.clone()
    _, average = steps(model, task, batches[:3], settings={}, by=optimiser)
    assert all(torch.equal(m, masks[k]) for k, m in read_masks(model).items())
    assert all(not average.weights[k][~m].any() for k, m in masks.items())
    assert not torch.equal(model.down[0][0][0].weight, before)


def test_zeros_get_no_gradient_and_all_else_its_own():
    model, task, batches = learning()
    apply_masks(
        model, masks := make_masks({k: w.detach().abs() for k, w in prunable_weights(model).items()}, share=0.5)
    )
    found = []
    for name in ("plain", "sparse"):
        model.zero_grad()
        build_gradients([{"name": name}])(model, task, batches[0])
        found.append({k: p.grad.clone() for k, p in model.named_parameters()})
    assert all(found[0][k][~m].any() for k, m in masks.items() if not m.all())
    for k, g in found[0].items():
        assert torch.equal(found[1][k], g * masks[k] if k in masks else g)


def test_muon_would_fill_the_zeros():
    model, task, batches = learning()
    apply_masks(model, make_masks({k: w.detach().abs() for k, w in prunable_weights(model).items()}, share=0.5))
    stepper = registry.find("descent.optimisers", "muon")(model.named_parameters())
    list(train(model, task, batches[:2], optimiser=stepper, gradients=build_gradients([{"name": "plain"}])))
    assert zero_share(model) < 0.2


def test_a_last_layer_that_begins_at_zero_learns():
    task = registry.find("tasks", "classification")(dims=2)
    model = registry.find("models", "cnn")(1, 2, 2, channels=(3, 4))
    batch = stack_samples([task.encode(task.example(n)) for n in range(4)])
    steps(model, task, [batch], settings={"share": 0.5, "steps": 1})
    assert bool(model.head[-1].weight.all())
    assert zero_share(model) > 0.4


@pytest.mark.parametrize("by", ["magnitude", "gradient", "taylor"])
def test_each_layer_reaches_its_share_along_the_cubic(by):
    model, task, batches = learning()
    sizes = {k: w.numel() for k, w in prunable_weights(model).items()}
    steps(model, task, batches[:3], settings={"share": 0.8, "steps": 6, "by": by})
    half = {k: int((w == 0).sum()) for k, w in prunable_weights(model).items()}
    assert all(0.7 * n <= half[k] <= 0.7 * n + 3 for k, n in sizes.items())
    steps(model, task, batches, settings={"share": 0.8, "steps": 6, "by": by}, first=3)
    whole = {k: int((w == 0).sum()) for k, w in prunable_weights(model).items()}
    assert all(0.8 * n <= whole[k] < 0.8 * n + 1 for k, n in sizes.items())


def test_pruned_by_magnitude_the_smallest_go():
    model, task, batches = learning()
    before = {k: w.detach().abs().clone() for k, w in prunable_weights(model).items()}
    steps(model, task, batches[:1], settings={"share": 0.5, "steps": 1}, rate=1e-6)
    after = read_masks(model)
    assert all(float(w[~after[k]].max()) <= float(w[after[k]].min()) for k, w in before.items())


def test_the_kept_set_moves_and_keeps_its_size():
    model, task, batches = learning()
    apply_masks(
        model, make_masks({k: w.detach().abs() for k, w in prunable_weights(model).items()}, share=0.5, scope="layer")
    )
    before = read_masks(model)
    steps(model, task, batches, settings={"grow": 0.3, "every": 2})
    after = read_masks(model)
    assert counts(after) == counts(before)
    assert sum(int((after[k] & ~before[k]).sum()) for k in after) > 20


MOVING = {"share": 0.7, "steps": 6, "grow": 0.2, "every": 2}


@pytest.mark.parametrize(
    ("by", "settings"), [("muon", {}), ("muon", MOVING), ("schedule_free", MOVING), ("entropy_sgd", MOVING)]
)
def test_a_resumed_run_goes_on_to_the_same_bits(settings, by, tmp_path):
    ends = []
    for stop in (8, 3):
        model, task, batches = learning()
        apply_masks(
            model,
            make_masks({k: w.detach().abs() for k, w in prunable_weights(model).items()}, share=0.3, scope="layer"),
        )
        stepper, _ = steps(model, task, batches[:stop], settings=settings, by=by)
        if stop < 8:
            path = tmp_path / "last.safetensors"
            write_checkpoint(path, {"model": model.state_dict(), "optimiser": stepper.state_dict()})
            state = read_checkpoint(path)
            model, _, _ = learning(seed=9)
            model.load_state_dict(state["model"])
            steps(model, task, batches, settings=settings, by=by, first=stop, state=state["optimiser"])
        ends.append(model.state_dict())
    assert all(torch.equal(v, ends[1][k]) for k, v in ends[0].items())


def test_nothing_stays_behind_in_torch():
    hooks = (optimizer._global_optimizer_pre_hooks, optimizer._global_optimizer_post_hooks)
    before = [len(h) for h in hooks]
    model, task, batches = learning()
    make = build_gradients([{"name": "sparse"}])
    make(model, task, batches[0])
    assert [len(h) for h in hooks] == [n + 1 for n in before]
    del make
    assert [len(h) for h in hooks] == before


def test_a_weight_that_another_optimiser_steps_is_left_alone():
    model, task, batches = learning()
    apply_masks(model, make_masks({k: w.detach().abs() for k, w in prunable_weights(model).items()}, share=0.5))
    make = build_gradients([{"name": "sparse"}])
    make(model, task, batches[0])
    other = nn.Linear(2, 2)
    nn.init.eye_(other.weight)
    torch.optim.SGD(other.parameters()).step(lambda: other(torch.ones(1, 2)).square().sum().backward())
    assert bool((other.weight != 0).all())
    assert zero_share(model) == pytest.approx(0.5, abs=0.01)


def test_sparse_gradients_refuse_what_cannot_be():
    with pytest.raises(SettingError, match="magnitude, gradient, taylor, not by 'size'"):
        build_gradients([{"name": "sparse", "by": "size"}])
    with pytest.raises(SettingError, match="Shares are"):
        build_gradients([{"name": "sparse", "share": 1.0}])

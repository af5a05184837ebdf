"""Each criterion against its formula, worked out another way in float64."""

from dataclasses import dataclass, replace

import pytest
import torch
from torch import nn

from medgrad import registry
from medgrad.compress.criteria import frozen_statistics
from medgrad.compress.weights.masks import make_masks
from medgrad.errors import SettingError
from medgrad.tasks import Batch
from medgrad.tasks.classification import Classification


@dataclass(frozen=True)
class Squares(Classification):
    """Half the squared error, summed over outputs, its mean over samples."""

    def loss(self, output, target):
        return {"squares": (output - target["class"]).square().sum(1).mean() / 2}


TASK = Squares(dims=2)


def criterion(name, **settings):
    return registry.find("compress.criteria", name)(**settings)


def batch(inputs, wanted):
    return Batch({"image": inputs}, {"class": wanted}, [None] * len(inputs))


@pytest.fixture
def chain():
    """Two layers with a bend between them, five samples in two uneven batches, all in float64."""
    chance = torch.Generator().manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)).double()
    for p in model.parameters():
        p.data = torch.randn(p.shape, generator=chance, dtype=torch.float64)
    x, y = (torch.randn(5, n, generator=chance, dtype=torch.float64) for n in (3, 2))
    parts = [batch(x[:3], y[:3]), batch(x[3:], y[3:])]
    return model, lambda: iter(parts), x, y


def gradients_of(model, x, y):
    """The gradients of the weights, by backward."""
    model.zero_grad()
    TASK.loss(model(x), {"class": y})["squares"].backward()
    found = {k: p.grad.clone() for k, p in model.named_parameters() if p.ndim > 1}
    model.zero_grad(set_to_none=True)
    return found


def curvature_of(model, x, y):
    """The whole Hessian of the mean loss over the weights, as a matrix, with the flat gradient and the flat weights."""
    names = [k for k, p in model.named_parameters() if p.ndim > 1]
    sizes = [dict(model.named_parameters())[k].numel() for k in names]
    flat = torch.cat([dict(model.named_parameters())[k].detach().flatten() for k in names])

    def loss(values):
        weights = {
            k: v.view(dict(model.named_parameters())[k].shape) for k, v in zip(names, values.split(sizes), strict=True)
        }
        return TASK.loss(torch.func.functional_call(model, weights, (x,)), {"class": y})["squares"]

    return torch.autograd.functional.hessian(loss, flat), torch.func.grad(loss)(flat).detach(), flat, sizes


def flat(scores):
    return torch.cat([s.flatten() for s in scores.values()])


def test_the_gradient_threshold_is_the_mean_of_absolute_gradients_of_samples(chain):
    model, batches, x, y = chain
    each = [gradients_of(model, x[i : i + 1], y[i : i + 1]) for i in range(5)]
    wanted = {k: sum(g[k].abs() for g in each) / 5 for k in each[0]}
    torch.testing.assert_close(criterion("gradient")(model, TASK, batches), wanted)


def test_of_batches_the_gradients_of_samples_cancel_first(chain):
    model, batches, x, y = chain
    first, second = gradients_of(model, x[:3], y[:3]), gradients_of(model, x[3:], y[3:])
    wanted = {k: (3 * first[k].abs() + 2 * second[k].abs()) / 5 for k in first}
    found = criterion("gradient", per="batch")(model, TASK, batches)
    torch.testing.assert_close(found, wanted)
    assert flat(found).sum() < flat(criterion("gradient")(model, TASK, batches)).sum()


def test_first_order_is_the_gradient_of_the_mean_loss_times_the_weight(chain):
    model, batches, x, y = chain
    slope = gradients_of(model, x, y)
    wanted = {k: (g * model.get_parameter(k).detach()).abs() for k, g in slope.items()}
    torch.testing.assert_close(criterion("taylor")(model, TASK, batches), wanted)
    total = sum(s.sum() for s in wanted.values())
    torch.testing.assert_close(criterion("snip")(model, TASK, batches), {k: s / total for k, s in wanted.items()})


def test_fisher_is_half_the_mean_squared_gradient_times_the_squared_weight(chain):
    model, batches, x, y = chain
    each = [gradients_of(model, x[i : i + 1], y[i : i + 1]) for i in range(5)]
    wanted = {k: sum(g[k] ** 2 for g in each) / 5 * model.get_parameter(k).detach() ** 2 / 2 for k in each[0]}
    torch.testing.assert_close(criterion("fisher")(model, TASK, batches), wanted)


def test_second_order_by_fisher_adds_to_the_slope_with_the_right_sign(chain):
    model, batches, x, y = chain
    each = [gradients_of(model, x[i : i + 1], y[i : i + 1]) for i in range(5)]
    wanted = {}
    for k in each[0]:
        w, g, h = model.get_parameter(k).detach(), sum(e[k] for e in each) / 5, sum(e[k] ** 2 for e in each) / 5
        wanted[k] = (-g * w + h * w**2 / 2).abs()
    torch.testing.assert_close(criterion("taylor", order=2)(model, TASK, batches), wanted)


def test_second_order_by_the_hessian_is_the_change_of_a_quadratic_loss():
    """The loss of a linear layer on orthogonal inputs is a sum of squares of each weight: nothing is left out."""
    model = nn.Linear(4, 2, bias=False).double()
    x = 1.5 * torch.linalg.qr(torch.randn(4, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64))[0]
    y = torch.randn(4, 2, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    found = criterion("taylor", order=2, curvature="hessian", probes=1)(model, TASK, lambda: iter([batch(x, y)]))
    here, wanted = TASK.loss(model(x), {"class": y})["squares"], torch.zeros(2, 4, dtype=torch.float64)
    for at in torch.cartesian_prod(torch.arange(2), torch.arange(4)).tolist():
        without = model.weight.detach().clone()
        without[tuple(at)] = 0
        wanted[tuple(at)] = (TASK.loss(x @ without.T, {"class": y})["squares"] - here).abs()
    torch.testing.assert_close(found["weight"], wanted)


def test_probes_come_near_the_diagonal_of_the_hessian(chain):
    model, batches, x, y = chain
    hessian, slope, weights, _ = curvature_of(model, x, y)
    wanted = (hessian.diagonal() * weights**2 / 2 - slope * weights).abs()
    made = criterion("taylor", order=2, curvature="hessian", probes=60)
    assert float((flat(made(model, TASK, batches)) - wanted).norm() / wanted.norm()) < 0.3


def test_grasp_keeps_what_the_squared_gradient_would_lose(chain):
    """The score is w (H g); the change of |g|^2 on a short way to 0 has the other sign and twice the size."""
    model, batches, x, y = chain
    hessian, slope, weights, sizes = curvature_of(model, x, y)
    wanted = weights * (hessian @ slope)
    torch.testing.assert_close(flat(criterion("grasp")(model, TASK, batches)), wanted)
    at, short = int(wanted.argmax()), 1e-4
    name, index = ("0.weight", at) if at < sizes[0] else ("2.weight", at - sizes[0])
    with torch.no_grad():
        model.get_parameter(name).view(-1)[index] *= 1 - short
    found = flat(gradients_of(model, x, y))
    assert float(found @ found - slope @ slope) / short == pytest.approx(-2 * float(wanted[at]), rel=1e-3)


def test_a_difference_does_for_differentiating_twice(chain):
    model, batches, _, _ = chain
    exact, found = (flat(criterion("grasp", exact=e)(model, TASK, batches)) for e in (True, False))
    torch.testing.assert_close(found, exact, rtol=1e-4, atol=1e-4 * float(exact.abs().max()))


def test_what_cannot_be_differentiated_twice_is_told_with_the_remedy():
    class Once(nn.Linear):
        def forward(self, x):
            rows = torch.arange(len(x) * x.shape[1]).view(len(x), -1)
            bag = nn.functional.embedding_bag(rows, (x @ self.weight.T).repeat(1, 2).view(-1, 2), mode="sum")
            return super().forward(x) * bag.square()

    model, x = Once(2, 2), torch.ones(3, 2)
    with pytest.raises(SettingError, match="Set exact to false"):
        criterion("grasp")(model, TASK, lambda: iter([batch(x, torch.zeros(3, 2))]))


def test_movement_adds_up_what_each_step_does_to_the_size_of_a_weight(chain):
    """Retraced by hand: steps of a share of the weights' norm, down the slope of each batch."""
    model, batches, x, y = chain
    kept = {k: p.detach().clone() for k, p in model.named_parameters()}
    total = {k: torch.zeros_like(p) for k, p in kept.items() if p.ndim > 1}
    for part in (slice(0, 3), slice(3, 5)) * 2:
        slope = gradients_of(model, x[part], y[part])
        weights = {k: model.get_parameter(k) for k in slope}
        rate = 1e-2 * flat({k: w.detach() for k, w in weights.items()}).norm() / flat(slope).norm()
        with torch.no_grad():
            for k, w in weights.items():
                total[k] += -rate * slope[k] * w
                w -= rate * slope[k]
    model.load_state_dict(kept)
    torch.testing.assert_close(criterion("movement", passes=2, rate=1e-2)(model, TASK, batches), total)


def test_movement_is_positive_where_a_weight_grows():
    model = nn.Linear(2, 1, bias=False).double()
    model.weight.data[:] = torch.tensor([[1.0, 1.0]])
    x, y = torch.eye(2, dtype=torch.float64), torch.tensor([[3.0], [0.5]], dtype=torch.float64)
    found = criterion("movement")(model, TASK, lambda: iter([batch(x, y)]))["weight"][0]
    assert found[0] > 0 > found[1]


@pytest.mark.parametrize("name", ["taylor", "fisher", "snip"])
def test_scaling_one_layer_and_unscaling_the_next_changes_no_score(name):
    """What a straight network answers is the same, so what each weight is worth is, too. Not so for the gradient."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4, bias=False), nn.ReLU(), nn.Linear(4, 2, bias=False)).double()
    x, y = torch.randn(6, 3, dtype=torch.float64), torch.randn(6, 2, dtype=torch.float64)
    before = {n: criterion(n)(model, TASK, lambda: iter([batch(x, y)])) for n in (name, "gradient", "magnitude")}
    with torch.no_grad():
        model[0].weight *= 8
        model[2].weight /= 8
    after = {n: criterion(n)(model, TASK, lambda: iter([batch(x, y)])) for n in (name, "gradient", "magnitude")}
    torch.testing.assert_close(after[name], before[name])
    torch.testing.assert_close(after["magnitude"]["0.weight"], before["magnitude"]["0.weight"] * 8)
    torch.testing.assert_close(after["gradient"]["0.weight"], before["gradient"]["0.weight"] / 8)


@pytest.mark.parametrize("normalise", ["none", "instance", "batch", "group"])
def test_synflow_has_the_same_sum_in_every_layer_of_a_chain(normalise):
    torch.manual_seed(0)
    cnn = registry.find("models", "cnn")(1, 2, 2, channels=(3, 8), normalise=normalise)
    for p in cnn.parameters():
        nn.init.normal_(p, std=0.5)
    part = replace(batch(torch.randn(2, 1, 16, 16), None), target={})
    scores = criterion("synflow", rounds=1)(cnn, TASK, lambda: iter([part]))
    sums = [float(s.sum()) for s in scores.values()]
    assert len(sums) == 5
    assert sums == pytest.approx([sums[0]] * 5, rel=1e-4)
    assert sums[0] > 0


def test_synflow_of_a_chain_is_the_product_along_all_ways():
    model = nn.Sequential(nn.Linear(2, 2), nn.Tanh(), nn.Linear(2, 1))
    model[0].weight.data[:] = torch.tensor([[1.0, -2.0], [3.0, 4.0]])
    model[2].weight.data[:] = torch.tensor([[-5.0, 6.0]])
    scores = criterion("synflow", rounds=1)(
        model, TASK, lambda: iter([replace(batch(torch.randn(1, 2), None), target={})])
    )
    torch.testing.assert_close(scores["0.weight"], torch.tensor([[5.0, 10.0], [18.0, 24.0]]))
    torch.testing.assert_close(scores["2.weight"], torch.tensor([[15.0, 42.0]]))


def test_synflow_in_rounds_leaves_more_ways_through():
    """Wide layers between narrow ones, of which one weight in a hundred stays."""
    torch.manual_seed(0)
    wide = [nn.Linear(64, 64, bias=False) for _ in range(2)]
    model = nn.Sequential(nn.Linear(8, 64, bias=False), *wide, nn.Linear(64, 2, bias=False))
    left = {}
    for rounds in (1, 30):
        made = criterion("synflow", rounds=rounds, share=0.99)
        scores = made(model, TASK, lambda: iter([replace(batch(torch.randn(1, 8), None), target={})]))
        kept = make_masks(scores, share=0.99)
        through = torch.ones(1, 8)
        for layer, mask in zip(model, kept.values(), strict=True):
            through = through @ (layer.weight.detach() * mask).abs().T
        left[rounds] = float(through.sum())
    assert left[1] == 0
    assert left[30] > 0.1


def test_chance_follows_the_seed_and_spares_narrow_layers_if_told():
    model = nn.Sequential(nn.Linear(10, 10), nn.Linear(10, 3), nn.Linear(3, 2))
    first, again, other = (criterion("random", seed=s)(model, TASK, None) for s in (0, 0, 1))
    assert all(torch.equal(first[k], again[k]) for k in first)
    assert not torch.equal(first["0.weight"], other["0.weight"])
    scores = criterion("random", widest_layers_first=True)(model, TASK, None)
    bound = flat(scores).sort().values[100]  # of 136 weights 36 stay: 15, 15 and all 6
    assert [int((s >= bound).sum()) for s in scores.values()] == [15, 15, 6]


def test_snip_of_a_network_that_feels_nothing_is_told():
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2, bias=False))
    nn.init.zeros_(model[1].weight)
    with pytest.raises(SettingError, match="Train a few steps first"):
        criterion("snip")(model, TASK, lambda: iter([batch(torch.ones(1, 2), torch.ones(1, 2))]))


def test_magnitude_is_the_size(chain):
    model, batches, _, _ = chain
    assert torch.equal(criterion("magnitude")(model, TASK, batches)["0.weight"], model[0].weight.detach().abs())


def test_batch_norm_goes_by_what_it_learned_and_before_learning_by_the_batch():
    """The same samples in another company score the same, but for the criteria of the beginning."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Tanh(), nn.Linear(4, 2))
    x, y = torch.randn(6, 3), torch.randn(6, 2)

    def sets(*cuts):
        return lambda: iter([batch(x[c], y[c]) for c in cuts])

    whole, halves = sets(slice(0, 6)), sets(slice(0, 3), slice(3, 6))
    for name, same in (("taylor", True), ("fisher", True), ("snip", False)):
        one, two = (criterion(name)(model, TASK, s) for s in (whole, halves))
        assert torch.allclose(flat(one), flat(two), rtol=1e-3, atol=1e-7) == same
    assert int(model[1].num_batches_tracked) == 0


def test_chance_within_a_network_is_still():
    model = nn.Sequential(nn.Dropout(0.5), nn.Sequential(nn.Linear(4, 4)))
    with frozen_statistics(model):
        assert model.training
        assert not model[0].training
        assert torch.equal(model[0](torch.ones(8)), torch.ones(8))
    assert model[0].training


class Chancy(nn.Sequential):
    """A network that drops by chance while it learns, in no layer of its own."""

    def forward(self, x):
        return nn.functional.dropout(super().forward(x), 0.5, training=self.training)


def test_chance_that_is_left_is_the_same_each_time():
    model, part = Chancy(nn.Linear(3, 20)), batch(torch.ones(1, 3), torch.zeros(1, 20))
    first, again = (flat(criterion("gradient")(model, TASK, lambda: iter([part]))) for _ in range(2))
    assert torch.equal(first, again)
    assert 0 < int((first == 0).sum()) < len(first)

"""Laws that every criterion of pruning keeps, on networks of every kind."""

import pytest
import torch
from torch import nn

from medgrad import registry
from medgrad.compress.weights.masks import zero_share
from medgrad.descent.gradients import prunable_weights
from medgrad.errors import Diverged, SettingError
from medgrad.tasks import stack_samples

NAMES = registry.names("compress.criteria")
SIGNED = ("grasp", "movement")
"""The criteria that tell which way a weight goes, so that their scores may be negative."""
BLIND = ("magnitude", "random")
"""The criteria that look at the weights alone, if at them."""
DATA_FREE = (*BLIND, "synflow")
QUICK = {"synflow": {"rounds": 3}}
TWICE = {"faster_rcnn": {"exact": False}}
"""Networks with layers that cannot be differentiated twice."""
NETWORKS = [("segmentation", "unet", 2), ("segmentation", "unet", 3), ("classification", "resnet", 2),
            ("classification", "mlp", 3), ("detection", "yolo", 2), ("detection", "faster_rcnn", 2),
            ("detection", "retinanet", 3)]  # fmt: skip


def criterion(name, **settings):
    known = registry.keyword_defaults(registry.find("compress.criteria", name))
    given = {k: v for k, v in {**QUICK.get(name, {}), **settings}.items() if k in known}
    return registry.find("compress.criteria", name)(**given)


def learning(kind, name, dims):
    """A small network that is not at its beginning, its task, and a set in two uneven batches."""
    torch.manual_seed(0)
    task = registry.find("tasks", kind)(dims=dims).for_model(name if kind == "detection" else "")
    settings = {
        "unet": {"channels": (3, 4), "deep_supervision": False},
        "resnet": {"channels": (3, 4), "blocks": (1, 1)},
        "mlp": {"shape": (16,) * dims, "widths": (3, 4)},
    }.get(name, {"channels": (3, 4, 4), "first": 2, "width": 8})
    if name == "faster_rcnn":
        settings |= {"hidden": 8, "proposals": 8, "size": 2}
    model = registry.find("models", name)(1, task.outputs.channels, dims, **settings)
    for p in model.parameters():
        if not p.any():
            nn.init.normal_(p, std=0.1)
    samples = [task.encode(task.example(seed)) for seed in range(3)]
    parts = [stack_samples(samples[:2]), stack_samples(samples[2:])]
    return model, task, lambda: iter(parts)


@pytest.fixture(scope="module", params=NETWORKS, ids=lambda p: "-".join(map(str, p)))
def known(request):
    return request.param, *learning(*request.param)


@pytest.mark.parametrize("name", NAMES)
def test_scores_every_weight_and_leaves_the_network_as_it_was(name, known):
    (_, network, _), model, task, batches = known
    before = {k: v.clone() for k, v in model.state_dict().items()}
    model.train()
    next(model.children()).eval()
    modes = [m.training for m in model.modules()]
    for p in model.parameters():
        p.grad = torch.full_like(p, 7.0)
    next(model.parameters()).requires_grad_(False)
    scores = criterion(name, **TWICE.get(network, {}))(model, task, batches)
    assert list(scores) == list(prunable_weights(model))
    assert all(scores[k].shape == w.shape and scores[k].dtype == w.dtype for k, w in prunable_weights(model).items())
    assert all(s.isfinite().all() and not s.requires_grad for s in scores.values())
    if name not in SIGNED:
        assert min(float(s.min()) for s in scores.values()) >= 0
    assert max(float(s.max()) for s in scores.values()) > 0
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    assert [m.training for m in model.modules()] == modes
    assert all(torch.equal(p.grad, torch.full_like(p, 7.0)) for p in model.parameters())
    assert not next(model.parameters()).requires_grad
    next(model.parameters()).requires_grad_(True)


@pytest.mark.parametrize("network", ["resnet", "mlp"])  # one with batch norm, one with dropout
@pytest.mark.parametrize("name", NAMES)
def test_gives_the_same_scores_again(name, network):
    model, task, batches = learning("classification", network, 2)
    state = torch.manual_seed(1).get_state()
    first, second = (criterion(name)(model, task, batches) for _ in range(2))
    assert all(torch.equal(s, second[k]) for k, s in first.items())
    assert torch.equal(state, torch.get_rng_state())


class Branches(nn.Module):
    """Two branches, of which one is multiplied by 0, and an input channel that is always 0."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(2, 3, 3)
        self.live = nn.Linear(3, 2)
        self.dead = nn.Linear(3, 2)
        self.unused = nn.Linear(3, 2)

    def forward(self, x):
        seen = self.first(torch.cat([x, 0 * x], 1)).tanh().mean((2, 3))
        return self.live(seen) + 0 * self.dead(seen)


@pytest.mark.parametrize("name", [n for n in NAMES if n not in BLIND])
def test_what_cannot_change_the_answer_scores_nothing(name):
    _, task, batches = learning("classification", "resnet", 2)
    scores = criterion(name)(Branches(), task, batches)
    assert not scores["dead.weight"].any()
    assert not scores["unused.weight"].any()
    assert scores["live.weight"].any()
    assert not scores["first.weight"][:, 1].any()
    assert scores["first.weight"][:, 0].any()


@pytest.mark.parametrize("name", [n for n in NAMES if n not in DATA_FREE])
def test_a_gradient_that_is_not_finite_is_told_by_name(name):
    model, task, batches = learning("classification", "resnet", 2)
    model.head[-1].weight.data[0, 0] = torch.inf
    with pytest.raises(Diverged, match="weight' is not a finite number"):
        criterion(name)(model, task, batches)
    assert model.training


@pytest.mark.parametrize("name", [n for n in NAMES if n not in BLIND])
def test_an_empty_set_is_told(name):
    model, task, _ = learning("classification", "mlp", 2)
    with pytest.raises(SettingError, match="no sample"):
        criterion(name)(model, task, lambda: iter(()))


@pytest.mark.parametrize("name", NAMES)
def test_biases_and_norms_are_never_scored(name):
    model, task, batches = learning("classification", "resnet", 2)
    scored = set(criterion(name)(model, task, batches))
    assert all(p.ndim > 1 for k, p in model.named_parameters() if k in scored)
    assert scored == {k for k, p in model.named_parameters() if p.ndim > 1}
    assert zero_share(model) == 0

"""Laws that every optimiser keeps; each is shown to catch a planted slip."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from medgrad import registry
from medgrad.engine.checkpoint import read_checkpoint, write_checkpoint

OPTIMISERS = registry.names("descent.optimisers")


def optimiser(name):
    return registry.find("descent.optimisers", name)


def made(make, weights, **settings):
    """Make an optimiser for some weights, with those of the settings that it knows."""
    known = registry.settings(make)
    return make([(f"w{i}", w) for i, w in enumerate(weights)], **{k: v for k, v in settings.items() if k in known})


def weight(*values):
    return nn.Parameter(torch.tensor(values, dtype=torch.float64))


def bowl(w):
    """A quadratic with curvatures from 0.5 to 5; its lowest point is 3 everywhere."""
    return (torch.tensor([[0.5, 1.0, 5.0]], dtype=torch.float64) * (w - 3) ** 2).sum() / 2


def banana(w):
    """Rosenbrock's valley; its lowest point is (1, 1)."""
    x, y = w.flatten()
    return (1 - x) ** 2 + 100 * (y - x**2) ** 2


def closure_of(w, function, optimiser):
    def again():
        optimiser.zero_grad()
        with torch.enable_grad():
            loss = function(w)
            loss.backward()
        return loss.detach()

    return again


def walk(make, function, start, steps, **settings):
    """Give the places that an optimiser passes."""
    w = weight(start)
    stepper = made(make, [w], **settings)
    places = [w.detach().clone()]
    for _ in range(steps):
        stepper.step(closure_of(w, function, stepper))
        places.append(w.detach().clone())
    return torch.stack(places)


# Laws of optimisers


def descends(make):
    """At some rate it comes near the bottom of a bowl, and down into the valley."""
    for function, start, share in ((bowl, [0.0, 0.0, 0.0], 0.01), (banana, [-1.2, 1.0], 0.25)):
        ends = []
        for rate in (1e-4, 1e-3, 1e-2, 1e-1):
            end = walk(make, function, start, 400, rate=rate, decay=0.0)[-1]
            ends.append(float(function(end)) if end.isfinite().all() else math.inf)
        assert min(ends) < share * float(function(weight(start).detach()))


def begins_downhill(make):
    w = weight([-1.2, 1.0])
    stepper = made(make, [w], rate=1e-4, decay=0.0)
    gradient = torch.autograd.grad(banana(w), w)[0]
    before = w.detach().clone()
    stepper.step(closure_of(w, banana, stepper))
    assert float(((w.detach() - before) * gradient).sum()) < 0


def asks_for_gradients_anew(make):
    """Whatever lies in ``p.grad`` does not matter; what the closure makes does."""
    ends, calls = [], 0
    for rubbish in (0.0, 1e6):
        w = weight([0.0, 1.0, 2.0])
        stepper = made(make, [w], rate=1e-2)
        again = closure_of(w, bowl, stepper)

        def counted(again=again):
            nonlocal calls
            calls += 1
            return again()

        for _ in range(3):
            w.grad = torch.full_like(w, rubbish)
            told = stepper.step(counted)
        assert told is not None
        assert float(told) >= 0
        ends.append(w.detach().clone())
    assert calls >= 6
    assert torch.equal(*ends)


def goes_on_from_its_state(make, folder):
    """Stopped after six steps, written to a file and read again, it walks on to the same bits."""
    whole = walk(make, banana, [-1.2, 1.0], 12, rate=1e-3)
    w = weight([-1.2, 1.0])
    first = made(make, [w], rate=1e-3)
    for _ in range(6):
        first.step(closure_of(w, banana, first))
    write_checkpoint(folder / "state.safetensors", {"optimiser": first.state_dict(), "w": w.detach()})
    state = read_checkpoint(folder / "state.safetensors")
    again = nn.Parameter(state["w"])
    second = made(make, [again], rate=1e-3)
    second.load_state_dict(state["optimiser"])
    for _ in range(6):
        second.step(closure_of(again, banana, second))
    assert torch.equal(again.detach(), whole[-1])


def spares_biases_and_norms(make):
    """Without a slope, what has one axis or none stays as it is; decay takes from weights alone."""
    matrix, bias, scale = (nn.Parameter(torch.ones(shape)) for shape in ((3, 2), (3,), ()))
    stepper = made(make, [matrix, bias, scale], rate=0.1, decay=0.5)

    def flat():
        stepper.zero_grad()
        for p in (matrix, bias, scale):
            p.grad = torch.zeros_like(p)
        return torch.zeros(())

    for _ in range(3):
        stepper.step(flat)
    assert torch.equal(bias.detach(), torch.ones(3))
    assert float(scale.detach()) == 1
    assert float(matrix.detach().mean()) < 1 if "decay" in registry.settings(make) else float(matrix.mean()) == 1


def leaves_alone_what_is_frozen(make):
    w, frozen = weight([1.0, 2.0, 2.0]), nn.Parameter(torch.ones(2, 2), requires_grad=False)
    stepper = made(make, [w, frozen], rate=1e-2, decay=0.5)
    stepper.step(closure_of(w, bowl, stepper))
    assert torch.equal(frozen, torch.ones(2, 2))


@pytest.mark.parametrize("name", OPTIMISERS)
class TestOptimisers:
    def test_descends(self, name):
        descends(optimiser(name))

    def test_begins_downhill(self, name):
        begins_downhill(optimiser(name))

    def test_asks_for_gradients_anew(self, name):
        asks_for_gradients_anew(optimiser(name))

    def test_goes_on_from_its_state(self, name, tmp_path):
        goes_on_from_its_state(optimiser(name), tmp_path)

    def test_spares_biases_and_norms(self, name):
        spares_biases_and_norms(optimiser(name))

    def test_leaves_alone_what_is_frozen(self, name):
        leaves_alone_what_is_frozen(optimiser(name))

    def test_takes_the_rate_by_name(self, name):
        assert registry.settings(optimiser(name))["rate"] > 0
        assert made(optimiser(name), [weight([1.0])], rate=0.25).param_groups[0]["lr"] == 0.25


# The formulas, in float64 and by hand


def adamw_by_hand(function, start, steps, *, rate, decay, betas=(0.9, 0.999), eps=1e-8, slip=""):
    w, m, v, places = np.array(start, float)[None], 0.0, 0.0, [np.array(start, float)[None]]
    for t in range(1, steps + 1):
        g = slope(function, w) * (-1 if slip == "sign" else 1)
        m = betas[0] * m + (1 - betas[0]) * g
        v = betas[1] * v + (1 - betas[1]) * (abs(g) if slip == "not squared" else g * g)
        mean = m if slip == "no correction" else m / (1 - betas[0] ** t)
        square = v if slip == "no correction" else v / (1 - betas[1] ** t)
        step = mean / (np.sqrt(square) + eps) + (0 if slip == "no decay" else decay * w)
        w = w - rate * step
        places.append(w)
    return np.stack(places)


def sgd_by_hand(function, start, steps, *, rate, decay, momentum=0.9, nesterov=True, slip=""):
    w, memory, places = np.array(start, float)[None], 0.0, [np.array(start, float)[None]]
    for _ in range(steps):
        g = slope(function, w) + decay * w
        memory = momentum * memory + (1 - momentum if slip == "dampened" else 1) * g
        ahead = nesterov and slip != "no look ahead"
        w = w - rate * (g + momentum * memory if ahead else memory)
        places.append(w)
    return np.stack(places)


def slope(function, w):
    p = torch.tensor(w, requires_grad=True)
    return torch.autograd.grad(function(p), p)[0].numpy()


def follows(make, by_hand, *, function=banana, start=(-1.2, 1.0), slip="", **settings):
    """It passes the places that the formula gives, in float64."""
    walked = walk(make, function, list(start), 25, **settings).numpy()
    wanted = by_hand(function, start, 25, slip=slip, **settings)
    np.testing.assert_allclose(walked, wanted, rtol=1e-9, atol=1e-12)


ADAMW = {"rate": 0.02, "decay": 0.1}
SGD = {"rate": 2e-4, "decay": 0.1}


@pytest.mark.parametrize("betas", [(0.9, 0.999), (0.5, 0.9)])
@pytest.mark.parametrize("decay", [0.0, 0.1])
def test_adamw_follows_its_formula(betas, decay):
    follows(optimiser("adamw"), adamw_by_hand, rate=0.02, decay=decay, betas=betas)


@pytest.mark.parametrize("settings", [{}, {"nesterov": False}, {"momentum": 0.0, "nesterov": False}])
@pytest.mark.parametrize("decay", [0.0, 0.1])
def test_sgd_follows_its_formula(settings, decay):
    follows(optimiser("sgd"), sgd_by_hand, rate=2e-4, decay=decay, **settings)


def test_the_first_step_of_adamw_is_as_long_as_its_rate_whatever_the_slope():
    for steep in (1e-4, 1.0, 1e4):
        end = walk(optimiser("adamw"), lambda w, s=steep: s * w.sum(), [0.0, 0.0], 1, rate=0.01, decay=0.0)[-1]
        assert end.tolist() == [[pytest.approx(-0.01, rel=1e-3)] * 2]


@pytest.mark.parametrize("slip", ["sign", "no correction", "not squared", "no decay"])
def test_a_slip_in_the_formula_of_adamw_is_caught(slip):
    with pytest.raises(AssertionError):
        follows(optimiser("adamw"), adamw_by_hand, slip=slip, **ADAMW)


@pytest.mark.parametrize("slip", ["dampened", "no look ahead"])
def test_a_slip_in_the_formula_of_sgd_is_caught(slip):
    with pytest.raises(AssertionError):
        follows(optimiser("sgd"), sgd_by_hand, slip=slip, **SGD)


# The laws themselves, tried on optimisers with a slip


class Slipping(torch.optim.Optimizer):
    """Adam with one thing wrong."""

    def __init__(self, parameters, rate, decay, slip):
        super().__init__(parameters, {"lr": rate, "decay": decay})
        self.slip, self.aside = slip, {}

    @torch.no_grad()
    def step(self, closure):
        loss = closure() if self.slip != "stale" or not self.aside else torch.zeros(())
        for group in self.param_groups:
            for number, p in enumerate(group["params"]):
                kept = self.aside.setdefault(number, {}) if self.slip == "forgetful" else self.state[p]
                self.aside.setdefault("begun", True)
                if self.slip == "climbs":
                    p.grad = -p.grad
                t = kept["t"] = kept.get("t", 0) + 1
                m = kept["m"] = 0.9 * kept.get("m", 0 * p) + 0.1 * p.grad
                v = kept["v"] = 0.999 * kept.get("v", 0 * p) + 0.001 * p.grad**2
                decay = group["decay"] if p.ndim > 1 or self.slip == "decays all" else 0.0
                p -= group["lr"] * (m / (1 - 0.9**t) / ((v / (1 - 0.999**t)).sqrt() + 1e-8) + decay * p)
        return loss


def slipping(slip):
    def make(named, *, rate=1e-3, decay=0.0):
        return Slipping([p for _, p in named if p.requires_grad], rate, decay, slip)

    return make


def every_law(make, folder):
    descends(make)
    begins_downhill(make)
    asks_for_gradients_anew(make)
    goes_on_from_its_state(make, folder)
    spares_biases_and_norms(make)
    leaves_alone_what_is_frozen(make)


def test_the_laws_let_what_is_right_pass(tmp_path):
    every_law(slipping(""), tmp_path)


@pytest.mark.parametrize("slip", ["climbs", "stale", "forgetful", "decays all"])
def test_the_laws_catch_a_slip(slip, tmp_path):
    with pytest.raises(AssertionError):
        every_law(slipping(slip), tmp_path)

"""Every optimiser against its formula, written out in numpy in float64; a slip in the formula makes them part."""

import math
from dataclasses import dataclass
from functools import cache

import numpy as np
import pytest
import torch
from test_laws_descent import OPTIMISERS, banana, bowl, closure_of, made, optimiser, walk, weight

FUNCTIONS = {"bowl": (bowl, (0.0, 1.0, 2.0)), "banana": (banana, (-1.2, 1.0))}
STEPS = 25


def slope(function, w):
    p = torch.tensor(w, requires_grad=True)
    return torch.autograd.grad(function(p), p)[0].numpy()


# The formulas. Each gives the places that it passes; ``slip`` names one thing to do wrong.


def descent_by_hand(function, w, *, rate, decay, momentum=0.0, nesterov=False, slip=""):
    memory = 0.0
    while True:
        g = slope(function, w) * (-1 if slip == "sign" else 1) + (0 if slip == "no decay" else decay * w)
        memory = (0 if slip == "no memory" else momentum) * memory + (1 - momentum if slip == "dampened" else 1) * g
        ahead = nesterov != (slip == "other look")
        w = w - rate * (g + momentum * memory if ahead else memory)
        yield w


def sgd_by_hand(function, w, *, rate, decay, slip=""):
    return descent_by_hand(function, w, rate=rate, decay=decay, slip=slip)


def momentum_by_hand(function, w, *, rate, decay, momentum=0.9, slip=""):
    return descent_by_hand(function, w, rate=rate, decay=decay, momentum=momentum, slip=slip)


def nesterov_by_hand(function, w, *, rate, decay, momentum=0.9, slip=""):
    return descent_by_hand(function, w, rate=rate, decay=decay, momentum=momentum, nesterov=True, slip=slip)


def adagrad_by_hand(function, w, *, rate, decay, eps=1e-10, slip=""):
    total = 0.0
    while True:
        g = slope(function, w) * (-1 if slip == "sign" else 1) + decay * w
        total = (0.9 if slip == "forgets" else 1) * total + (abs(g) if slip == "not squared" else g * g)
        over = 1 if slip == "no gradient above" else g
        w = w - rate * over / ((total if slip == "no root" else np.sqrt(total)) + eps)
        yield w


def rmsprop_by_hand(function, w, *, rate, decay, beta=0.99, eps=1e-8, slip=""):
    v, t = 0.0, 0
    while True:
        t += 1
        g = slope(function, w) * (-1 if slip == "sign" else 1) + decay * w
        v = v / (1 - beta) + g * g if slip == "divided" else beta * v + (1 - beta) * g * g
        over = 1 if slip == "no gradient above" else g
        w = w - rate * over / (np.sqrt(v / (1 - beta**t) if slip == "corrected" else v) + eps)
        yield w


def adam_by_hand(function, w, *, rate, decay, betas=(0.9, 0.999), eps=1e-8, apart=False, slip=""):
    m, v, t = 0.0, 0.0, 0
    while True:
        t += 1
        apart_now = apart != (slip == "decay elsewhere")
        g = slope(function, w) * (-1 if slip == "sign" else 1) + (0 if apart_now else decay * w)
        m = betas[0] * m + (1 - betas[0]) * g
        v = betas[1] * v + (1 - betas[1]) * (abs(g) if slip == "not squared" else g * g)
        mean = m if slip == "no correction" else m / (1 - betas[0] ** t)
        square = v if slip == "no correction" else v / (1 - betas[1] ** t)
        w = w - rate * (mean / (np.sqrt(square) + eps) + (decay * w if apart_now else 0))
        yield w


def adamw_by_hand(function, w, **settings):
    return adam_by_hand(function, w, apart=True, **settings)


def nadam_by_hand(function, w, *, rate, decay, betas=(0.9, 0.999), eps=1e-8, momentum_decay=4e-3, slip=""):
    m, v, t, product = 0.0, 0.0, 0, 1.0
    while True:
        t += 1
        now, later = (
            betas[0] * (1 - 0.5 * 0.96 ** (step * (0 if slip == "no temperature" else momentum_decay)))
            for step in (t, t + 1)
        )
        g = slope(function, w) * (-1 if slip == "sign" else 1) + (decay * w if slip == "decay elsewhere" else 0)
        m = betas[0] * m + (1 - betas[0]) * g
        v = betas[1] * v + (1 - betas[1]) * g * g
        product *= now
        ahead = later * m / (1 - product * later) + (1 - now) * g / (1 - product)
        mean = m / (1 - betas[0] ** t) if slip == "no look ahead" else ahead
        square = v if slip == "no correction" else v / (1 - betas[1] ** t)
        w = w - rate * (mean / (np.sqrt(square) + eps) + (0 if slip == "decay elsewhere" else decay * w))
        yield w


def lion_by_hand(function, w, *, rate, decay, betas=(0.9, 0.99), slip=""):
    m = 0.0
    short, long = betas[::-1] if slip == "memories swapped" else betas
    while True:
        g = slope(function, w) * (-1 if slip == "sign" else 1)
        way = short * m + (1 - short) * g
        w = w - rate * ((way if slip == "not the sign" else np.sign(way)) + (0 if slip == "no decay" else decay * w))
        m = long * m + (1 - long) * g
        yield w


def turned(x, turns=5):
    """The iteration of Newton and Schulz as it is written: X <- a X + b (X X') X + c (X X')^2 X."""
    if x.shape[0] > x.shape[1]:
        return turned(x.T, turns).T
    x = x / np.linalg.norm(x) if turns else x
    for _ in range(turns):
        square = x @ x.T
        x = 3.4445 * x - 4.7750 * square @ x + 2.0315 * square @ square @ x
    return x


def muon_by_hand(function, w, *, rate, decay, momentum=0.95, slip=""):
    m = 0.0
    while True:
        g = slope(function, w) * (-1 if slip == "sign" else 1)
        m = (0 if slip == "no memory" else momentum) * m + (1 - momentum) * g
        ahead = m if slip == "no look ahead" else (1 - momentum) * g + momentum * m
        way = turned(ahead.reshape(len(w), -1), {"not turned": 0, "one turn": 1}.get(slip, 5))
        length = 1 if slip == "no scale" else 0.2 * math.sqrt(max(len(w), w[0].size))
        w = w - rate * (length * way.reshape(w.shape) + (0 if slip == "no decay" else decay * w))
        yield w


def sam_by_hand(function, w, *, rate, decay, rho=0.05, base="adamw", slip=""):
    """The base's formula, with the gradient of the worst place nearby; ``by_hand`` of the base asks for it."""

    def worst(p):
        here = torch.from_numpy(slope(function, p.detach().numpy()))
        length = 1.0 if slip == "not normalised" else float(here.norm())
        return function(p + {"wrong way": -rho, "not moved": 0.0}.get(slip, rho) * here / length)

    wanted = FORMULAS[base].by_hand(worst, w, rate=rate, decay=decay)
    if slip != "stays there":
        return wanted
    return (place + rho * slope(function, place) / np.linalg.norm(slope(function, place)) for place in wanted)


def schedule_free_by_hand(function, w, *, rate, decay, betas=(0.9, 0.999), eps=1e-8, slip=""):
    x, z, v, t = w, w, 0.0, 0
    while True:
        t += 1
        y = x if slip == "slope at the mean" else (1 - betas[0]) * z + betas[0] * x
        g = slope(function, y) * (-1 if slip == "sign" else 1)
        v = betas[1] * v + (1 - betas[1]) * g * g
        square = v if slip == "no correction" else v / (1 - betas[1] ** t)
        z = z - rate * (g / (np.sqrt(square) + eps) + decay * (x if slip == "decay at the mean" else y))
        c = 1 if slip == "no mean" else 1 / (t + 1 if slip == "late mean" else t)
        x = (1 - c) * x + c * z
        yield x


def drawn(seed, shape):
    chance = torch.Generator().manual_seed(hash(seed) % 2**32)
    return torch.randn(shape, generator=chance, dtype=torch.float64).numpy()


def entropy_sgd_by_hand(
    function, w, *, rate, decay, inner=20, outer=1.0, pull=0.03, growth=1e-3, noise=1e-4, alpha=0.75, momentum=0.9,
    slip="",
):  # fmt: skip
    x, walk, mean, memory, moves, t = w, w, w, 0.0, 0, 0
    while True:
        g = slope(function, mean if slip == "slope at the mean" else walk) * (-1 if slip == "sign" else 1)
        gamma = {"no pull": 0, "pushed": -1}.get(slip, 1) * pull * (1 if slip == "no growth" else 1 + growth) ** moves
        h = g + decay * walk + min(1.0, gamma) * (walk - x)
        memory = (0 if slip == "no memory" else momentum) * memory + h
        chance = 0 if slip == "no noise" else drawn((0, 0, t), w.shape)
        width = rate if slip == "narrow noise" else math.sqrt(rate)
        walk = walk - rate * (h + momentum * memory) + width * noise * chance
        mean = alpha * mean + (1 - alpha) * walk if slip == "other mean" else (1 - alpha) * mean + alpha * walk
        t += 1
        if t % inner == 0 and slip != "never moves":
            x = x - outer * (x - mean)
            walk, mean, moves = x, x, moves + 1
        yield mean


# Following them


@cache
def walked(name, function, start, settings):
    """Give the places that an optimiser passes, which are the same for every slip in the formula."""
    return walk(optimiser(name), function, list(start), STEPS, **dict(settings)).numpy()


def follows(name, by_hand, *, function, start, slip="", rtol=1e-9, **settings):
    """It passes the places that the formula gives."""
    passed = walked(name, function, start, tuple(settings.items()))
    formula = by_hand(function, np.array(start)[None], slip=slip, **settings)
    with np.errstate(all="ignore"):  # a wrong sign climbs without end
        wanted = np.stack([np.array(start)[None], *[next(formula) for _ in range(STEPS)]])
    np.testing.assert_allclose(passed, wanted, rtol=rtol, atol=rtol / 1000)


@dataclass(frozen=True)
class Formula:
    """An optimiser written out, the settings to try it with, and the slips that a comparison must find.

    ``precision`` is what the numbers agree to.
    """

    by_hand: object
    settings: tuple[dict, ...]
    slips: tuple[str, ...]
    precision: float = 1e-9

    def check(self, name, *, function, start, slip="", **settings):
        follows(name, self.by_hand, function=function, start=start, slip=slip, rtol=self.precision, **settings)


class Search:
    """L-BFGS: its path depends on a line search that no formula gives, so every step is checked for what it must be."""

    settings = ({"rate": 1.0, "decay": 0.0}, {"rate": 1.0, "decay": 0.1}, {"rate": 0.3, "decay": 0.1, "history": 3})
    slips = ("along the slope", "no first scale", "last pair only", "decay elsewhere", "pairs across steps")

    def check(self, name, *, function, start, slip="", rate, decay, history=10):
        part = 0.0 if slip == "decay elsewhere" else decay / 2
        last_ones = 1 if slip == "last pair only" else history

        def whole(w):
            return function(w) + part * w.square().sum()

        w = weight(list(start))
        stepper = made(optimiser(name), [w], rate=rate, decay=decay, history=history, iterations=2, calls=60)
        again, pairs, steps = closure_of(w, function, stepper), [], 0
        while steps < 5:
            steps += 1
            first = w.detach().numpy().ravel().copy()
            stepper.step(again)
            last = w.detach().numpy().ravel().copy()
            kept = stepper.state[w]
            middle = last - float(kept["t"]) * kept["d"].numpy()
            slopes = [slope(whole, p[None]).ravel() for p in (first, middle, last)]
            self.is_a_step(whole, slopes[0], (first, middle), inverse(pairs, len(first), slip))
            pairs = [*pairs, (middle - first, slopes[1] - slopes[0])][-last_ones:]
            self.is_a_step(whole, slopes[1], (middle, last), inverse(pairs, len(first), slip))
            if slip == "pairs across steps":
                pairs = [*pairs, (last - middle, slopes[2] - slopes[1])][-last_ones:]
            if np.abs(slopes[2]).max() < 1e-3:
                break
        assert steps > 1

    def is_a_step(self, whole, g, ends, curvature):
        """It goes along -H g, and both of Wolfe's strong conditions hold where it ends."""
        way, wanted = ends[1] - ends[0], -curvature @ g
        assert way @ wanted / np.linalg.norm(way) / np.linalg.norm(wanted) == pytest.approx(1, abs=1e-6)
        values = [float(whole(torch.from_numpy(p[None]))) for p in ends]
        assert values[1] <= values[0] + 1e-4 * g @ way + 1e-12
        assert abs(slope(whole, ends[1][None]).ravel() @ way) <= 0.9 * abs(g @ way) + 1e-12


def inverse(pairs, size, slip):
    """The inverse curvature by its pairs of steps s and differences of slope y, as a whole matrix."""
    one = np.eye(size)
    if not pairs or slip == "along the slope":
        return one
    s, y = pairs[-1]
    found = one * (1 if slip == "no first scale" else s @ y / (y @ y))
    for s, y in pairs:
        r = 1 / (s @ y)
        found = (one - r * np.outer(s, y)) @ found @ (one - r * np.outer(y, s)) + r * np.outer(s, s)
    return found


SMALL, PLAIN = {"rate": 2e-4, "decay": 0.1}, {"rate": 2e-4, "decay": 0.0}
LARGE, FREE = {"rate": 0.02, "decay": 0.1}, {"rate": 0.02, "decay": 0.0}
QUICK = {"betas": (0.5, 0.9)}
WALKING = {"inner": 5, "outer": 0.7, "pull": 0.5, "growth": 0.3, "noise": 0.1, "alpha": 0.6}

FORMULAS = {
    "sgd": Formula(sgd_by_hand, (PLAIN, SMALL), ("sign", "no decay")),
    "momentum": Formula(
        momentum_by_hand,
        (PLAIN, SMALL | {"momentum": 0.5}, SMALL),
        ("sign", "no decay", "no memory", "dampened", "other look"),
    ),
    "nesterov": Formula(
        nesterov_by_hand,
        (PLAIN, SMALL | {"momentum": 0.5}, SMALL),
        ("sign", "no decay", "no memory", "dampened", "other look"),
    ),
    "adagrad": Formula(
        adagrad_by_hand, (FREE, LARGE), ("sign", "no gradient above", "not squared", "no root", "forgets")
    ),
    "rmsprop": Formula(
        rmsprop_by_hand,
        (FREE, LARGE | {"beta": 0.9}, LARGE),
        ("sign", "no gradient above", "divided", "corrected"),
    ),
    "adam": Formula(
        adam_by_hand, (FREE, LARGE | QUICK, LARGE), ("sign", "no correction", "not squared", "decay elsewhere")
    ),
    "adamw": Formula(
        adamw_by_hand, (FREE, LARGE | QUICK, LARGE), ("sign", "no correction", "not squared", "decay elsewhere")
    ),
    "nadam": Formula(
        nadam_by_hand,
        (FREE, LARGE | QUICK, LARGE | {"momentum_decay": 0.1}),
        ("sign", "no correction", "no look ahead", "no temperature", "decay elsewhere"),
        precision=1e-6,  # torch keeps the product of momenta in float32
    ),
    "lion": Formula(
        lion_by_hand,
        (FREE, LARGE | QUICK, LARGE | {"rate": 0.3}),
        ("sign", "not the sign", "memories swapped", "no decay"),
    ),
    "muon": Formula(
        muon_by_hand,
        (FREE, LARGE | {"momentum": 0.5}, LARGE),
        ("sign", "not turned", "one turn", "no scale", "no memory", "no look ahead", "no decay"),
    ),
    "sam": Formula(
        sam_by_hand,
        (LARGE, SMALL | {"base": "nesterov"}, SMALL | {"base": "momentum", "rho": 0.1}),
        ("wrong way", "not normalised", "not moved", "stays there"),
    ),
    "schedule_free": Formula(
        schedule_free_by_hand,
        (FREE, LARGE | QUICK, LARGE),
        ("sign", "no correction", "slope at the mean", "decay at the mean", "no mean", "late mean"),
    ),
    "entropy_sgd": Formula(
        entropy_sgd_by_hand,
        (PLAIN, SMALL, SMALL | {"noise": 0.0, "inner": 5}, SMALL | WALKING),
        (
            "sign",
            "slope at the mean",
            "no pull",
            "pushed",
            "no growth",
            "no memory",
            "no noise",
            "narrow noise",
            "other mean",
            "never moves",
        ),
    ),
    "lbfgs": Search(),
}
"""Every optimiser by its name; a slip is tried with the last of its settings."""


@pytest.mark.parametrize("name", OPTIMISERS)
def test_an_optimiser_has_a_formula_by_hand(name):
    """One that was just added is held to the laws, and its formula is still to come."""
    if name not in FORMULAS:
        pytest.skip(f"{name} is not checked against a formula by hand yet: add one to FORMULAS")
    assert FORMULAS[name].settings


def test_no_formula_is_of_an_optimiser_that_is_gone():
    assert set(FORMULAS) <= set(OPTIMISERS)
    assert len(FORMULAS) >= 14


@pytest.mark.parametrize("where", FUNCTIONS)
@pytest.mark.parametrize(
    ("name", "number"), [(name, number) for name, f in FORMULAS.items() for number in range(len(f.settings))]
)
def test_an_optimiser_follows_its_formula(name, number, where):
    function, start = FUNCTIONS[where]
    FORMULAS[name].check(name, function=function, start=start, **FORMULAS[name].settings[number])


@pytest.mark.parametrize("where", FUNCTIONS)
@pytest.mark.parametrize(("name", "slip"), [(name, slip) for name, f in FORMULAS.items() for slip in f.slips])
def test_a_slip_in_a_formula_is_caught(name, slip, where):
    function, start = FUNCTIONS[where]
    with pytest.raises(AssertionError):
        FORMULAS[name].check(name, function=function, start=start, slip=slip, **FORMULAS[name].settings[-1])

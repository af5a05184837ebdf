"""Laws that every optimiser keeps; each is shown to catch a planted slip."""

import pytest
import torch
from torch import nn

from medgrad import registry
from medgrad.engine.runs.checkpoint import read_checkpoint, write_checkpoint

OPTIMISERS = registry.names("descent.optimisers")


def optimiser(name):
    return registry.find("descent.optimisers", name)


def made(make, weights, **settings):
    """Make an optimiser for some weights, with those of the settings that it knows."""
    known = registry.keyword_defaults(make)
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
    """At some rate it comes near the bottom of a bowl, and down into the valley.

    The rates reach up to 1, since those of AdaGrad fall from the first step on.
    """
    for function, start, share in ((bowl, [0.0, 0.0, 0.0], 0.01), (banana, [-1.2, 1.0], 0.25)):
        ends = (walk(make, function, start, 150, rate=rate, decay=0.0)[-1] for rate in (1e-1, 1e-3, 1e-2, 1.0, 1e-4))
        low = share * float(function(weight(start).detach()))
        assert any(end.isfinite().all() and float(function(end)) < low for end in ends)


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
    """Without a slope, what has one axis or none stays as it is; decay takes from weights alone.

    Noise, where an optimiser draws it, is meant to move everything, and is turned off.
    """
    matrix, bias, scale = (nn.Parameter(torch.ones(shape)) for shape in ((3, 2), (3,), ()))
    stepper = made(make, [matrix, bias, scale], rate=0.1, decay=0.5, noise=0.0)

    def flat():
        stepper.zero_grad()
        for p in (matrix, bias, scale):
            p.grad = torch.zeros_like(p)
        return torch.zeros(())

    for _ in range(3):
        stepper.step(flat)
    assert torch.equal(bias.detach(), torch.ones(3))
    assert float(scale.detach()) == 1
    assert (
        float(matrix.detach().mean()) < 1 if "decay" in registry.keyword_defaults(make) else float(matrix.mean()) == 1
    )


def leaves_alone_what_is_frozen(make):
    w, frozen = weight([1.0, 2.0, 2.0]), nn.Parameter(torch.ones(2, 2), requires_grad=False)
    stepper = made(make, [w, frozen], rate=1e-2, decay=0.5)
    stepper.step(closure_of(w, bowl, stepper))
    assert torch.equal(frozen, torch.ones(2, 2))


def reads_the_rate_of_its_group(make):
    """The loop writes each step's rate there; the rate that it was made with has no further say."""
    wanted = walk(make, banana, [-1.2, 1.0], 6, rate=1e-3)[-1]
    w = weight([-1.2, 1.0])
    stepper = made(make, [w], rate=0.5)
    for _ in range(6):
        for group in stepper.param_groups:
            group["lr"] = 1e-3
        stepper.step(closure_of(w, banana, stepper))
    assert torch.equal(w.detach(), wanted)


def leaves_alone_what_has_no_gradient(make):
    """A parameter that the loss does not know stays as it is; as soon as it does, it moves."""
    w, idle = weight([0.0, 1.0, 2.0]), weight([0.5, 1.5, 2.5])
    stepper = made(make, [w, idle], rate=1e-2, decay=0.05)
    for _ in range(3):
        stepper.step(closure_of(w, bowl, stepper))
    assert idle.grad is None
    assert idle.tolist() == [[0.5, 1.5, 2.5]]
    for _ in range(3):
        stepper.step(closure_of(idle, lambda late: bowl(w) + bowl(late), stepper))
    assert float(bowl(idle.detach())) < float(bowl(weight([0.5, 1.5, 2.5]).detach()))


class StrayError(Exception):
    pass


def changes_nothing_in_a_step_that_fails(make):
    """Whichever call of the closure fails, the weights are those of before, and the next steps lead down."""
    for failing in range(1, 13):
        w = weight([-1.2, 1.0])
        stepper, calls = made(make, [w], rate=1e-3), 0
        again = closure_of(w, banana, stepper)
        for _ in range(2):
            stepper.step(again)
        before = w.detach().clone()

        def failing_once(again=again, failing=failing):
            nonlocal calls
            calls += 1
            if calls == failing:
                raise StrayError
            return again()

        try:
            stepper.step(failing_once)
        except StrayError:
            assert torch.equal(w.detach(), before)
        for _ in range(20):
            stepper.step(again)
        assert float(banana(w.detach())) < float(banana(before))
        if calls < failing:  # a step makes no more calls than this
            return


def plain_order(state):
    """Give a state as a checkpoint does, every tensor in plain order."""
    if isinstance(state, torch.Tensor):
        return state.contiguous()
    if isinstance(state, dict):
        return {k: plain_order(v) for k, v in state.items()}
    return [plain_order(v) for v in state] if isinstance(state, (list, tuple)) else state


def kernel_walk(make, order, gradient_order):
    """Give the end of a walk of a kernel that lies in some order, with gradients that lie in some order."""
    start = torch.linspace(-1, 1, 4 * 3 * 2 * 2, dtype=torch.float64).sin().view(4, 3, 2, 2)
    steep = torch.linspace(0.5, 5, start.numel(), dtype=torch.float64).view(start.shape)
    w = nn.Parameter(start.contiguous(memory_format=order))
    stepper = made(make, [w], rate=1e-2, decay=0.1)

    def again():
        w.grad = (steep * (w.detach() - 3)).contiguous(memory_format=gradient_order)
        return (steep * (w.detach() - 3) ** 2).sum() / 2

    for part in range(2):
        if part:
            stepper.load_state_dict(plain_order(stepper.state_dict()))
        for _ in range(3):
            stepper.step(again)
    return w.detach()


def walks_alike_in_every_order(make):
    """How weights, gradients and a loaded state lie in memory changes nothing."""
    orders = (torch.contiguous_format, torch.channels_last)
    ends = [kernel_walk(make, order, other) for order in orders for other in orders]
    for end in ends[1:]:
        torch.testing.assert_close(end, ends[0], rtol=1e-12, atol=1e-12)


def takes_groups_with_their_own_rates(make):
    """A second group moves at its own rate, here not at all; L-BFGS says that it has one group only."""
    w, still, quick = weight([0.0, 1.0, 2.0]), weight([0.0, 1.0, 2.0]), weight([0.0, 1.0, 2.0])
    stepper = made(make, [w], rate=1e-2)
    if isinstance(stepper, torch.optim.LBFGS):
        with pytest.raises(ValueError, match="one group, but a second came"):
            stepper.add_param_group({"params": [still]})
        return
    stepper.add_param_group({"params": [still], "lr": 0.0, "weight_decay": 0.0})
    stepper.add_param_group({"params": [quick], "lr": 2e-2, "weight_decay": 0.0})
    for _ in range(3):
        stepper.step(closure_of(w, lambda w: bowl(w) + bowl(still) + bowl(quick), stepper))
    assert still.tolist() == [[0.0, 1.0, 2.0]]
    assert float(bowl(quick.detach())) < float(bowl(w.detach())) < float(bowl(still.detach()))


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

    def test_reads_the_rate_of_its_group(self, name):
        reads_the_rate_of_its_group(optimiser(name))

    def test_leaves_alone_what_has_no_gradient(self, name):
        leaves_alone_what_has_no_gradient(optimiser(name))

    def test_changes_nothing_in_a_step_that_fails(self, name):
        changes_nothing_in_a_step_that_fails(optimiser(name))

    def test_walks_alike_in_every_order(self, name):
        walks_alike_in_every_order(optimiser(name))

    def test_takes_groups_with_their_own_rates(self, name):
        takes_groups_with_their_own_rates(optimiser(name))

    def test_takes_the_rate_by_name(self, name):
        assert registry.keyword_defaults(optimiser(name))["rate"] > 0
        assert made(optimiser(name), [weight([1.0])], rate=0.25).param_groups[0]["lr"] == 0.25


# The laws themselves, tried on optimisers with a slip


class Slipping(torch.optim.Optimizer):
    """Adam with one thing wrong."""

    def __init__(self, parameters, rate, decay, slip):
        super().__init__(parameters, {"lr": rate, "decay": decay})
        self.slip, self.aside, self.rate = slip, {}, rate

    @torch.no_grad()
    def step(self, closure):
        if self.slip == "hasty":
            for p in self.state:
                p += 1e-3 * self.state[p]["m"]
        loss = closure() if self.slip != "stale" or not self.aside else torch.zeros(())
        for group in self.param_groups:
            rate = self.rate if self.slip == "own rate" else group["lr"]
            for number, p in enumerate(group["params"]):
                if p.grad is None and self.slip == "moves all":
                    p.grad = torch.zeros_like(p)
                if p.grad is None:
                    continue
                kept = self.aside.setdefault(number, {}) if self.slip == "forgetful" else self.state[p]
                self.aside.setdefault("begun", True)
                if self.slip == "climbs":
                    p.grad = -p.grad
                if self.slip == "by memory":
                    p.grad = p.grad.as_strided(p.shape, p.stride())
                t = kept["t"] = kept.get("t", 0) + 1
                m = kept["m"] = 0.9 * kept.get("m", 0 * p) + 0.1 * p.grad
                v = kept["v"] = 0.999 * kept.get("v", 0 * p) + 0.001 * p.grad**2
                decay = group["decay"] if p.ndim > 1 or self.slip == "decays all" else 0.0
                p -= rate * (m / (1 - 0.9**t) / ((v / (1 - 0.999**t)).sqrt() + 1e-8) + decay * p)
        return loss


def slipping(slip):
    def make(named, *, rate=1e-3, decay=0.0):
        return Slipping([p for _, p in named if p.requires_grad], rate, decay, slip)

    return make


def every_law(make, folder):
    """Hold an optimiser to all laws, those that take long last."""
    begins_downhill(make)
    asks_for_gradients_anew(make)
    goes_on_from_its_state(make, folder)
    spares_biases_and_norms(make)
    leaves_alone_what_is_frozen(make)
    reads_the_rate_of_its_group(make)
    leaves_alone_what_has_no_gradient(make)
    walks_alike_in_every_order(make)
    takes_groups_with_their_own_rates(make)
    changes_nothing_in_a_step_that_fails(make)
    descends(make)


def test_the_laws_let_what_is_right_pass(tmp_path):
    every_law(slipping(""), tmp_path)


def test_what_climbs_does_not_descend():
    with pytest.raises(AssertionError):
        descends(slipping("climbs"))


@pytest.mark.parametrize(
    "slip", ["climbs", "stale", "forgetful", "decays all", "own rate", "moves all", "hasty", "by memory"]
)
def test_the_laws_catch_a_slip(slip, tmp_path):
    with pytest.raises(AssertionError):
        every_law(slipping(slip), tmp_path)

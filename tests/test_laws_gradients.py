"""Laws that every way of making gradients and every schedule keeps."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from medgrad import registry
from medgrad.descent.gradients import build_gradients, total_loss
from medgrad.engine.runs.checkpoint import read_checkpoint, write_checkpoint
from medgrad.tasks import stack_samples
from medgrad.tasks.classification import Classification

GRADIENTS = registry.names("descent.gradients")
SCHEDULES = registry.names("descent.schedules")
NEUTRAL = {
    "plain": {},
    "all_reduced": {},
    "clipped": {"norm": 1e9},
    "clipped_by_value": {"value": 1e9},
    "clipped_adaptively": {"share": 1e9},
    "noisy": {"share": 0.0},
    "top_k": {"share": 1.0},
    "accumulated": {"parts": 1},
    "full_batch": {},
    "sparse": {},
}
"""The settings with which a way of making gradients is plain back-propagation, where it has such settings."""


def gradients(name, **settings):
    return registry.find("descent.gradients", name)(**settings)


@pytest.fixture
def learning(request):
    """A small network without chance, its task and a batch; each is made anew for every test."""
    torch.manual_seed(0)
    chosen = getattr(request.node, "callspec", None)
    example = own_example(chosen.params.get("name")) if chosen else None
    if example:
        return example()
    task = Classification(dims=2, labels=("a", "b", "c"))
    batch = stack_samples([task.encode(task.example(seed)) for seed in range(6)])
    network = nn.Sequential(nn.Flatten(), nn.Linear(256, 8), nn.LayerNorm(8), nn.GELU(), nn.Linear(8, 3))
    return network, task, batch


def own_example(name):
    """The example of a way of making gradients with an objective of its own, if it is one."""
    return getattr(registry.find("descent.gradients", name), "example", None) if name in GRADIENTS else None


def after(make, learning):
    """Give what was told, and every gradient, of one call."""
    network, task, batch = learning
    network.zero_grad()
    torch.manual_seed(0)  # as the loop does at every step
    told = make(network, task, batch)
    return told, {name: p.grad.clone() for name, p in network.named_parameters()}


@pytest.mark.parametrize("name", GRADIENTS)
class TestGradients:
    def test_fills_the_gradient_of_every_weight(self, name, learning):
        _, found = after(gradients(name), learning)
        assert all(g.isfinite().all() for g in found.values())
        assert any(g.abs().max() > 0 for g in found.values())

    def test_tells_finite_numbers_and_the_loss(self, name, learning):
        told, _ = after(gradients(name), learning)
        assert all(type(v) is float and math.isfinite(v) for v in told.values())
        if own_example(name):
            return
        plain, _ = after(gradients("plain"), learning)
        assert {k for k in told if "/" not in k} == set(plain)
        assert total_loss(told) == pytest.approx(total_loss(plain), rel=1e-5)

    def test_changes_neither_weights_nor_batch(self, name, learning):
        network, _, batch = learning
        weights = {k: v.clone() for k, v in network.state_dict().items()}
        inputs, target = batch.inputs["image"].clone(), {k: v.clone() for k, v in batch.target.items()}
        after(gradients(name), learning)
        assert all(torch.equal(v, weights[k]) for k, v in network.state_dict().items())
        assert torch.equal(batch.inputs["image"], inputs)
        assert all(torch.equal(batch.target[k], v) for k, v in target.items())

    def test_what_it_leads_to_is_lower(self, name, learning):
        if own_example(name):
            pytest.skip("it has an objective of its own")
        network = learning[0]
        told, found = after(gradients(name), learning)
        length = math.sqrt(sum(float(g.square().sum()) for g in found.values()))
        with torch.no_grad():
            for key, p in network.named_parameters():
                p -= 1e-2 * found[key] / length
        assert total_loss(after(gradients("plain"), learning)[0]) < total_loss(told)

    def test_wraps_what_it_is_given(self, name, learning):
        if "inner" not in registry.keyword_defaults(registry.find("descent.gradients", name)):
            pytest.skip("it is the innermost")
        calls = []

        def counted(network, task, batch):
            calls.append(batch.size)
            return gradients("plain")(network, task, batch) | {"seen/inside": 1.0}

        told, found = after(gradients(name, inner=counted), learning)
        assert sum(calls) >= 6
        assert "seen/inside" in told
        for key, value in after(gradients(name), learning)[1].items():
            torch.testing.assert_close(found[key], value)

    def test_is_plain_with_neutral_settings(self, name, learning):
        if name not in NEUTRAL:
            pytest.skip("it has no neutral settings")
        told, found = after(gradients(name, **NEUTRAL[name]), learning)
        plain, wanted = after(gradients("plain"), learning)
        assert total_loss(told) == pytest.approx(total_loss(plain))
        for key, value in wanted.items():
            torch.testing.assert_close(found[key], value)

    def test_a_batch_without_samples_has_the_gradient_0(self, name, learning):
        """As Poisson sampling may draw it."""
        network, task, batch = learning
        told, found = after(gradients(name), (network, task, batch.part(slice(0))))
        assert total_loss(told) == 0
        assert all(float(g.abs().max()) == 0 for g in found.values())

    def test_goes_on_from_the_state_in_a_checkpoint(self, name, learning, tmp_path):
        whole, resumed = build_gradients([{"name": name}]), build_gradients([{"name": name}])
        for _ in range(2):
            after(whole, learning)
        write_checkpoint(tmp_path / "last.safetensors", {"gradients": whole.state_dict()})
        resumed.load_state_dict(read_checkpoint(tmp_path / "last.safetensors")["gradients"])
        (told, found), (wanted, expected) = after(resumed, learning), after(whole, learning)
        assert told == wanted
        assert all(torch.equal(value, expected[key]) for key, value in found.items())

    def test_is_built_by_its_name(self, name, learning):
        _, found = after(build_gradients([{"name": name}]), learning)
        for key, value in after(gradients(name), learning)[1].items():
            torch.testing.assert_close(found[key], value)


def test_a_teacher_is_part_of_the_loss_by_its_weight(learning):
    network, _, batch = learning
    others = torch.randn(6, 3, generator=torch.Generator().manual_seed(1))

    def own(run):
        assert run == "parent"
        return lambda _: others

    told, found = after(gradients("distilled", run="parent", weight=0.25, temperature=3.0, teacher=own), learning)
    network.zero_grad()
    said = network(batch.inputs["image"])
    soft, known = (said / 3).log_softmax(1), (others / 3).softmax(1)
    apart = 9 * nn.functional.kl_div(soft, known, reduction="batchmean")
    wanted = 0.75 * nn.functional.cross_entropy(said, batch.target["class"]) + 0.25 * apart
    wanted.backward()
    assert total_loss(told) == pytest.approx(wanted.item(), rel=1e-5)
    assert told["distilled/loss"] == pytest.approx(apart.item(), rel=1e-5)
    for name, p in network.named_parameters():
        torch.testing.assert_close(found[name], p.grad)


def test_a_teacher_may_answer_about_the_first_samples_only(learning):
    network, _, batch = learning
    others, asked = torch.randn(6, 3, generator=torch.Generator().manual_seed(1)), []

    def own(inputs):
        asked.append(inputs)
        return others[: len(inputs["image"])]

    told, _ = after(
        gradients("distilled", run="parent", share=0.5, temperature=1.0, teacher=lambda _run: own), learning
    )
    assert torch.equal(asked[0]["image"], batch.inputs["image"][:3])
    said = network(batch.inputs["image"])[:3].log_softmax(1)
    apart = nn.functional.kl_div(said, others[:3].softmax(1), reduction="batchmean")
    assert told["distilled/loss"] == pytest.approx(apart.item(), rel=1e-5)


@pytest.mark.parametrize("share", [1.0, 0.5, 0.2])
def test_a_teacher_teaches_batches_in_parts(learning, share):
    others = torch.randn(6, 3, generator=torch.Generator().manual_seed(1))
    taught = {"run": "parent", "share": share, "teacher": lambda _run: lambda inputs: others[: len(inputs)]}
    _, whole = after(gradients("distilled", **taught), learning)
    _, parts = after(gradients("distilled", inner=gradients("accumulated", parts=3), **taught), learning)
    for name, value in whole.items():
        torch.testing.assert_close(parts[name], value)


def test_the_last_of_a_chain_is_the_outermost(learning):
    """Clipped last, the whole has at most the norm; clipped first, each part has."""
    chain = [{"name": "accumulated", "parts": 3}, {"name": "clipped", "norm": 1e-3}]
    _, found = after(build_gradients(chain), learning)
    assert norm(found) == pytest.approx(1e-3, rel=1e-4)
    _, other = after(build_gradients(chain[::-1]), learning)
    assert norm(other) < 1e-3 * (1 - 1e-4)


def norm(found):
    return math.sqrt(sum(float(g.square().sum()) for g in found.values()))


@pytest.mark.parametrize("parts", [2, 3, 4, 6, 9])
def test_a_batch_in_parts_has_the_gradient_of_the_whole(parts, learning):
    told, found = after(gradients("accumulated", parts=parts), learning)
    plain, wanted = after(gradients("plain"), learning)
    assert total_loss(told) == pytest.approx(total_loss(plain), rel=1e-5)
    for key, value in wanted.items():
        torch.testing.assert_close(found[key], value)


@pytest.mark.parametrize("bound", [1e-3, 0.1])
def test_clipping_shortens_and_does_not_turn(bound, learning):
    told, found = after(gradients("clipped", norm=bound), learning)
    _, wanted = after(gradients("plain"), learning)
    assert norm(found) == pytest.approx(bound, rel=1e-4)
    assert told["gradient/norm"] == pytest.approx(norm(wanted), rel=1e-5)
    for key, value in wanted.items():
        torch.testing.assert_close(found[key], value * bound / norm(wanted), rtol=1e-4, atol=1e-9)


# Schedules


@pytest.mark.parametrize("name", SCHEDULES)
class TestSchedules:
    def test_is_a_factor_between_nothing_and_all(self, name):
        factor = registry.find("descent.schedules", name)()
        values = [factor(done) for done in np.linspace(0, 1, 1001)]
        assert all(0 <= v <= 1 for v in values)
        assert max(values) == pytest.approx(1, abs=0.01)

    def test_jumps_only_where_it_says(self, name):
        factor = registry.find("descent.schedules", name)()
        at = np.linspace(0, 1, 5001)
        leaps = np.abs(np.diff([factor(done) for done in at])) >= 0.01
        told = registry.keyword_defaults(registry.find("descent.schedules", name)).get("at", ())
        np.testing.assert_allclose(at[1:][leaps], told, atol=1e-9)

    def test_stays_a_number_after_the_end(self, name):
        assert 0 <= registry.find("descent.schedules", name)()(1.001) <= 1

    def test_warms_up_along_a_line(self, name):
        make = registry.find("descent.schedules", name)
        if "warmup" not in registry.keyword_defaults(make):
            pytest.skip("it has no warm-up")
        factor = make(warmup=0.2)
        assert [factor(done) for done in (0.05, 0.1, 0.15)] == pytest.approx([0.25, 0.5, 0.75])
        assert factor(0.2) == pytest.approx(1)
        assert make(warmup=0.0)(0.0) == pytest.approx(1)


@pytest.mark.parametrize(
    ("name", "settings", "ends"),
    [
        ("constant", {}, 1.0),
        ("cosine", {}, 0.0),
        ("cosine", {"floor": 0.1}, 0.1),
        ("polynomial", {}, 0.0),
        ("polynomial", {"power": 2.0, "warmup": 0.1}, 0.0),
        ("step", {}, 0.01),
        ("one_cycle", {}, 4e-6),
        ("warmup_stable_decay", {}, 0.0),
        ("warmup_stable_decay", {"hold": 0.9, "power": 2.0}, 0.0),
        ("warm_up", {}, 1.0),
        ("warm_up", {"then": {"name": "cosine", "warmup": 0.0, "floor": 0.2}}, 0.2),
        ("plateau", {}, 1.0),
    ],
)
def test_a_schedule_ends_as_it_says(name, settings, ends):
    assert registry.find("descent.schedules", name)(**settings)(1.0) == pytest.approx(ends, abs=1e-9)


def test_a_cosine_is_half_way_down_in_the_middle():
    assert registry.find("descent.schedules", "cosine")(warmup=0.0, floor=0.2)(0.5) == pytest.approx(0.6)


@pytest.mark.parametrize(("done", "wanted"), [(0.0, 0.04), (0.15, 0.52), (0.3, 1.0), (0.65, 0.500002)])
def test_one_cycle_rises_and_falls_along_half_cosines(done, wanted):
    assert registry.find("descent.schedules", "one_cycle")()(done) == pytest.approx(wanted, abs=1e-6)


def test_a_plateau_lowers_the_rate_only_after_validations_that_were_no_better():
    schedule = registry.find("descent.schedules", "plateau")(factor=0.1, patience=2)
    told = []
    for found in (0.5, 0.6, 0.6, 0.59, 0.61, 0.4, "nan", 0.7):
        schedule.observe({"step": 1, "loss": {"dice": 1.0}})
        schedule.observe({"step": 1, "valid": {"auroc": found}})
        told.append(schedule(0.5))
    assert told == pytest.approx([1, 1, 1, 0.1, 0.1, 0.1, 0.01, 0.01])


def test_a_warm_up_passes_lines_on():
    schedule = registry.find("descent.schedules", "warm_up")(share=0.2, then={"name": "plateau", "patience": 1})
    for found in (0.5, 0.4):
        schedule.observe({"step": 1, "valid": {"auroc": found}})
    assert [schedule(d) for d in (0.1, 0.5)] == pytest.approx([0.5, 0.5])


# What each way does to a gradient


def test_clipping_by_value_cuts_each_element_and_tells_how_many(learning):
    told, found = after(gradients("clipped_by_value", value=1e-3), learning)
    _, wanted = after(gradients("plain"), learning)
    for key, value in wanted.items():
        torch.testing.assert_close(found[key], value.clamp(-1e-3, 1e-3))
    over = sum(float((v.abs() > 1e-3).sum()) for v in wanted.values()) / sum(v.numel() for v in wanted.values())
    assert told["gradient/cut"] == pytest.approx(over)
    assert 0 < over < 1


def test_adaptive_clipping_bounds_each_unit_by_a_share_of_its_size(learning):
    network = learning[0]
    _, found = after(gradients("clipped_adaptively", share=1e-3), learning)
    _, wanted = after(gradients("plain"), learning)
    weights = dict(network.named_parameters())
    for row, before, w in zip(found["1.weight"], wanted["1.weight"], weights["1.weight"].detach(), strict=True):
        bound = 1e-3 * max(float(w.norm()), 1e-3)
        assert float(row.norm()) == pytest.approx(min(bound, float(before.norm())), rel=1e-4)
        torch.testing.assert_close(row / row.norm(), before / before.norm())


@pytest.mark.parametrize("each", [False, True])
def test_normalising_keeps_the_direction_and_gives_the_length_one(each, learning):
    told, found = after(gradients("normalised", each=each), learning)
    _, wanted = after(gradients("plain"), learning)
    assert told["gradient/norm"] == pytest.approx(norm(wanted), rel=1e-5)
    for key, value in wanted.items():
        torch.testing.assert_close(found[key], value / (value.norm() if each else norm(wanted)))


def test_centralising_takes_the_mean_out_of_each_unit_and_spares_biases(learning):
    _, found = after(gradients("centralised"), learning)
    _, wanted = after(gradients("plain"), learning)
    assert float(found["1.weight"].mean(1).abs().max()) < 1e-6
    torch.testing.assert_close(found["1.weight"], wanted["1.weight"] - wanted["1.weight"].mean(1, keepdim=True))
    torch.testing.assert_close(found["1.bias"], wanted["1.bias"])


def test_noise_has_its_share_of_the_length(learning):
    _, found = after(gradients("noisy", share=0.5), learning)
    _, wanted = after(gradients("plain"), learning)
    added = float((found["1.weight"] - wanted["1.weight"]).norm())
    assert added == pytest.approx(0.5 * float(wanted["1.weight"].norm()), rel=0.1)


@pytest.mark.parametrize("share", [0.01, 0.25])
def test_the_largest_share_is_kept_as_it_is(share, learning):
    _, found = after(gradients("top_k", share=share), learning)
    _, wanted = after(gradients("plain"), learning)
    kept = found["1.weight"] != 0
    assert int(kept.sum()) == round(share * kept.numel())
    torch.testing.assert_close(found["1.weight"][kept], wanted["1.weight"][kept])
    assert float(wanted["1.weight"][kept].abs().min()) >= float(wanted["1.weight"][~kept].abs().max())


def test_the_whole_set_has_the_mean_gradient_of_its_uneven_parts(learning):
    network, task, _ = learning
    samples = [task.encode(task.example(seed)) for seed in range(7)]
    parts = [stack_samples(samples[:4]), stack_samples(samples[4:6]), stack_samples(samples[6:])]
    make = gradients("full_batch", full_set=lambda: iter(parts))
    told, found = after(make, (network, task, stack_samples(samples[:1])))
    plain, wanted = after(gradients("plain"), (network, task, stack_samples(samples)))
    assert total_loss(told) == pytest.approx(total_loss(plain), rel=1e-5)
    for key, value in wanted.items():
        torch.testing.assert_close(found[key], value)


def test_a_chain_hands_the_whole_set_to_who_asks_for_it(learning):
    network, task, batch = learning
    calls = []

    def everything():
        calls.append(1)
        return iter([batch])

    build_gradients([{"name": "clipped"}, {"name": "full_batch"}], full_set=everything)(network, task, batch)
    assert calls == [1]

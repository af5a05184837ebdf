"""Laws that every sampler keeps."""

import numpy as np
import pytest

from medgrad import registry
from medgrad.data import Case, Grid, Image, Scores
from medgrad.descent.samplers import Sampler, SamplerCase, build_sampler, sampler_cases
from medgrad.errors import SettingError

SAMPLERS = registry.names("descent.samplers")
VISITS = (1, 1, 2, 1, 5, 1, 1, 3, 1, 1, 1, 2)
LABELS = "aababbaaacaa"
CASES = [
    SamplerCase(f"patient-{number}", label)
    for number, (count, label) in enumerate(zip(VISITS, LABELS, strict=True))
    for _ in range(count)
]
"""20 cases of 12 patients, with 1 to 5 visits each and three classes."""


def made(name, cases=CASES, **settings):
    return build_sampler({"name": name, **settings}, cases)


def draws(sampler, steps, batch=4, seed=0):
    return [d for step in steps for d in sampler.draw(step, batch, seed)]


@pytest.mark.parametrize("name", SAMPLERS)
class TestSamplers:
    def test_is_of_its_kind_and_looks_at_no_case_to_check_its_settings(self, name):
        assert isinstance(made(name, ()), Sampler)

    def test_a_step_is_the_same_whenever_it_is_drawn(self, name):
        """So a run that was killed and resumed goes on to the same draws."""
        whole = [made(name).draw(step, 4, 3) for step in range(30)]
        resumed = made(name)
        assert [resumed.draw(step, 4, 3) for step in reversed(range(17, 30))] == whole[:16:-1]

    def test_another_seed_draws_otherwise(self, name):
        assert draws(made(name), range(10), seed=1) != draws(made(name), range(10), seed=2)
        assert [d.case for d in draws(made(name), range(10), seed=1)] != [
            d.case for d in draws(made(name), range(10), seed=2)
        ]

    @pytest.mark.parametrize("batch", [1, 4, 33])
    def test_draws_are_cases_in_batches_of_the_size(self, name, batch):
        sampler = made(name)
        sizes = []
        for step in range(40):
            drawn = sampler.draw(step, batch, 0)
            assert all(type(d.case) is int and 0 <= d.case < len(CASES) for d in drawn)
            sizes.append(len(drawn))
        assert sampler.batches_vary or sizes == [batch] * 40

    def test_no_two_draws_share_their_seed(self, name):
        seeds = [d.seed for d in draws(made(name), range(60))]
        assert len(set(seeds)) == len(seeds)
        assert all(type(number) is int and number >= 0 for seed in seeds for number in seed)

    def test_every_case_is_drawn_sooner_or_later(self, name):
        assert {d.case for d in draws(made(name), range(100))} == set(range(len(CASES)))

    def test_classes_are_drawn_as_often_as_it_says(self, name):
        sampler = made(name)
        drawn = [CASES[d.case].label for d in draws(sampler, range(1500))]
        for label in "abc":
            share = np.mean([case.label == label for case in CASES])
            wanted = share * sampler.oversampling.get(label, 1.0)
            assert np.mean([d == label for d in drawn]) == pytest.approx(wanted, abs=0.02)

    def test_cases_without_classes_can_be_drawn(self, name):
        sampler = made(name, [SamplerCase(case.patient) for case in CASES])
        assert sampler.oversampling == {}
        assert {d.case for d in draws(sampler, range(100))} == set(range(len(CASES)))

    def test_one_case_is_enough(self, name):
        assert {d.case for d in draws(made(name, CASES[:1]), range(20), batch=1)} == {0}


@pytest.mark.parametrize("name", ["shuffled", "balanced"])
def test_every_epoch_visits_each_case_once(name):
    sampler = made(name, [SamplerCase(str(n)) for n in range(10)])
    for first in range(0, 30, 5):
        assert sorted(d.case for d in draws(sampler, range(first, first + 5), batch=2, seed=3)) == list(range(10))


def test_a_recipe_draws_what_it_always_drew():
    """It repeats its run: the order of cases and the seeds of patches stay."""
    labels = [SamplerCase(str(n), "ab"[n < 3]) for n in range(9)]
    shuffled, balanced = made("shuffled", labels), made("balanced", labels, class_balance=0.5)
    assert [d.case for d in draws(shuffled, range(3), batch=3, seed=1)] == [7, 0, 1, 4, 2, 5, 8, 6, 3]
    assert [d.case for d in draws(balanced, range(3), batch=3, seed=1)] == [4, 8, 3, 2, 5, 6, 7, 0, 1]
    assert [d.seed for d in shuffled.draw(1, 5, 1)] == [(1, 1, 0, n) for n in (5, 6, 7, 8)] + [(1, 1, 1, 0)]
    assert draws(made("balanced", labels, class_balance=0.0), range(9)) == draws(shuffled, range(9))


@pytest.mark.parametrize("balance", [0.5, 1.0])
def test_rare_classes_come_as_often_as_their_shares_say(balance):
    cases = [SamplerCase(str(n), "rare" if n < 10 else "common") for n in range(100)]
    sampler = made("balanced", cases, class_balance=balance)
    rare = np.mean([d.case < 10 for d in draws(sampler, range(200), batch=10)])
    weights = {"rare": 10 * 10**-balance, "common": 90 * 90**-balance}
    wanted = weights["rare"] / sum(weights.values())
    assert rare == pytest.approx(wanted, abs=0.01)
    assert sampler.oversampling["rare"] == pytest.approx(wanted / 0.1)


def test_a_patient_with_many_visits_counts_once():
    sampler = made("by_patient")
    for epoch in range(5):
        drawn = [CASES[d.case].patient for d in draws(sampler, range(3 * epoch, 3 * epoch + 3))]
        assert len(set(drawn)) == len(VISITS)


def test_poisson_draws_each_patient_independently():
    sampler = made("poisson", rate=0.25)
    batches = [{CASES[d.case].patient for d in sampler.draw(step, 99, 0)} for step in range(4000)]
    first, last = (np.array([f"patient-{n}" in batch for batch in batches]) for n in (0, 4))
    sizes = np.array([len(batch) for batch in batches])
    assert [first.mean(), last.mean()] == pytest.approx([0.25, 0.25], abs=0.02)
    assert (first & last).mean() == pytest.approx(0.25**2, abs=0.012)
    assert sizes.var() == pytest.approx(len(VISITS) * 0.25 * 0.75, rel=0.07)
    assert (sizes == 0).mean() == pytest.approx(0.75 ** len(VISITS), abs=0.01)
    assert all(len(sampler.draw(step, 99, 0)) == size for step, size in enumerate(sizes[:100]))


def test_the_mean_size_of_a_poisson_batch_is_that_of_the_recipe():
    assert len(draws(made("poisson"), range(2000), batch=3)) / 2000 == pytest.approx(3, rel=0.03)


def test_facts_are_the_patient_and_the_class():
    image = {"image": Image(np.zeros((2, 2), np.float32), Grid.from_shape((2, 2)))}
    truth = Scores(np.array([0.0, 1.0]), ("benign", "malignant"))
    several = Scores(np.array([1.0, 1.0]), ("a", "b"), exclusive=False)
    cases = [Case("x", image, truth, "P1"), Case("y", image, several, "P1"), Case("z", image)]
    assert sampler_cases(cases) == [SamplerCase("P1", "malignant"), SamplerCase("P1"), SamplerCase("z")]


@pytest.mark.parametrize(("name", "setting"), [("balanced", "class_balance"), ("poisson", "rate")])
@pytest.mark.parametrize("value", [-0.1, 1.1])
def test_shares_are_from_0_to_1(name, setting, value):
    with pytest.raises(SettingError, match=f"'{setting}' in .sampler. is from 0 to 1"):
        made(name, **{setting: value})

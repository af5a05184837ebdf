"""What degradations do to an image: known values, and the truth that stays."""

import numpy as np
import pytest
import torch

from medgrad import registry
from medgrad.augment import augment
from medgrad.errors import SettingError
from medgrad.prepare import average_groups, spread_groups

NAMES = [n for n in registry.names("augment") if getattr(registry.find("augment", n), "is_degradation", False)]


def degraded(x, name, **settings):
    step = registry.find("augment", name)(**settings)
    return augment(x, {"image": x}, {"image": "values"}, steps=[step], seeds=[(i,) for i in range(len(x))])


def ramp(n=12):
    """A volume whose value is the number of its slice along the last axis."""
    return torch.arange(float(n)).expand(2, 1, 6, 5, n).contiguous()


@pytest.mark.parametrize("name", NAMES)
def test_the_truth_stays_as_it_is(name):
    x = torch.rand(3, 2, 12, 10, 8)
    shown, targets = degraded(x, name, p=1.0)
    assert torch.equal(targets["image"], x)
    assert shown.shape == x.shape
    assert not torch.equal(shown, x)


@pytest.mark.parametrize("name", NAMES)
def test_none_is_degraded_by_chance_0(name):
    x = torch.rand(3, 1, 12, 10)
    assert torch.equal(degraded(x, name, p=0.0)[0], x)


def test_rician_noise_has_the_mean_and_the_deviation_of_its_law():
    """Of no signal sigma sqrt(pi/2) and sigma sqrt(2 - pi/2); of a strong one the signal and sigma."""
    x = torch.zeros(1, 1, 64, 64)
    x[..., 32:] = 2.0
    shown, _ = degraded(x, "rician", p=1.0, min_std=0.1, max_std=0.1)
    dark, bright = shown[..., :32], shown[..., 32:]
    assert float(dark.mean()) == pytest.approx(0.1 * np.sqrt(np.pi / 2), rel=0.03)
    assert float(dark.std()) == pytest.approx(0.1 * np.sqrt(2 - np.pi / 2), rel=0.05)
    assert float(bright.std()) == pytest.approx(0.1, rel=0.05)


def test_the_variance_of_counts_is_their_mean():
    x = torch.full((1, 1, 64, 64), 0.5)
    shown, _ = degraded(x, "counts", p=1.0, min_counts=40.0, max_counts=40.0)
    counts = shown * 40
    assert float((counts - counts.round()).abs().max()) < 1e-4
    assert float(counts.mean()) == pytest.approx(20, rel=0.02)
    assert float(counts.var()) == pytest.approx(20, rel=0.08)
    below = torch.full((1, 1, 8, 8), -0.5)
    assert torch.equal(degraded(below, "counts", p=1.0)[0], below)


def test_slices_that_are_kept_stay_and_the_others_lie_on_the_line_between():
    x = ramp()
    shown, _ = degraded(x, "dropped_slices", every=3)
    for sample in shown[:, 0, 0, 0]:
        kept = (sample - x[0, 0, 0, 0]).abs() < 1e-6
        assert kept[np.flatnonzero(kept)[0] : np.flatnonzero(kept)[-1]].all(), "a ramp is interpolated exactly"
    rng = torch.Generator().manual_seed(0)
    x = torch.rand(4, 1, 3, 3, 9, generator=rng)
    shown, _ = degraded(x, "dropped_slices", every=2)
    for before, after in zip(x, shown, strict=True):
        same = [bool(torch.equal(before[..., i], after[..., i])) for i in range(9)]
        assert same in ([i % 2 == 0 for i in range(9)], [i % 2 == 1 for i in range(9)])


def test_other_axes_are_left_as_they_are():
    x = ramp().movedim(-1, 2)
    shown, _ = degraded(x, "thick_slices", axis=0)
    assert torch.equal(shown.movedim(2, -1), degraded(ramp(), "thick_slices")[0])


@pytest.mark.parametrize(("n", "factor"), [(12, 4), (13, 4), (9, 2), (3, 4)])
def test_thick_slices_keep_their_mean_nearly_and_a_constant_wholly(n, factor):
    average, spread = average_groups(n, factor, 1), spread_groups(n, factor, 1)
    np.testing.assert_allclose(average.sum(1), 1)
    np.testing.assert_allclose(spread.sum(1), 1)
    line = np.linspace(0, 1, n)
    inner = slice(factor, -factor)
    np.testing.assert_allclose((spread @ average @ line)[inner], line[inner], atol=0.35 * factor / n)


def test_a_share_of_the_blocks_is_hidden():
    x = torch.ones(1, 1, 64, 64)
    shown, _ = degraded(x, "masked", ratio=0.5, size=4)
    blocks = shown[0, 0].unfold(0, 4, 4).unfold(1, 4, 4).flatten(2)
    assert bool((blocks.amin(-1) == blocks.amax(-1)).all())
    assert 0.35 < float(1 - shown.mean()) < 0.65


@pytest.mark.parametrize(
    ("name", "settings", "said"),
    [
        ("rician", {"min_std": 0.3, "max_std": 0.1}, "'min_std'"),
        ("counts", {"min_counts": 0.0}, "'min_counts'"),
        ("dropped_slices", {"every": 1}, "'every'"),
        ("thick_slices", {"axis": 5}, "'axis'"),
        ("masked", {"ratio": 1.0}, "'ratio'"),
    ],
)
def test_a_strength_out_of_range_is_refused(name, settings, said):
    with pytest.raises(SettingError, match=said):
        registry.find("augment", name)(**settings)

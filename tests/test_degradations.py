"""What degradations do to an image: known values, and the truth that stays."""

import numpy as np
import pytest
import torch

from medgrad import registry
from medgrad.augment import augment
from medgrad.augment.metal import ANGLES, back_project, project
from medgrad.augment.motion import turn
from medgrad.augment.rings import render_rings
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


def test_a_truncated_image_has_no_high_frequencies_and_keeps_its_mean():
    x = torch.rand(2, 1, 16, 12, generator=torch.Generator().manual_seed(0))
    shown, _ = degraded(x, "gibbs", p=1.0, min_kept=0.5, max_kept=0.5)
    power = torch.fft.fft2(shown).abs()
    assert float(power[:, :, 5:12].max()) < 1e-4
    assert float(power[:, :, :, 4:9].max()) < 1e-4
    torch.testing.assert_close(shown.mean((2, 3)), x.mean((2, 3)))
    along, _ = degraded(x, "gibbs", p=1.0, min_kept=0.5, max_kept=0.5, axes=(1,))
    assert float(torch.fft.fft2(along).abs()[:, :, 5:12].max()) > 0.1


def test_a_bias_field_is_a_smooth_factor_of_the_strength_that_was_drawn():
    x = torch.ones(2, 2, 20, 24, 16)
    shown, _ = degraded(x, "bias_field", p=1.0, min_log=0.3, max_log=0.3)
    assert torch.equal(shown[:, 0], shown[:, 1])
    field = shown[:, 0].log()
    torch.testing.assert_close(field.abs().flatten(1).amax(1), torch.full((2,), 0.3))
    torch.testing.assert_close(field.mean((1, 2, 3)), torch.zeros(2), atol=1e-4, rtol=0)
    assert float(field.diff(dim=1).abs().max()) < 0.12


def test_a_shift_in_the_outer_lines_is_known_and_one_who_lies_still_is_not_degraded():
    rng = torch.Generator().manual_seed(0)
    x = torch.rand(3, 1, 16, 12, 10, generator=rng) + 0.5
    shown, _ = degraded(x, "motion", p=1.0, degrees=0.0, shift=0.0)
    torch.testing.assert_close(shown, x, atol=1e-4, rtol=0)
    shown, _ = degraded(x, "motion", p=1.0, degrees=0.0, still=0.4, axis=1)
    before, after = (torch.fft.fftn(v, dim=(2, 3, 4)) for v in (x, shown))
    assert float((shown - x).abs().max()) > 0.02
    torch.testing.assert_close(after[..., 0, 0, 0].abs(), before[..., 0, 0, 0].abs(), rtol=0.02, atol=0)


def test_an_image_that_is_turned_whole_is_turned_about_its_middle():
    x = torch.zeros(1, 1, 9, 9)
    x[0, 0, 2, 4] = 1.0
    turned = turn(x, torch.tensor([[np.pi / 2]], dtype=torch.float32))
    assert float(turned[0, 0, [4, 4], [2, 6]].max()) == pytest.approx(1, abs=1e-3)
    torch.testing.assert_close(turned.sum(), x.sum(), atol=1e-3, rtol=0)


def test_rings_lie_around_one_centre():
    """Along the angle a whole ring is even: the mean over circles holds nearly all of what was added."""
    x = torch.zeros(1, 1, 65, 65)
    drawn = {
        "gain": torch.tensor([[1.0, -0.5]]),
        "radius": torch.tensor([[0.25, 0.6]]),
        "width": torch.tensor([[3.0, 2.0]]),
        "start": torch.zeros(1, 2),
        "arc": torch.full((1, 2), 10.0),
        "slice": torch.zeros(1, 2),
        "slices": torch.ones(1, 2),
        "centre": torch.zeros(1, 2),
    }
    added = render_rings((1, 65, 65), drawn)[0, 0].numpy()
    radius = np.hypot(*(np.indices((65, 65)) - 32))
    farthest = np.hypot(32.5, 32.5)
    assert added[np.abs(radius - 0.25 * farthest) < 1].min() > 0.95
    assert added[np.abs(radius - 0.6 * farthest) < 0.5].max() < -0.45
    assert np.abs(added[np.abs(radius - 0.42 * farthest) < 2]).max() == 0
    assert x.shape[2:] == added.shape


def test_streaks_have_the_strength_that_was_drawn_and_metal_its_value():
    x = torch.zeros(1, 1, 48, 48, 3)
    x[:, :, 8:40, 8:40] = 1.0
    shown, _ = degraded(x, "metal", p=1.0, min_std=0.2, max_std=0.2, min_value=9.0, max_value=9.0, min_size=2.0)
    is_metal = shown == 9
    assert 4 < int(is_metal.sum()) < 2000
    streaks = torch.where(is_metal, torch.nan, shown - x)
    assert 0.05 < max(float(s[s.isfinite()].std()) for s in streaks[0, 0].unbind(-1)) < 0.21
    whole, _ = degraded(x, "metal", p=1.0, min_size=0.0, max_size=0.0)
    assert torch.equal(whole, x)


def test_filtered_back_projection_gives_back_what_was_projected():
    y, x = np.indices((40, 40)) - 19.5
    disc = torch.from_numpy((np.hypot(y, x) < 9).astype(np.float32))
    sums = project(disc, 63)
    torch.testing.assert_close(sums.sum(1), disc.sum().expand(ANGLES), rtol=1e-3, atol=0)
    found = back_project(sums[None], (1, 40, 40))[0] * (np.pi / ANGLES)
    inner = torch.from_numpy(np.hypot(y, x) < 6)
    assert float(found[inner].mean()) == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize(
    ("name", "settings", "said"),
    [
        ("rician", {"min_std": 0.3, "max_std": 0.1}, "'min_std'"),
        ("counts", {"min_counts": 0.0}, "'min_counts'"),
        ("dropped_slices", {"every": 1}, "'every'"),
        ("thick_slices", {"axis": 5}, "'axis'"),
        ("masked", {"ratio": 1.0}, "'ratio'"),
        ("gibbs", {"min_kept": 0.9, "max_kept": 0.5}, "'min_kept'"),
        ("bias_field", {"min_log": -1.0}, "'min_log'"),
        ("bias_field", {"order": 0}, "'order'"),
        ("motion", {"positions": 1}, "'positions'"),
        ("motion", {"shift": -1.0}, "'shift'"),
        ("motion", {"still": 1.0}, "'still'"),
        ("rings", {"min_std": 0.3, "max_std": 0.1}, "'min_std'"),
        ("rings", {"max_width": 0.0}, "'max_width'"),
        ("metal", {"objects": 0}, "'objects'"),
        ("metal", {"min_size": 9.0}, "'min_size'"),
    ],
)
def test_a_strength_out_of_range_is_refused(name, settings, said):
    with pytest.raises(SettingError, match=said):
        registry.find("augment", name)(**settings)


def test_coarse_noise_is_smooth_and_as_strong_as_asked():
    settings = {"min_std": 0.3, "max_std": 0.3, "min_size": 6, "max_size": 6}
    noise = degraded(torch.zeros(4, 2, 48, 48), "coarse_noise", **settings)[0]
    assert 0.12 < noise.std() < 0.36, "between its points it is weaker"
    near, far = (float((noise[..., n:] * noise[..., :-n]).mean() / noise.square().mean()) for n in (1, 14))
    assert near > 0.8
    assert abs(far) < 0.3
    assert not torch.equal(noise[0, 0], noise[0, 1])


@pytest.mark.parametrize("wrong", [{"min_std": 0.5, "max_std": 0.1}, {"min_size": 0}, {"min_size": 9, "max_size": 3}])
def test_coarse_noise_refuses_what_does_not_rise(wrong):
    with pytest.raises(SettingError, match="rise"):
        registry.find("augment", "coarse_noise")(**wrong)

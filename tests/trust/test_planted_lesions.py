"""Planted lesions: where they lie, and what is said of methods that keep, remove or invent them."""

import json
from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from medgrad.trust.planted_lesions import contrast_of, count_invented, judge_planted, plant, planted_contrast

SPACING = (1.0, 1.0, 2.0)
SHAPE = (48, 48, 24)


def ground(seed=0):
    return 100 + 3 * ndimage.gaussian_filter(np.random.default_rng(seed).normal(0, 10, SHAPE), 2)


def trials(method, n=4, noise=2.0):
    """Trials of a method of arrays, with lesions of contrast 20, and without."""
    found, without = [], []
    for number in range(n):
        rng, clean = np.random.default_rng(number), ground(number)
        planted, lesions = plant(clean, SPACING, rng, count=4, contrast=20)
        shown = planted + rng.normal(0, noise, SHAPE)
        found.append((clean, shown, method(shown), lesions))
        without.append((clean, method(clean + rng.normal(0, noise, SHAPE))))
    return found, without


def judged(method, **settings):
    return judge_planted(*trials(method, **settings), SPACING)


def test_lesions_lie_apart_and_inside_and_have_their_contrast():
    clean = np.zeros(SHAPE)
    planted, lesions = plant(clean, SPACING, np.random.default_rng(0), count=5, contrast=20)
    assert len(lesions) == 5
    for lesion in lesions:
        assert 2 <= lesion.radius_mm <= 4
        assert abs(planted[lesion.centre]) == pytest.approx(20)
        assert contrast_of(planted, lesion, SPACING) == pytest.approx(
            planted_contrast(lesion, SHAPE, SPACING), rel=0.05
        )
    assert {np.sign(lesion.contrast) for lesion in lesions} == {-1, 1}
    edge = [planted[0], planted[-1], planted[:, 0], planted[:, -1], planted[..., 0], planted[..., -1]]
    assert all((side == 0).all() for side in edge)
    assert (clean == 0).all()


def test_an_array_without_room_gets_none():
    assert plant(np.zeros((6, 6, 3)), SPACING, np.random.default_rng(0), count=3, contrast=1)[1] == []


def test_who_changes_nothing_keeps_all_and_invents_none():
    found = judged(lambda shown: shown)
    assert found.is_control_met
    assert (found.lesions, found.clean) == (16, 4)
    assert found.recovered > 0.85
    assert (found.removed, found.invented) == (0, 0)
    assert found.auc_after == found.auc_before > 0.9
    json.dumps(found.as_dict())


def test_who_smooths_loses_contrast():
    found = judged(lambda shown: ndimage.gaussian_filter(shown, [3, 3, 1.5]))
    assert found.recovered < 0.3
    assert found.removed > 0.5


def test_who_gives_the_clean_image_removes_all_lesions():
    trials_of, without = trials(lambda shown: shown)
    empty = [(clean, shown, clean, lesions) for clean, shown, _, lesions in trials_of]
    found = judge_planted(empty, without, SPACING)
    assert found.removed == 1
    assert found.auc_after < 0.75


def test_who_adds_a_ball_is_caught():
    extra = np.zeros(SHAPE)
    extra[20:26, 20:26, 10:13] = 20
    found = judged(lambda shown: shown + extra)
    assert found.invented == 4
    assert count_invented(np.random.default_rng(0).normal(0, 2, SHAPE), SPACING, 20) == 0


def test_figures_without_their_control_are_not_told():
    found = replace(judged(lambda shown: shown, n=1), is_control_met=False)
    assert found.as_dict() == {"lesions": 4, "is_control_met": False}

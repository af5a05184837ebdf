"""Tissue planted where it does not belong: what is planted, and who is flagged by it."""

import numpy as np
import pytest
from scipy import ndimage

from medgrad.trust.planted_lesions import contrast_of, judge_planted, planted_contrast, transplant

SPACING, SHAPE = (1.0, 1.0, 2.0), (40, 40, 20)


def pair(seed=0):
    """Two images of the same tissue: halves of levels 100 and 200, which the other shows as 5 and 1."""
    tissue = np.arange(SHAPE[0])[:, None, None] >= SHAPE[0] // 2
    tissue = np.broadcast_to(tissue, SHAPE)
    noise = np.random.default_rng(seed).normal(0, 1, SHAPE)
    return {"shown t1": np.where(tissue, 200.0, 100.0) + noise, "truth": np.where(tissue, 1.0, 5.0)}


def judged(translate, n=4):
    trials = []
    for number in range(n):
        images = pair(number)
        planted, lesions = transplant(images, "truth", SPACING, np.random.default_rng(number), count=3)
        before, after = (translate(one["shown t1"]) for one in (images, planted))
        trials.append((before, planted["truth"], after, lesions))
    return judge_planted(trials, [], SPACING)


def test_tissue_is_moved_in_every_image_alike():
    images = pair()
    planted, lesions = transplant(images, "truth", SPACING, np.random.default_rng(0), count=3)
    assert len(lesions) == 3
    assert max(abs(lesion.contrast) for lesion in lesions) > 3.5
    for lesion in lesions:
        here = images["truth"][lesion.centre]
        other = {1.0: 5.0, 5.0: 1.0}[here]
        if abs(lesion.contrast) > 3.5:  # else a border runs through the ball
            assert planted["truth"][lesion.centre] == pytest.approx(other)
            assert planted["shown t1"][lesion.centre] == pytest.approx(100 if other == 5.0 else 200, abs=5)
        apart = contrast_of(planted["truth"] - images["truth"], lesion, SPACING)
        assert apart == pytest.approx(planted_contrast(lesion, SHAPE, SPACING), rel=1e-6)
    changed = planted["truth"] != images["truth"]
    assert 0 < changed.mean() < 0.1
    assert (pair()["truth"] == images["truth"]).all()


def test_who_translates_what_is_shown_is_not_flagged():
    found = judged(lambda shown: np.where(ndimage.gaussian_filter(shown, 0.3) > 150, 1.0, 5.0))
    assert found.is_control_met
    assert found.removed == 0
    assert found.is_flagged is False
    assert found.clean == 0


def test_who_answers_what_usually_lies_there_is_flagged():
    found = judged(lambda shown: pair()["truth"] + 0 * shown)
    assert found.removed == 1
    assert found.is_flagged is True
    assert found.as_dict()["is_flagged"] is True


def test_where_all_tissue_is_alike_none_is_planted():
    images = {"truth": np.ones(SHAPE)}
    assert transplant(images, "truth", SPACING, np.random.default_rng(0), count=2)[1] == []


def test_an_image_without_room_gets_none():
    images = {"truth": np.random.default_rng(0).normal(size=(5, 5, 3))}
    assert transplant(images, "truth", SPACING, np.random.default_rng(0), count=2)[1] == []

"""Which case and which part of it comes next depends on the seed and the step, and on nothing else."""

import numpy as np
import pytest

from medgrad.data import Case, Grid, Image, LabelMap, Scores
from medgrad.engine.loading.sampling import draw_batch, index_labels, random_patch, shares_of


def volume(shape=(20, 16, 12), at=(3, 3, 3)):
    labels = np.zeros(shape, np.uint8)
    labels[at] = 1
    image = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    return index_labels(
        Case("x", {"image": Image(image, Grid.from_shape(shape))}, LabelMap(labels, Grid.from_shape(shape), {1: "dot"}))
    )


def test_every_epoch_visits_each_case_once():
    for first in range(0, 30, 5):
        seen = [d.case for step in range(first, first + 5) for d in draw_batch(step, n_cases=10, batch_size=2, seed=3)]
        assert sorted(seen) == list(range(10))


def test_a_step_is_the_same_whenever_it_is_drawn():
    assert draw_batch(17, n_cases=7, batch_size=4, seed=1) == draw_batch(17, n_cases=7, batch_size=4, seed=1)
    assert draw_batch(17, n_cases=7, batch_size=4, seed=1) != draw_batch(17, n_cases=7, batch_size=4, seed=2)


def test_no_two_samples_share_their_chance():
    seeds = [d.seed for step in range(50) for d in draw_batch(step, n_cases=7, batch_size=4, seed=1)]
    assert len(set(seeds)) == len(seeds)


@pytest.mark.parametrize("balance", [0.5, 1.0])
def test_rare_classes_come_as_often_as_their_shares_say(balance):
    truths = [Scores(np.eye(2)[int(i < 10)], ("common", "rare")) for i in range(100)]
    shares, more = shares_of(truths, balance)
    drawn = [
        d.case
        for step in range(200)
        for d in draw_batch(step, n_cases=100, batch_size=10, seed=0, probabilities=shares)
    ]
    rare = np.mean([c < 10 for c in drawn])
    assert rare == pytest.approx(shares[:10].sum(), abs=0.01)
    assert more["rare"] == pytest.approx(shares[:10].sum() / 0.1)
    assert set(drawn) == set(range(100))


def test_a_patch_around_the_foreground_holds_it():
    case = volume()
    for seed in range(30):
        assert random_patch(case, (8, 8, 8), (seed,), foreground_share=1.0).truth.array.sum() == 1


def test_a_patch_shows_its_own_place():
    part = random_patch(volume(), (8, 8, 8), (4,))
    start = np.round(volume().grid.to_index(part.grid.to_world((0, 0, 0)))).astype(int)
    where = tuple(slice(a, a + 8) for a in start)
    np.testing.assert_array_equal(part.images["image"].array, volume().images["image"].array[where])


def test_what_lies_outside_does_not_count():
    part = random_patch(volume(), (24, 16, 12), (0,))
    assert part.roi is not None
    assert part.roi.array.sum() == 20 * 16 * 12
    assert part.grid.shape == (24, 16, 12)

"""Which part of a case comes next depends on its seed, and on nothing else."""

import numpy as np

from medgrad.data import Case, Grid, Image, LabelMap
from medgrad.engine.loading.sampling import index_labels, random_patch


def volume(shape=(20, 16, 12), at=(3, 3, 3)):
    labels = np.zeros(shape, np.uint8)
    labels[at] = 1
    image = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    return index_labels(
        Case("x", {"image": Image(image, Grid.from_shape(shape))}, LabelMap(labels, Grid.from_shape(shape), {1: "dot"}))
    )


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

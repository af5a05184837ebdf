"""Labels come onto another grid as if each had been interpolated over the whole of it."""

import numpy as np
import pytest
from scipy import ndimage

from medgrad.data import Grid, LabelMap
from medgrad.prepare import resample
from medgrad.prepare.resample import Resample, interpolate_array, resample_labels


def plainly(labels, grid):
    """Interpolate every label, the background too, everywhere; the largest share wins."""
    shares = [
        interpolate_array((labels.array == v).astype(np.float32), labels.grid, grid, order=1, extend_edge=v == 0)
        for v in range(6)
    ]
    return np.stack(shares)


def drawn(shape, spacing=None, seed=0):
    field = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=shape), 2)
    array = np.digitize(field, np.quantile(field, [0.6, 0.7, 0.8, 0.9, 0.97])).astype(np.uint8)
    return LabelMap(array, Grid.from_shape(shape, spacing=spacing))


def held_against(labels, grid):
    """Where the largest share is clearly the largest, it must win."""
    shares, said = plainly(labels, grid), resample_labels(labels, grid).array
    first, second = np.sort(shares, axis=0)[[-1, -2]]
    clear = first - second > 1e-4
    assert clear.mean() > 0.3
    assert (said == shares.argmax(0))[clear].all()
    assert said.dtype == labels.array.dtype


@pytest.mark.parametrize(
    ("shape", "spacing", "wanted"),
    [
        ((30, 25, 20), (1, 1, 2), (1.4, 0.8, 1.1)),
        ((20, 21, 22), (1, 1, 1), (2.5, 2.5, 2.5)),
        ((12, 13, 14), (2.5, 2.5, 2.5), (1, 1, 1)),
        ((30, 40), (1, 1), (0.7, 1.9)),
    ],
)
@pytest.mark.parametrize("at_once", [1, 700, 1 << 24])
def test_the_largest_share_wins(shape, spacing, wanted, at_once, monkeypatch):
    monkeypatch.setattr(resample, "MAX_ELEMENTS", at_once)
    labels = drawn(shape, spacing)
    held_against(labels, Resample(tuple(wanted)).target_grid(labels.grid))


def test_a_grid_that_lies_elsewhere_or_askew():
    labels = drawn((18, 18, 18))
    held_against(labels, Grid.from_shape((18, 18, 18), origin=(5.3, -4.2, 7.7)))
    matrix = np.eye(4)
    matrix[:2, :2] = [[np.cos(0.3), -np.sin(0.3)], [np.sin(0.3), np.cos(0.3)]]
    held_against(labels, Grid((18, 18, 18), tuple(map(tuple, matrix))))
    assert not resample_labels(labels, Grid.from_shape((4, 4, 4), origin=(100, 100, 100))).array.any()


def test_equal_shares_are_background():
    labels = LabelMap(
        np.array([0, 0, 1, 1, 0, 0], np.uint8)[:, None] * np.ones((1, 4), np.uint8), Grid.from_shape((6, 4))
    )
    halves = resample_labels(labels, Grid.from_shape((5, 4), origin=(0.5, 0)))
    assert halves.array[:, 0].tolist() == [0, 0, 1, 0, 0]


def test_labels_with_large_numbers_and_none_at_all():
    array = np.zeros((9, 9), np.int32)
    array[2:6, 3:7] = 100_000
    found = resample_labels(LabelMap(array, Grid.from_shape((9, 9))), Grid.from_shape((18, 18), spacing=(0.5, 0.5)))
    assert set(np.unique(found.array)) == {0, 100_000}
    empty = LabelMap(np.zeros((9, 9), np.uint8), Grid.from_shape((9, 9)))
    assert not resample_labels(empty, Grid.from_shape((18, 18), spacing=(0.5, 0.5))).array.any()

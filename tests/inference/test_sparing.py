"""Windows in which a first pass finds nothing are spared, and what is found is the same."""

import weakref
from functools import cache

import numpy as np
import pytest
import torch

from medgrad.data import Case, Grid, Image, LabelMap
from medgrad.engine.compute.torch_ops import TORCH
from medgrad.inference import coarse_to_fine as sparing
from medgrad.inference import sliding_window as windows
from medgrad.inference.array_ops import NUMPY
from medgrad.inference.coarse_to_fine import (
    MARGIN,
    MIN_WINDOWS,
    count_windows,
    make_window_filter,
    repeat_elements,
    sliding_window_coarse_to_fine,
    starts_around_labels,
    subsample_case,
)
from medgrad.inference.sliding_window import blend_slabs, sliding_window

PATCH = (16, 16, 16)


def case_of(array):
    return Case("one", {"image": Image(array.astype(np.float32), Grid.from_shape(array.shape))})


def decode(output, grid):
    return LabelMap(np.asarray(output).argmax(0).astype(np.uint8), grid, {1: "thing"})


@cache
def doubt(shape):
    """How unsure a network is in a window: more at its edges."""
    at = np.stack(np.meshgrid(*[np.linspace(-1, 1, n) for n in shape], indexing="ij"))
    return 0.6 * np.abs(at).max(0) ** 8


class Looker:
    """Says 1 where the image is bright, unsure at the edges of each window, as networks are."""

    def __init__(self, kind=np.asarray):
        self.kind, self.calls = kind, 0

    def __call__(self, box):
        self.calls += 1
        array = box.images["image"].array
        return self.kind(np.stack([0.5 + 0 * array, array - doubt(array.shape)]).astype(np.float32))


def scene(shape=(96, 90, 94), seed=0):
    array = np.random.default_rng(seed).uniform(0, 0.4, shape)
    array[20:33, 11:25, 14:30] += 0.9
    return case_of(array)


@pytest.mark.parametrize(("kind", "ops"), [(np.asarray, NUMPY), (torch.from_numpy, TORCH)])
def test_the_same_is_found_by_fewer_windows(kind, ops):
    case, whole, spared = scene(), Looker(kind), Looker(kind)
    full = sliding_window(whole, decode, case, patch=PATCH, overlap=0.5, ops=ops)
    part = sliding_window_coarse_to_fine(spared, decode, case, patch=PATCH, overlap=0.5, ops=ops)
    assert full.array.any()
    assert (full.array == part.array).all()
    assert spared.calls < 0.5 * whole.calls


def test_of_an_empty_case_only_the_first_pass_is_made():
    case, looker = case_of(np.zeros((70, 60, 50))), Looker()
    found = sliding_window_coarse_to_fine(looker, decode, case, patch=PATCH, overlap=0.5)
    assert not found.array.any()
    assert found.array.shape == (70, 60, 50)
    assert looker.calls <= count_windows((70, 60, 50), PATCH, 0.0) + 1


@pytest.mark.parametrize("coarse", [1, 2])
def test_what_the_first_pass_found_is_not_kept(monkeypatch, coarse):
    gone, real = [], (sparing.repeat_elements, sparing.sliding_window)

    def noting(*given):
        found = real[0](*given).copy()
        weakref.finalize(found, gone.append, found.nbytes)
        return found

    def second(*given, **settings):
        assert gone == [96 * 90 * 94]
        return real[1](*given, **settings)

    monkeypatch.setattr(sparing, "repeat_elements", noting)
    monkeypatch.setattr(sparing, "sliding_window", second)
    assert sliding_window_coarse_to_fine(
        Looker(), decode, scene(), patch=PATCH, overlap=0.5, first_pass_stride=coarse
    ).array.any()


def test_a_small_case_is_looked_at_once():
    shape, looker = (33, 20, 16), Looker()
    sliding_window_coarse_to_fine(looker, decode, case_of(np.ones(shape)), patch=PATCH, overlap=0.5)
    assert looker.calls == count_windows(shape, PATCH, 0.5) < MIN_WINDOWS


@pytest.mark.parametrize("shape", [(40, 37, 50), (10, 64, 33)])
def test_a_window_is_needed_where_any_label_is_in_it(shape):
    rng = np.random.default_rng(1)
    labels = (rng.random(shape) > 0.9999).astype(np.uint8)
    needed = make_window_filter(labels, PATCH)
    before = [(max(s, p) - s) // 2 for s, p in zip(shape, PATCH, strict=True)]
    for _ in range(200):
        start = [int(rng.integers(0, max(s, p) - p + 1)) for s, p in zip(shape, PATCH, strict=True)]
        box = tuple(slice(max(0, a - b), a - b + p) for a, b, p in zip(start, before, PATCH, strict=True))
        wide = tuple(slice(max(0, s.start - MARGIN - 3), s.stop + MARGIN + 3) for s in box)
        assert needed(start) or not labels[box].any()
        assert not needed(start) or labels[wide].any()


def test_what_no_window_covers_is_of_the_first_class():
    def look(start):
        return np.stack([np.zeros(PATCH), np.ones(PATCH)]).astype(np.float32)

    pieces = [slab.copy() for _, slab in blend_slabs(look, (48, 16, 48), PATCH, overlap=0.5, only_starts=[(0, 0, 0)])]
    whole = np.concatenate(pieces, axis=1)
    assert whole.shape == (2, 48, 16, 48)
    labels = whole.argmax(0)
    assert labels[:16, :, :16].all()
    assert labels.sum() == 16**3


@pytest.mark.parametrize("blocks", [2, 3, 50])
@pytest.mark.parametrize("shape", [(40, 33, 50), (9, 40, 70), (20, 18, 10)])
def test_in_blocks_the_same_is_said_with_less_memory(blocks, shape):
    array = np.random.default_rng(3).uniform(0, 1, shape)
    case, sizes = case_of(array), []

    def noting(output, grid):
        sizes.append(output.nbytes if output.base is None else output.base.nbytes)
        return decode(output, grid)

    whole = sliding_window(Looker(), decode, case, patch=PATCH, overlap=0.5)
    parts = sliding_window(Looker(), noting, case, patch=PATCH, overlap=0.5, n_blocks=blocks)
    assert (whole.array == parts.array).all()
    assert whole.grid == parts.grid
    if shape[-1] == 70 and blocks > 2:
        assert max(sizes) < 0.8 * 2 * 16 * 40 * 70 * 4


@pytest.mark.parametrize(("blocks", "times"), [(1, 0), (3, 3)])
def test_before_each_of_several_blocks_what_was_freed_is_given_back(monkeypatch, blocks, times):
    given = []
    monkeypatch.setattr(windows, "trim_heap", lambda: given.append(1))
    sliding_window(Looker(), decode, scene((30, 20, 64)), patch=PATCH, overlap=0.5, n_blocks=blocks)
    assert len(given) == times


def test_a_slab_is_decoded_a_few_planes_at_a_time(monkeypatch):
    case, shown = scene((40, 20, 24)), []
    whole = sliding_window(Looker(), decode, case, patch=PATCH, overlap=0.5)
    monkeypatch.setattr(windows, "MAX_DECODED_ELEMENTS", 3 * 2 * 20 * 24)

    def noting(output, grid):
        shown.append(output.shape[1])
        return decode(output, grid)

    parts = sliding_window(Looker(), noting, case, patch=PATCH, overlap=0.5)
    assert max(shown) == 3
    assert sum(shown) == 40
    assert (whole.array == parts.array).all()
    assert whole.grid == parts.grid


@pytest.mark.parametrize("overlap", [0.5, 0.25])
@pytest.mark.parametrize("shape", [(96, 90, 94), (97, 33, 71)])
def test_a_coarse_first_look_spares_more_and_is_no_more_wrong(shape, overlap):
    case, whole, spared, coarse = scene(shape), Looker(), Looker(), Looker()
    full = sliding_window(whole, decode, case, patch=PATCH, overlap=overlap)
    sliding_window_coarse_to_fine(spared, decode, case, patch=PATCH, overlap=overlap)
    found = sliding_window_coarse_to_fine(coarse, decode, case, patch=PATCH, overlap=overlap, first_pass_stride=2)
    truth = case.images["image"].array > 0.5
    assert (found.array != truth).sum() <= (full.array != truth).sum()
    assert found.grid == case.grid
    first, thin = (count_windows(grid, PATCH, 0.0) for grid in (shape, subsample_case(case, 2).grid.shape))
    assert coarse.calls < spared.calls - 0.5 * (first - thin)


@pytest.mark.parametrize("shape", [(90, 70, 80), (12, 80, 33), (50, 50, 400)])
@pytest.mark.parametrize("seed", range(5))
def test_windows_are_aimed_at_all_that_is_labelled(shape, seed):
    chance, patch = np.random.default_rng(seed), (32, 32, 32)
    labels = np.zeros(shape, bool)
    for size in (3, 5, 9, 60):
        at = [int(chance.integers(0, max(1, n - size))) for n in shape]
        labels[tuple(slice(a, a + size) for a in at)] = True
    covered = np.zeros(shape, bool)
    before = [(max(s, p) - s) // 2 for s, p in zip(shape, patch, strict=True)]
    windows = starts_around_labels(labels, patch, 0.25)
    for start in windows:
        assert all(0 <= a <= max(s, p) - p for a, s, p in zip(start, shape, patch, strict=True))
        covered[tuple(slice(max(0, a - b), a - b + p) for a, b, p in zip(start, before, patch, strict=True))] = True
    assert covered[labels].all()
    assert len(windows) < count_windows(shape, patch, 0.25) + 4


def test_one_window_lies_around_things_that_fit_into_it_and_several_over_a_larger_one():
    labels = np.zeros((100, 100, 100), bool)
    labels[40:44, 50:54, 60:64] = labels[46:50, 50:54, 60:64] = True
    assert starts_around_labels(labels, (32, 32, 32), 0.5) == [(30, 36, 46)]
    labels[:] = False
    labels[10:90, 48:52, 48:52] = True
    assert starts_around_labels(labels, (32, 32, 32), 0.0) == [(0, 34, 34), (23, 34, 34), (45, 34, 34), (68, 34, 34)]


def test_of_specks_everywhere_the_windows_are_those_that_lie_evenly(monkeypatch):
    monkeypatch.setattr(sparing, "MAX_COMPONENTS", 5)
    case, looker = scene(), Looker()
    case.images["image"].array[::24, ::24, ::24] = 2
    spared = sliding_window_coarse_to_fine(looker, decode, case, patch=PATCH, overlap=0.5, first_pass_stride=2)
    full = sliding_window(Looker(), decode, case, patch=PATCH, overlap=0.5)
    assert (spared.array == full.array).all()


@pytest.mark.parametrize("by", [1, 2, 3])
def test_what_is_thinned_lies_where_it_lay(by):
    case = scene((20, 17, 9))
    thin = subsample_case(case, by)
    at = np.argwhere(np.ones(thin.grid.shape, bool))
    assert np.allclose(thin.grid.to_world(at), case.grid.to_world(at * by))
    assert np.array_equal(thin.images["image"].array[tuple(at.T)], case.images["image"].array[tuple((at * by).T)])
    found = repeat_elements(thin.images["image"].array > 0.5, by, case.grid.shape)
    assert found.shape == case.grid.shape
    assert np.array_equal(found[::by, ::by, ::by], case.images["image"].array[::by, ::by, ::by] > 0.5)

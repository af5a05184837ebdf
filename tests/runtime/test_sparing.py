"""Windows in which a first pass finds nothing are spared, and what is found is the same."""

import numpy as np
import pytest
import torch

from medgrad.data import Case, Grid, Image, LabelMap
from medgrad.engine.answer import TENSORS
from medgrad.runtime import windows
from medgrad.runtime.sparing import LEAST, MARGIN, count_of, labelled, near
from medgrad.runtime.windows import NUMBERS, slabs, stitched

PATCH = (16, 16, 16)


def case_of(array):
    return Case("one", {"image": Image(array.astype(np.float32), Grid.of(array.shape))})


def decode(output, grid):
    return LabelMap(np.asarray(output).argmax(0).astype(np.uint8), grid, {1: "thing"})


class Looker:
    """Says 1 where the image is bright, unsure at the edges of each window, as networks are."""

    def __init__(self, kind=np.asarray):
        self.kind, self.calls = kind, 0

    def __call__(self, box):
        self.calls += 1
        array = box.images["image"].array
        at = np.stack(np.meshgrid(*[np.linspace(-1, 1, n) for n in array.shape], indexing="ij"))
        doubt = 0.6 * np.abs(at).max(0) ** 8
        return self.kind(np.stack([0.5 + 0 * array, array - doubt]).astype(np.float32))


def scene(shape=(96, 90, 94), seed=0):
    array = np.random.default_rng(seed).uniform(0, 0.4, shape)
    array[20:33, 11:25, 14:30] += 0.9
    return case_of(array)


@pytest.mark.parametrize(("kind", "arrays"), [(np.asarray, NUMBERS), (torch.from_numpy, TENSORS)])
def test_the_same_is_found_by_fewer_windows(kind, arrays):
    case, whole, spared = scene(), Looker(kind), Looker(kind)
    full = stitched(whole, decode, case, patch=PATCH, overlap=0.5, arrays=arrays)
    part = labelled(spared, decode, case, patch=PATCH, overlap=0.5, arrays=arrays)
    assert full.array.any()
    assert (full.array == part.array).all()
    assert spared.calls < 0.5 * whole.calls


def test_of_an_empty_case_only_the_first_pass_is_made():
    case, looker = case_of(np.zeros((70, 60, 50))), Looker()
    found = labelled(looker, decode, case, patch=PATCH, overlap=0.5)
    assert not found.array.any()
    assert found.array.shape == (70, 60, 50)
    assert looker.calls <= count_of((70, 60, 50), PATCH, 0.0) + 1


def test_a_small_case_is_looked_at_once():
    shape, looker = (33, 20, 16), Looker()
    labelled(looker, decode, case_of(np.ones(shape)), patch=PATCH, overlap=0.5)
    assert looker.calls == count_of(shape, PATCH, 0.5) < LEAST


@pytest.mark.parametrize("shape", [(40, 37, 50), (10, 64, 33)])
def test_a_window_is_needed_where_any_label_is_in_it(shape):
    rng = np.random.default_rng(1)
    labels = (rng.random(shape) > 0.9999).astype(np.uint8)
    needed = near(labels, PATCH)
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

    pieces = [
        slab.copy()
        for _, slab in slabs(look, (48, 16, 48), PATCH, overlap=0.5, needed=lambda start: start == [0, 0, 0])
    ]
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

    whole = stitched(Looker(), decode, case, patch=PATCH, overlap=0.5)
    parts = stitched(Looker(), noting, case, patch=PATCH, overlap=0.5, blocks=blocks)
    assert (whole.array == parts.array).all()
    assert whole.grid == parts.grid
    if shape[-1] == 70 and blocks > 2:
        assert max(sizes) < 0.8 * 2 * 16 * 40 * 70 * 4


def test_a_slab_is_decoded_a_few_planes_at_a_time(monkeypatch):
    case, shown = scene((40, 20, 24)), []
    whole = stitched(Looker(), decode, case, patch=PATCH, overlap=0.5)
    monkeypatch.setattr(windows, "AT_ONCE", 3 * 2 * 20 * 24)

    def noting(output, grid):
        shown.append(output.shape[1])
        return decode(output, grid)

    parts = stitched(Looker(), noting, case, patch=PATCH, overlap=0.5)
    assert max(shown) == 3
    assert sum(shown) == 40
    assert (whole.array == parts.array).all()
    assert whole.grid == parts.grid

"""Of a large image, slab by slab, the same is made as of the whole at once."""

import tracemalloc

import numpy as np
import pytest

from medgrad.data import Case, Grid, Image
from medgrad.prepare import normalise, resample
from medgrad.prepare.normalise import Normalise
from medgrad.prepare.resample import Resample, resample_image


def askew(shape, *, angle=0.2):
    matrix = np.eye(4)
    matrix[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    matrix[:3, 3] = 3.3, -2.1, 4.0
    return Grid(shape, tuple(map(tuple, matrix)))


GRIDS = {
    "finer": Resample((0.6, 0.8, 1.1)).target_grid(Grid.from_shape((70, 40, 36))),
    "coarser": Resample((1.9, 1.2, 2.6)).target_grid(Grid.from_shape((70, 40, 36))),
    "elsewhere": Grid.from_shape((90, 30, 20), origin=(-12.5, 3.5, 7.25)),
    "far away": Grid.from_shape((80, 5, 6), origin=(500, 0, 0)),
    "mirrored": Grid((70, 40, 36), tuple(map(tuple, np.diag([-1.0, 1, 1, 1]) + np.eye(4, k=3) * 68.7))),
    "askew": askew((75, 40, 36)),
}


@pytest.mark.parametrize("name", GRIDS)
@pytest.mark.parametrize("order", [1, 3])
def test_slab_by_slab_the_same_image_comes_out(name, order, monkeypatch):
    values = np.random.default_rng(0).normal(0, 1000, (70, 40, 36)).astype(np.float32)
    image = Image(values, Grid.from_shape(values.shape))
    whole = resample_image(image, GRIDS[name], order=order)
    made = []
    once = resample.interpolate_array
    monkeypatch.setattr(resample, "interpolate_array", lambda *a, **k: made.append(a[0].size) or once(*a, **k))
    monkeypatch.setattr(resample, "MAX_ELEMENTS", 1000)
    slabs = resample_image(image, GRIDS[name], order=order)
    assert len(made) > 1
    assert slabs.grid == whole.grid
    assert np.abs(slabs.array - whole.array).max() <= 1e-5 * np.abs(values).max()


def test_a_slab_takes_little_memory(monkeypatch):
    image = Image(np.zeros((400, 40, 40), np.int16), Grid.from_shape((400, 40, 40)))
    grid = Resample((0.8, 1.6, 1.6)).target_grid(image.grid)
    monkeypatch.setattr(resample, "MAX_ELEMENTS", 1000)
    tracemalloc.start()
    made = resample_image(image, grid)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak - made.array.nbytes < 30 * 110 * 40 * 40 < 16 * image.array.size


def plainly(array, way):
    """Normalise as the formulas say, with new arrays at every step."""
    array = array.astype(np.float32)
    if way == "window":
        return ((np.clip(array, -150.5, 250) - 40) / 100.3).astype(np.float32)
    if way == "uint8":
        return (array / 127.5 - 1).astype(np.float32)
    return ((array - array.mean(dtype=np.float64)) / array.std(dtype=np.float64)).astype(np.float32)


@pytest.mark.parametrize("way", ["window", "uint8", "zscore"])
@pytest.mark.parametrize("kind", [np.int16, np.uint8, np.float32, np.float64])
def test_normalised_in_place_every_bit_is_as_the_formula_says(way, kind, monkeypatch):
    monkeypatch.setattr(normalise, "CHUNK_ELEMENTS", 5000)
    array = (np.random.default_rng(1).random((20, 30, 40)) * 250).astype(kind)
    before = array.copy()
    step = Normalise(way, low=-150.5, high=250.0, mean=40.0, deviation=100.3)
    case, _ = step.apply(Case("one", {"image": Image(array, Grid.from_shape(array.shape))}))
    assert (case.images["image"].array == plainly(before, way)).all()
    assert (array == before).all()


def test_normalising_takes_one_array():
    array = np.ones((100, 100, 100), np.int16)
    image = Image(array, Grid.from_shape(array.shape))
    step = Normalise("window")
    tracemalloc.start()
    made = step.normalised(image)[0]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1.1 * made.array.nbytes


def test_channels_are_normalised_each_by_itself():
    array = np.stack([np.arange(24.0).reshape(2, 3, 4), 100 - 7 * np.arange(24.0).reshape(2, 3, 4)], axis=-1)
    made = Normalise("zscore").normalised(Image(array, Grid.from_shape((2, 3, 4))))[0].array
    assert np.allclose(made.reshape(-1, 2).mean(0), 0, atol=1e-6)
    assert np.allclose(made[..., 0], -made[..., 1], atol=1e-6)


def test_a_row_of_numbers_is_normalised():
    made = Normalise("zscore").normalised(Image(np.arange(5.0), Grid.from_shape((5,))))[0].array
    assert made.tolist() == pytest.approx([-1.41421, -0.70711, 0, 0.70711, 1.41421], abs=1e-4)

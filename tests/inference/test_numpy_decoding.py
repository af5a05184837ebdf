"""Without torch the same windows are blended, and the same outputs become the same answers."""

from itertools import product
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from medgrad import registry
from medgrad.answers import kind_named
from medgrad.answers.label_map import argmax
from medgrad.data import Grid
from medgrad.engine.compute.torch_ops import TORCH
from medgrad.inference import sliding_window as windows
from medgrad.registry import lists_to_tuples

GRID = Grid.from_shape((24, 20), spacing=(0.5, 2.0), origin=(3, -4))


def settings_of(task):
    return lists_to_tuples(task.settings())


def decoded(task, *outputs, grid=GRID):
    """What an exported network's outputs are read as, without torch."""
    return task.answer_kind.decode(outputs, grid, settings_of(task))


@pytest.mark.parametrize(
    ("shape", "patch", "overlap"),
    [((20, 9, 11), (8, 8, 8), 0.5), ((8, 30), (8, 8), 0.25), ((33, 12), (10, 12), 0.7), ((40,), (12,), 0.5)],
)
def test_windows_are_blended_as_torch_blends_them(shape, patch, overlap):
    field = np.random.default_rng(0).normal(size=(3, *shape)).astype(np.float32)

    def look(start):
        where = tuple(slice(a, a + p) for a, p in zip(start, patch, strict=True))
        return field[(slice(None), *where)] * np.float32(1 + start[0])

    ours = [(first, slab.copy()) for first, slab in windows.blend_slabs(look, shape, patch, overlap=overlap)]
    theirs = windows.blend_slabs(
        lambda start: torch.from_numpy(look(start).copy()), shape, patch, overlap=overlap, ops=TORCH
    )
    for (a, one), (b, other) in zip(ours, theirs, strict=True):
        assert a == b
        np.testing.assert_allclose(one, other.numpy(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("many", [2, 300])
def test_labels_are_those_of_the_task(many):
    task = registry.find("tasks", "segmentation")(dims=2, labels=tuple(f"l{i}" for i in range(many)))
    output = torch.randn(many + 1, *GRID.shape, generator=torch.Generator().manual_seed(0))
    ours, theirs = decoded(task, output.numpy()), task.decode(output, GRID)
    assert ours.array.dtype == theirs.array.dtype
    assert (ours.array == theirs.array).all()
    assert (ours.grid, ours.names) == (theirs.grid, theirs.names)


@pytest.mark.parametrize("exclusive", [True, False])
def test_probabilities_are_those_of_the_task(exclusive):
    task = registry.find("tasks", "classification")(dims=2, labels=("a", "b", "c"), exclusive=exclusive)
    output = torch.tensor([0.3, -2.0, 1.1])
    chances = output.softmax(0) if exclusive else output.sigmoid()
    ours, theirs = decoded(task, chances.numpy()), task.decode(output, GRID)
    np.testing.assert_allclose(ours.values, theirs.values, atol=1e-6)
    assert (ours.names, ours.exclusive) == (theirs.names, exclusive)


def candidates(seed, n=400, classes=2):
    rng = np.random.default_rng(seed)
    low = rng.uniform(-3, 20, (n, 2))
    corners = np.concatenate([low, low + rng.uniform(2, 9, (n, 2))], 1).astype(np.float32)
    return corners, (rng.random((n, classes)) ** 3).astype(np.float32)


@pytest.mark.parametrize("calibrated", [False, True])
def test_boxes_are_those_of_the_task(calibrated, monkeypatch):
    fitted = {"platt_a": (0.7, 1.4), "platt_b": (0.1, -0.2)} if calibrated else {}
    task = registry.find("tasks", "detection")(dims=2, labels=("a", "b"), max_boxes=25, **fitted)
    corners, chances = candidates(0)

    told = SimpleNamespace(decode=lambda *_, **__: (torch.from_numpy(corners)[None], torch.from_numpy(chances)[None]))
    find = registry.find
    monkeypatch.setattr(
        "medgrad.tasks.detection.registry.find", lambda room, name: told if room == "models" else find(room, name)
    )
    ours, theirs = decoded(task, corners, chances), task.decode(torch.zeros(1, 1), GRID)
    np.testing.assert_allclose(ours.corners, theirs.corners)
    np.testing.assert_allclose(ours.scores, theirs.scores, rtol=1e-6)
    assert ours.labels.tolist() == theirs.labels.tolist()
    assert len(ours.labels) == 25


def test_boxes_of_windows_are_put_together_as_by_the_task():
    task = registry.find("tasks", "detection")(dims=2, labels=("a", "b"))
    grid = Grid.from_shape((60, 50), spacing=(0.5, 2.0))
    starts = product(windows.window_starts(60, 24, 0.5), windows.window_starts(50, 20, 0.5))
    parts = [grid.crop(start, (24, 20)) for start in starts]
    said = [decoded(task, *candidates(n, 30), grid=part) for n, part in enumerate(parts)]
    ours = kind_named("boxes").join(said, parts, grid, settings_of(task))
    theirs = task.merge_windows(said, parts, grid)
    np.testing.assert_array_equal(ours.corners, theirs.corners)
    assert len(ours.labels) < sum(len(s.labels) for s in said)


@pytest.mark.parametrize("classes", [1, 2, 25, 256, 300])
def test_the_largest_is_that_of_argmax_and_the_first_of_equal_ones(classes):
    planes = np.random.default_rng(0).integers(0, 40, (classes, 7, 5, 6)).astype(np.float32)
    found = argmax(planes)
    assert (found == planes.argmax(axis=0)).all()
    assert found.dtype == (np.uint8 if classes <= 256 else np.int32)
    assert (argmax(planes[:, ::2, :, 1:3]) == planes[:, ::2, :, 1:3].argmax(axis=0)).all()

"""Boxes on their way: from windows to one answer, from several networks to one, onto files and pictures."""

import itertools

import numpy as np
import pytest

from medgrad import registry
from medgrad.answers import Destination, kind_of
from medgrad.answers.boxes import boxes_on_plane, concatenated, write_overlay
from medgrad.data import Boxes, Grid, Image
from medgrad.data.cohorts.layouts import recognise
from medgrad.data.display import upright
from medgrad.data.formats import read
from medgrad.data.grid import matrix_to_tuples
from medgrad.inference.sliding_window import window_starts
from medgrad.tasks.detection import clip_to_image

TASK = registry.find("tasks", "detection")(dims=2, labels=("a", "b"))


def scattered(rng, shape, n=12, longest=14):
    """Boxes that do not touch, one in each cell of a coarse lattice, and whole numbers so that windows cut exactly."""
    cells = list(itertools.product(*[range(s // 20) for s in shape]))
    chosen = [cells[i] for i in rng.permutation(len(cells))[:n]]
    low = np.array([[20 * c + rng.integers(1, 5) for c in cell] for cell in chosen]) - 0.5
    return np.concatenate([low, low + rng.integers(3, longest, low.shape)], axis=1)


@pytest.mark.parametrize("seed", range(5))
def test_what_windows_see_is_put_together_once(seed):
    rng = np.random.default_rng(seed)
    grid = Grid.from_shape((100, 120), spacing=(0.5, 2.0), origin=(3, -4))
    truth = scattered(rng, grid.shape)
    kinds = rng.integers(0, 2, len(truth))
    answers, windows = [], []
    for start in itertools.product(*[window_starts(s, 40, 0.5) for s in grid.shape]):
        window = grid.crop(start, (40, 40))
        seen, labels = clip_to_image(truth - np.tile(start, 2), kinds, (40, 40))
        corners = np.concatenate([window.to_world(seen[:, :2]), window.to_world(seen[:, 2:])], axis=1)
        answers.append(Boxes(corners, labels, rng.uniform(0.5, 1, len(seen)), TASK.names))
        windows.append(window)
    found = TASK.merge_windows(answers, windows, grid)
    want = np.concatenate([grid.to_world(truth[:, :2]), grid.to_world(truth[:, 2:])], axis=1)
    order, wanted = np.lexsort(found.corners.T), np.lexsort(want.T)
    np.testing.assert_allclose(found.corners[order], want[wanted], atol=1e-9)
    assert found.labels[order].tolist() == kinds[wanted].tolist()


def test_networks_that_agree_say_what_each_says():
    case = TASK.example(3)
    said = Boxes(case.truth.corners, case.truth.labels, np.array([0.9, 0.6]), TASK.names)
    both = TASK.ensemble([said, said, said])
    np.testing.assert_allclose(both.corners, said.corners, atol=1e-5)
    np.testing.assert_allclose(both.scores, said.scores, atol=1e-5)
    assert len(concatenated([said, said]).corners) == 4


def test_one_network_of_three_counts_for_a_third():
    said = Boxes(np.array([[0, 0, 9, 9.0]]), np.array([0]), np.array([0.9]), TASK.names)
    none = Boxes(np.zeros((0, 4)), np.zeros(0, np.int64), np.zeros(0), TASK.names)
    assert TASK.ensemble([said, none, none]).scores[0] == pytest.approx(0.3)


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
@pytest.mark.parametrize("signs", [(1, 1, 1), (-1, -1, 1), (-1, 1, -1)])
def test_a_box_is_drawn_where_its_voxels_are_shown(order, signs):
    matrix = np.eye(4)
    matrix[:3, :3] = np.eye(3)[:, list(order)] * signs
    grid = Grid((10, 12, 14), matrix_to_tuples(matrix))
    array = np.zeros(grid.shape, np.float32)
    array[2:5, 3:9, 4:12] = 1
    image = Image(array, grid)
    ends = np.array([[1.5, 2.5, 3.5], [4.5, 8.5, 11.5]])
    world = np.sort(grid.to_world(ends), axis=0).reshape(1, 6)
    axis = next(a for a, letter in enumerate(grid.orientation) if letter in "SI")
    plane = tuple(4 if a == axis else slice(None) for a in range(3))
    shown = upright(array[plane], image.grid)
    rows, columns = np.nonzero(shown)
    (drawn,) = boxes_on_plane(Boxes(world, np.array([0])), image, plane)
    assert drawn.tolist() == [rows.min() - 0.5, columns.min() - 0.5, rows.max() + 0.5, columns.max() + 0.5]


def test_what_is_found_is_written_and_read_back(tmp_path):
    from medgrad.data import Source
    from medgrad.data.formats import write

    path = write(
        tmp_path / "cell.png", Image(np.arange(400, dtype=np.uint8).reshape(20, 20), Grid.from_shape((20, 20)))
    )
    said = Boxes(np.array([[1.5, 2.5, 9.5, 12.5]]), np.array([1]), np.array([0.75]), TASK.names)
    (table,) = kind_of(said).write(said, Destination(tmp_path, "cell", Source(path)))
    assert table.suffix == ".csv"
    cohort = recognise(table)
    (only,) = cohort.entries
    np.testing.assert_allclose(only.truth.to_world(read(path).grid).corners, said.corners)
    assert cohort.labels == ("b",)
    picture = write_overlay(tmp_path / "over.png", read(path), said)
    drawn = read(picture).array
    assert (drawn[3, 4:12] == (255, 196, 0)).all()


def test_in_short_only_what_is_likely_right_is_counted():
    said = Boxes(np.zeros((3, 4)), np.array([0, 1, 1]), np.array([0.9, 0.7, 0.2]), TASK.names)
    assert kind_of(said).summary(said) == {"a": 1, "b": 1}


def test_empty_places_of_a_target_change_no_cost():
    import torch

    from medgrad.tasks import stack_samples
    from medgrad.tasks.detection import trim_targets

    batch = stack_samples([TASK.encode(TASK.example(seed)) for seed in range(3)])
    assert trim_targets(batch.target)["boxes"].shape[1] == 2 < batch.target["boxes"].shape[1]
    torch.manual_seed(0)
    for name in ("yolo", "retinanet", "faster_rcnn"):
        make = registry.find("models", name)
        output = make(1, 2, 2, channels=(8, 16, 16), first=1, width=16)(batch.inputs["image"])
        told = TASK.for_model(name).loss(output, batch.target)
        for term, value in make.loss(output, batch.target, classes=2).items():
            torch.testing.assert_close(told[term], value)
    empty = {k: torch.full_like(v, -1 if k == "classes" else 0) for k, v in batch.target.items()}
    assert trim_targets(empty)["boxes"].shape[1] == 1

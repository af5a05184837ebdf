"""Boxes: from files' own words, from masks, and moved with their image."""

import numpy as np
import pytest
import torch

from medgrad.augment import augment
from medgrad.augment.flip import Flip
from medgrad.augment.spatial import Spatial
from medgrad.data import Grid, LabelMap, UnplacedBoxes
from medgrad.data.masks_to_boxes import instances_to_boxes, labels_to_boxes


def test_shares_and_elements_say_the_same():
    grid = Grid.from_shape((10, 20), spacing=(2.0, 0.5))
    elements = UnplacedBoxes(np.array([[1, 4, 5, 16.0]]), np.array([0])).to_world(grid)
    shares = UnplacedBoxes(np.array([[0.1, 0.2, 0.5, 0.8]]), np.array([0]), "shares").to_world(grid)
    np.testing.assert_allclose(elements.corners, shares.corners)
    np.testing.assert_allclose(elements.corners, [[1.0, 1.75, 9.0, 7.75]])


def test_a_turned_axis_leaves_the_lower_corner_first():
    matrix = np.diag([-1.0, 1.0, 2.0, 1.0])
    matrix[:3, 3] = (9, 0, 0)
    grid = Grid((10, 10, 10), tuple(map(tuple, matrix)))
    found = UnplacedBoxes(np.array([[0, 0, 0, 1, 2, 3.0]]), np.array([0])).to_world(grid).corners[0]
    assert (found[3:] > found[:3]).all()
    np.testing.assert_allclose(found, [8.5, -0.5, -1, 9.5, 1.5, 5])


def test_boxes_that_hold_nothing_are_left_out():
    drawn = UnplacedBoxes(np.array([[1, 1, 1, 4], [4, 4, 2, 6], [0, 0, 2, 2.0]]), np.array([0, 1, 2]))
    assert drawn.to_world(Grid.from_shape((9, 9))).labels.tolist() == [2]


def test_touching_objects_of_an_instance_map_stay_two():
    array = np.zeros((6, 6), np.int32)
    array[1:3, 1:3], array[1:3, 3:5] = 7, 9
    assert len(instances_to_boxes(LabelMap(array, Grid.from_shape((6, 6))), {0: "cell"}).corners) == 2
    assert len(instances_to_boxes(LabelMap((array > 0).astype(int), Grid.from_shape((6, 6))), {0: "cell"}).corners) == 1


@pytest.mark.parametrize("dims", [2, 3])
def test_boxes_around_parts_hold_just_their_labels(dims):
    rng = np.random.default_rng(0)
    array = (rng.random((12,) * dims) > 0.93).astype(np.uint8)
    found = labels_to_boxes(LabelMap(array, Grid.from_shape(array.shape), {1: "a"}))
    assert len(found.corners)
    for low, high in zip(found.corners[:, :dims], found.corners[:, dims:], strict=True):
        inside = tuple(slice(round(a + 0.5), round(b + 0.5)) for a, b in zip(low, high, strict=True))
        assert array[inside].any()


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("step", [Flip((0, 1)), Spatial(p=1.0, degrees=25, scale=0.2, shift=0.05, elastic=0)])
def test_a_moved_box_holds_the_moved_ball(dims, step):
    shape = (40, 48, 44)[:dims]
    axes = np.meshgrid(*[np.arange(s) for s in shape], indexing="ij")
    centre, reach = np.array([22, 20, 24])[:dims], np.array([6, 9, 7])[:dims]
    ball = sum(((a - c) / r) ** 2 for a, c, r in zip(axes, centre, reach, strict=True)) <= 1
    image = torch.from_numpy(ball.astype(np.float32))[None, None].repeat(4, *[1] * (dims + 1))
    boxes = torch.zeros(4, 3, 2 * dims)
    boxes[:, 0] = torch.from_numpy(np.concatenate([centre - reach, centre + reach]).astype(np.float32))
    moved, targets = augment(image, {"boxes": boxes}, {"boxes": "boxes"}, steps=[step], seeds=[(i,) for i in range(4)])
    assert not targets["boxes"][:, 1:].any()
    for one, box in zip(moved, targets["boxes"][:, 0], strict=True):
        where = (one[0] > 0.5).nonzero().float()
        want = torch.cat([where.min(0).values, where.max(0).values])
        assert float((box - want).abs().max()) < 1.5


def test_a_box_that_leaves_the_image_is_none():
    boxes = torch.tensor([[[1.0, 1.0, 5.0, 5.0], [30.0, 30.0, 39.0, 39.0]]])
    step = Spatial(p=1.0, degrees=0, scale=0, shift=1e-9, elastic=0)
    drawn = {k: torch.from_numpy(np.array(v))[None] for k, v in step.draw(np.random.default_rng(0), (40, 40)).items()}
    drawn["shift"] = torch.tensor([[20.0, 20.0]])
    _, targets = step.apply(torch.zeros(1, 1, 40, 40), {"boxes": boxes}, drawn, {"boxes": "boxes"})
    assert not (targets["boxes"][0, 0, 2:] > targets["boxes"][0, 0, :2]).any()
    np.testing.assert_allclose(targets["boxes"][0, 1], [10, 10, 19, 19], atol=1e-3)


def test_labels_that_do_not_count_are_background(tmp_path):
    from medgrad.data import Source
    from medgrad.data.cohorts import Cohort, Entry
    from medgrad.data.cohorts.cohort import with_labels
    from medgrad.data.formats import write
    from medgrad.data.types import Image
    from medgrad.errors import SettingError

    grid = Grid.from_shape((6, 6))
    array = np.zeros((6, 6), np.uint8)
    array[:2, :2], array[3:5, 3:5] = 10, 20
    image = write(tmp_path / "i.npz", Image(array.astype(np.float32), grid))
    mask = write(tmp_path / "m.npz", LabelMap(array, grid, {10: "liver", 20: "lesion"}))
    entry = Entry("a", {"image": Source(image)}, Source(mask))
    whole = Cohort(tmp_path, "x", "segmentation", (entry,), ("liver", "lesion"), (10, 20), dims=2)
    found = with_labels(whole, ["lesion"]).load_case(entry).truth
    assert found.names == {1: "lesion"}
    assert (found.array == (array == 20)).all()
    drawn = UnplacedBoxes(np.array([[0, 0, 2, 2], [3, 3, 5, 5.0]]), np.array([0, 1]))
    boxes = with_labels(whole, ["lesion"]).load_case(Entry("a", entry.images, drawn)).truth
    assert boxes.corners.tolist() == [[2.5, 2.5, 4.5, 4.5]]
    assert boxes.names == {0: "lesion"}
    with pytest.raises(SettingError, match="no label 'spleen'"):
        with_labels(whole, ["spleen"])

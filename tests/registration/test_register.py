"""Registration of a pair: what was done to an image is found again, and is told and written as it was found."""

import csv

import numpy as np
import pytest
import torch
from scipy import ndimage

from medgrad import registry
from medgrad.data import Grid, Image, LabelMap, Pair
from medgrad.data.formats import read, read_matrix
from medgrad.data.transform import Transform, apply_affine, voxel_positions, warp_image
from medgrad.metrics import folded_fraction, log_jacobian, tre_mm, warped_dice
from medgrad.registration.image_pyramid import coarser_grid, to_grey_image
from medgrad.registration.register import RegistrationOptions, register

QUICK = RegistrationOptions(max_rotation=0)


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def scan(shape, seed=0, spacing=None):
    """Give a smooth picture of spots inside a body."""
    rng = np.random.default_rng(seed)
    grid = Grid.from_shape(shape, spacing=spacing)
    at = (np.stack(np.meshgrid(*[np.linspace(-1, 1, s) for s in shape], indexing="ij"), -1) ** 2).sum(-1)
    spots = ndimage.gaussian_filter(rng.normal(size=shape), 2.0)
    return Image(np.where(at < 0.6, 2 + 8 * spots, 0).astype(np.float32), grid)


def matrix_about_middle(grid, degrees, shift, scale=1.0):
    n = grid.dims
    c, s = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    turn = np.eye(n)
    turn[:2, :2] = [[c, -s], [s, c]]
    middle = grid.to_world((np.array(grid.shape) - 1) / 2)
    whole = np.eye(n + 1)
    whole[:n, :n] = scale * turn
    whole[:n, n] = middle - scale * turn @ middle + shift
    return whole


def moved_by(image, matrix):
    """Give the moving image of which the fixed one is seen through a matrix."""
    return warp_image(image, Transform(tuple(map(tuple, np.linalg.inv(matrix))), image.grid), order=3)


def error(found, matrix, grid):
    points = voxel_positions(grid).reshape(-1, grid.dims)
    points = points[:: max(1, len(points) // 500)]
    return np.linalg.norm(
        apply_affine(np.array(found.transform.matrix), points) - apply_affine(matrix, points), axis=1
    ).mean()


@pytest.mark.parametrize(
    ("kind", "degrees", "shift", "scale"),
    [
        ("rigid", 8, (3, -2), 1.0),
        ("rigid", 50, (4, 6), 1.0),
        ("similarity", 10, (2, 3), 1.15),
        ("affine", 5, (1, 2), 0.9),
    ],
)
def test_a_picture_that_was_moved_is_brought_back(kind, degrees, shift, scale):
    fixed = scan((48, 52))
    matrix = matrix_about_middle(fixed.grid, degrees, shift, scale)
    assert error(register(fixed, moved_by(fixed, matrix), kind=kind), matrix, fixed.grid) < 0.25


def test_a_volume_whose_elements_are_no_cubes_is_brought_back():
    fixed = scan((30, 30, 15), spacing=(1.0, 1.0, 2.0))
    matrix = matrix_about_middle(fixed.grid, 25, (3, -2, 4))
    assert error(register(fixed, moved_by(fixed, matrix), kind="rigid"), matrix, fixed.grid) < 0.5


def test_other_contrast_is_noticed_and_registered():
    fixed = scan((48, 52))
    matrix = matrix_about_middle(fixed.grid, 8, (3, -2))
    moving = moved_by(fixed, matrix)
    other = Image(np.where(moving.array > 0.3, np.cos(moving.array), 0).astype(np.float32), moving.grid)
    found = register(fixed, other, kind="rigid", options=QUICK)
    assert found.similarity == "mutual_information"
    assert "contrast differs" in found.messages[0]
    assert error(found, matrix, fixed.grid) < 0.5


@pytest.mark.parametrize("shape", [(48, 52), (32, 34, 30)])
def test_what_was_bent_is_bent_back_without_folds(shape):
    fixed = scan(shape)
    n = len(shape)
    bend = np.stack([np.sin(2 * np.pi * i / s) for i, s in zip(np.indices(shape), shape, strict=True)], -1)
    truth = Transform(tuple(map(tuple, np.eye(n + 1))), fixed.grid, bend.astype(np.float32))
    shown = warp_image(fixed, truth, order=3)  # fixed seen through the bend: the pair is (shown, fixed)
    found = register(
        shown, fixed, options=RegistrationOptions(max_rotation=0, step_factor=2)
    ).transform.to_deformation()
    inside = LabelMap((shown.array > 0).astype(np.uint8), fixed.grid)
    left = tre_mm.compute(truth.to_deformation(), found, region=inside)
    assert left["tre_mm"] < 0.5 * left["tre_before_mm"]
    assert folded_fraction.compute(None, found)["folded_fraction"] == 0


def swung(shape, size):
    """Give a smooth transform that moves the middle by so many elements and the edges not at all."""
    lines = np.meshgrid(*[np.sin(np.pi * (np.arange(s) + 0.5) / s) for s in shape], indexing="ij")
    n = len(shape)
    bend = np.stack([size / n**0.5 * np.prod(lines, axis=0) * (-1) ** k for k in range(n)], -1)
    return Transform(tuple(map(tuple, np.eye(n + 1))), Grid.from_shape(shape), bend.astype(np.float32))


def bent_pair(shape, size):
    """Give an image, what it looks like through a smooth bend, and that bend: the pair is (seen, image)."""
    image = scan(shape)
    truth = swung(shape, size)
    return warp_image(image, truth, order=3), image, truth


def left(found, truth, seen):
    inside = LabelMap((seen.array > 0).astype(np.uint8), seen.grid)
    return tre_mm.compute(truth.to_deformation(), found.transform.to_deformation(), region=inside)["tre_mm"]


@pytest.mark.parametrize("shape", [(60, 64), (26, 30, 28)])
def test_both_directions_are_the_inverse_of_each_other(shape):
    seen, image, _ = bent_pair(shape, 4)
    there, back = (register(*pair, options=QUICK).transform for pair in ((seen, image), (image, seen)))
    assert there.displacement is not None
    points = voxel_positions(seen.grid)[seen.array > 0]
    apart = np.linalg.norm(back.to_moving(there.to_moving(points)) - points, axis=-1)
    assert apart.mean() < 0.1
    assert np.quantile(apart, 0.95) < 0.5


def test_a_stiff_bend_is_the_affine_transform():
    seen, image, truth = bent_pair((60, 64), 6)
    affine = left(register(seen, image, kind="affine", options=QUICK), truth, seen)
    errors = [
        left(register(seen, image, options=RegistrationOptions(max_rotation=0, smoothness=s)), truth, seen)
        for s in (1.0, 30.0, 1000.0)
    ]
    assert errors[0] < 0.6 * affine
    assert max(errors) < 1.1 * affine
    assert errors[-1] == pytest.approx(affine, rel=0.05)


@pytest.mark.parametrize("size", [10, 20])
def test_large_bends_are_found_from_coarse_to_fine(size):
    seen, image, truth = bent_pair((96, 100), size)
    found = register(seen, image, options=QUICK)
    assert left(found, truth, seen) < 0.2 * size
    assert folded_fraction.compute(None, found.transform.to_deformation())["folded_fraction"] == 0


@pytest.mark.parametrize("noisy", ["one", "both"])
def test_what_cannot_be_registered_is_told_and_not_bent(noisy):
    rng = np.random.default_rng(0)
    noise = [Image(rng.normal(size=(60, 64)).astype(np.float32), Grid.from_shape((60, 64))) for _ in range(2)]
    fixed = scan((60, 64)) if noisy == "one" else noise[0]
    found = register(fixed, noise[1])
    assert found.kind == "rigid"
    assert found.transform.displacement is None
    assert "may not show the same" in found.messages[-1]


def test_bending_that_explains_nothing_new_is_left_out():
    seen, image, _ = bent_pair((60, 64), 0.01)
    rng = np.random.default_rng(3)
    noisy = [
        Image(i.array + ndimage.gaussian_filter(rng.normal(size=i.array.shape), 2) * 6, i.grid) for i in (seen, image)
    ]
    found = register(*noisy, options=QUICK)
    spread = log_jacobian.compute(None, found.transform.to_deformation())["log_jacobian"]
    assert spread < 0.1


def test_a_folded_contrast_is_undone_before_bending():
    seen, image, truth = bent_pair((60, 64), 5)
    folded = Image(np.abs(image.array - np.median(image.array[image.array > 0])).astype(np.float32), image.grid)
    found = register(seen, folded, options=QUICK)
    assert left(found, truth, seen) < 0.2 * 5


def test_only_what_lies_in_the_regions_counts():
    fixed = scan((60, 64))
    matrix = matrix_about_middle(fixed.grid, 0, (3, -2))
    moving = moved_by(fixed, matrix)
    at, region = moving.array.copy(), np.zeros(fixed.grid.shape, np.uint8)
    at[:, 34:] = fixed.array[:, 34:]  # this half has not moved
    region[:, :32] = 1
    regions = LabelMap(region, fixed.grid), LabelMap(region, fixed.grid)
    apart = [
        error(register(fixed, Image(at, fixed.grid), kind="rigid", options=QUICK, regions=r), matrix, fixed.grid)
        for r in (None, regions)
    ]
    assert apart[1] < 0.3 < apart[0]
    with pytest.raises(ValueError, match="region holds nothing"):
        register(fixed, moving, regions=(LabelMap(0 * region, fixed.grid), regions[1]))


def test_a_strided_correlation_is_nearly_the_whole_one():
    rng = np.random.default_rng(0)
    one, other = (
        torch.from_numpy(ndimage.gaussian_filter(rng.normal(size=(1, 1, 30, 33)), (0, 0, 2, 2)).astype(np.float32))
        for _ in range(2)
    )
    lncc = registry.find("losses.similarity", "lncc")
    assert float(lncc(stride=2)(one, other)) == pytest.approx(float(lncc()(one, other)), abs=0.03)
    weight = torch.rand(1, 1, 30, 33)
    numbers = (
        one.detach().double()[..., :9, :11].requires_grad_(),
        other.double()[..., :9, :11],
        weight.double()[..., :9, :11],
    )
    assert torch.autograd.gradcheck(lambda *a: lncc(width=5, stride=2)(*a), numbers)


def test_the_same_pair_gives_the_same_transform():
    seen, image, _ = bent_pair((60, 64), 5)
    one, other = (register(seen, image, options=QUICK).transform for _ in range(2))
    assert one.matrix == other.matrix
    assert one.displacement is not None
    assert (one.displacement == other.displacement).all()


def test_what_was_only_moved_is_not_bent():
    fixed = scan((48, 52))
    found = register(fixed, moved_by(fixed, matrix_about_middle(fixed.grid, 8, (3, -2))))
    assert found.kind == "affine"
    assert "Bending was not shown to help" in found.messages[-1]


def test_padding_is_no_picture():
    image = scan((30, 30))
    cut = image.array[8:22, 8:22]
    assert to_grey_image(Image(np.pad(cut, 10), Grid.from_shape((34, 34)))).array.shape == (14, 14)
    assert not to_grey_image(Image(np.pad(cut, 10), Grid.from_shape((34, 34)))).extends
    assert to_grey_image(image).extends


def test_a_coarser_grid_covers_the_same_place():
    grid = Grid.from_shape((40, 40, 10), spacing=(1, 1, 4))
    small = coarser_grid(grid, 2000)
    np.testing.assert_allclose(small.to_world((np.array(small.shape) - 1) / 2), grid.to_world((19.5, 19.5, 4.5)))
    assert np.prod(small.shape) <= 2000


@pytest.mark.parametrize(
    ("change", "words"),
    [({"kind": "bent"}, "rigid, similarity"), ({"similarity": "lnc"}, "lncc")],
)
def test_a_wrong_word_is_told(change, words):
    image = scan((20, 20))
    with pytest.raises((ValueError, LookupError), match=words):
        register(image, image, **change)


def test_an_image_of_one_value_is_refused():
    image = scan((20, 20))
    with pytest.raises(ValueError, match="one value only"):
        register(image, Image(np.zeros((20, 20)), image.grid))


def test_a_picture_is_not_registered_with_a_volume():
    with pytest.raises(ValueError, match="2 axes"):
        register(scan((20, 20)), scan((20, 20, 20)))


SLICES = {
    "Shifted13x17y": ("rigid", 0.0, 1.0, (17, 13)),
    "R10X13Y17": ("rigid", 10.0, 1.0, (16, 13)),
    "Rotated10": ("rigid", 10.0, 1.0, (0, 0)),
    "R10X13Y17S12": ("similarity", -10.0, 1 / 1.2, None),
}


@pytest.mark.real
@pytest.mark.parametrize("name", SLICES)
def test_known_transforms_of_brain_slices_are_found_to_a_tenth_of_a_pixel(real_data, name):
    folder = real_data("registration") / "itk_brain_slices"
    kind, degrees, scale, shift = SLICES[name]
    fixed = read(folder / "BrainProtonDensitySliceBorder20.png")
    moving = read(folder / f"BrainProtonDensitySlice{name}.png")
    matrix = np.array(register(fixed, moving, kind=kind).transform.matrix)
    found = -np.degrees(np.arctan2(matrix[1, 0], matrix[0, 0]))
    radius = 128
    assert abs(np.deg2rad(found - degrees)) * radius < 0.1
    assert abs(np.linalg.det(matrix[:2, :2]) ** 0.5 - scale) * radius < 0.1
    if shift is not None:
        middle = np.array([128.5, 110.5])
        np.testing.assert_allclose(apply_affine(matrix, middle) - middle, shift, atol=0.1)


@pytest.mark.real
@pytest.mark.parametrize(("name", "shift"), [("Border20", (0, 0)), ("Shifted13x17y", (17, 13))])
def test_t1_is_laid_on_pd_by_mutual_information(real_data, name, shift):
    folder = real_data("registration") / "itk_brain_slices"
    fixed, moving = read(folder / "BrainT1SliceBorder20.png"), read(folder / f"BrainProtonDensitySlice{name}.png")
    found = register(fixed, moving, kind="rigid")
    assert found.similarity == "mutual_information"
    middle = np.array([128.5, 110.5])
    np.testing.assert_allclose(apply_affine(np.array(found.transform.matrix), middle) - middle, shift, atol=0.1)


def marks(path):
    with path.open() as file:
        return np.array([[float(r["Y"]), float(r["X"])] for r in csv.DictReader(file)])


@pytest.mark.real
@pytest.mark.parametrize("kind", ["affine", "deformable"])
def test_histology_ends_nearer_than_by_ants(real_data, kind):
    folder = real_data("registration") / "histology_lesion"
    one, other = (folder / f"Izd2-29-041-w35_{stain}.jpg" for stain in ("HE", "proSPC"))
    found = register(read(one), read(other), kind=kind).transform
    ends = found.to_moving(marks(one.with_suffix(".csv")))
    left = np.median(np.linalg.norm(ends - marks(other.with_suffix(".csv")), axis=1))
    assert left < 32.7


@pytest.mark.real
@pytest.mark.slow
@pytest.mark.parametrize(("patient", "reference"), [("01", 0.35), ("03", 1.64)])
def test_a_patient_is_followed_between_scanners(real_data, patient, reference):
    folder = real_data("longitudinal_ms") / f"patient{patient}"
    first, second = (read_matrix(folder / f"study{k}_FLAIR_to_common_space.txt") for k in (1, 2))
    mask = read(folder / "brainmask_common.nii.gz")
    points = apply_affine(first, voxel_positions(mask.grid)[mask.array > 0][::50])
    true = apply_affine(second @ np.linalg.inv(first), points)
    images = [read(folder / f"study{k}_FLAIR.nii.gz") for k in (1, 2)]
    ends = register(*images, kind="rigid").transform.to_moving(points)
    assert np.linalg.norm(ends - true, axis=1).mean() < 1.2 * reference


def hippocampus(folder, name):
    image = read(folder / f"hippocampus_{name}.nii.gz")
    spare = [64 - s for s in image.grid.shape]
    return np.pad(image.array, [(s // 2, s - s // 2) for s in spare])


@pytest.mark.real
@pytest.mark.slow
def test_hippocampi_of_different_people_overlap_more_than_by_syn(real_data):
    folder, grid = real_data("seg3d_hippocampus"), Grid.from_shape((64, 64, 64))
    with (real_data("registration") / "hippocampus_pairs_ants_reference.csv").open() as file:
        names = [(row["fixed"], row["moving"]) for row in csv.DictReader(file)]
    overlaps, folds = [], []
    for pair in names:
        images = [Image(hippocampus(folder / "images", n), grid) for n in pair]
        found = register(*images, options=QUICK).transform.to_deformation()
        truth = Pair(*[LabelMap(hippocampus(folder / "labels", n).astype(np.uint8), grid) for n in pair])
        overlaps.append(warped_dice.compute(truth, found)["warped_dice/mean"])
        folds.append(folded_fraction.compute(None, found)["folded_fraction"])
    assert np.mean(overlaps) > 0.693
    assert np.mean(folds) < 0.001


@pytest.mark.slow
def test_a_chest_is_found_from_anywhere():
    import sys
    from pathlib import Path

    sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
    try:
        import rigid_starts
    finally:
        sys.path.pop(0)
    assert rigid_starts.run(rounds=12)["rows"][0]["found"] == 1

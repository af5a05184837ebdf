"""A segmentation keeps every voxel in its place, however the series lies, as we and as others read it."""

import shutil
import subprocess
import time
from itertools import permutations, product

import nibabel
import numpy as np
import pytest
from dicom_answers import AXIAL, labels_on, make_series, write_segmentation

from medgrad.data import Grid, Image, LabelMap, Source
from medgrad.data.dicom.write.ct import SeriesHeader, write_ct
from medgrad.data.formats import read, read_labels
from medgrad.data.grid import matrix_to_tuples

pytest.importorskip("highdicom", reason="the dicom extra is not installed")

STRAIGHT = [
    np.eye(3)[list(order)] * signs for order in permutations(range(3)) for signs in product((1.0, -1.0), repeat=3)
]


def oblique(seed):
    """Draw a rotation."""
    q, r = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))
    q = q * np.sign(np.diag(r))
    return q * np.sign(np.linalg.det(q))


EVERY = [*STRAIGHT, *(oblique(seed) for seed in range(6))]
IDS = [*map(str, range(48)), *(f"oblique {n}" for n in range(6))]


def written(folder, directions):
    """Write labels that lie so; a series is always right-handed, so that of left-handed ones its slices run back."""
    is_left = np.linalg.det(directions) < 0
    source, image = make_series(folder / "ct", directions * (1, 1, -1 if is_left else 1))
    labels = labels_on(image.grid)
    return image, labels, write_segmentation(folder / "seg.dcm", backwards(labels) if is_left else labels, source)


def backwards(labels):
    """Give the same labels at the same places, their slices the other way around."""
    matrix = labels.grid.matrix.copy()
    matrix[:3, 3] += matrix[:3, 2] * (labels.grid.shape[2] - 1)
    matrix[:3, 2] *= -1
    return LabelMap(labels.array[..., ::-1], Grid(labels.grid.shape, matrix_to_tuples(matrix)), labels.names)


def same(array, affine, labels):
    """Hold an array with its affine to our grid, voxel by voxel through the patient's space."""
    places = np.moveaxis(np.indices(labels.grid.shape), 0, -1).reshape(-1, 3)
    at = nibabel.affines.apply_affine(np.linalg.inv(affine), labels.grid.to_world(places))
    whole = np.round(at).astype(int)
    off_mm = np.abs((at - whole) @ affine[:3, :3].T).max()
    return off_mm < 1e-3 and np.array_equal(array[tuple(whole.T)].reshape(labels.grid.shape), labels.array)


def test_there_are_48_ways_to_lie_straight():
    assert len({s.tobytes() for s in STRAIGHT}) == 48


@pytest.mark.parametrize("directions", EVERY, ids=IDS)
def test_we_read_what_we_wrote(tmp_path, directions):
    image, labels, path = written(tmp_path, directions)
    back = read_labels(path)
    assert back.grid.is_close(image.grid, tolerance_mm=1e-3)
    assert np.array_equal(back.array, labels.array)


@pytest.mark.peer
@pytest.mark.parametrize("directions", EVERY, ids=IDS)
def test_highdicom_sees_every_voxel_in_its_place(tmp_path, directions):
    import highdicom

    _, labels, path = written(tmp_path, directions)
    volume = highdicom.seg.segread(path).get_volume(combine_segments=True, rescale_fractional=False)
    to_ras = np.diag([-1.0, -1.0, 1.0, 1.0])
    assert same(np.asarray(volume.array), to_ras @ volume.affine, labels)


@pytest.mark.peer
@pytest.mark.parametrize("directions", EVERY, ids=IDS)
def test_dcmqi_sees_every_voxel_in_its_place(tmp_path, directions):
    if shutil.which("segimage2itkimage") is None:
        pytest.skip("segimage2itkimage is not on the path")
    _, labels, path = written(tmp_path, directions)
    (tmp_path / "out").mkdir()
    words = ["--inputDICOM", path, "--outputDirectory", tmp_path / "out", "-t", "nifti", "-p", "s"]
    subprocess.run(["segimage2itkimage", *words], check=True, capture_output=True)
    found = [nibabel.load(p) for p in sorted((tmp_path / "out").glob("*.nii*"))]
    merged = sum(np.asarray(one.dataobj).astype(bool) * number for number, one in enumerate(found, 1))
    assert same(merged, found[0].affine, labels)


@pytest.mark.slow
def test_a_hundred_segments_are_written_in_5_seconds_and_read_in_2(tmp_path):
    shape = (512, 512, 300)
    matrix = np.eye(4)
    matrix[:3, :3] = AXIAL * (0.7, 0.7, 1.0)
    grid = Grid(shape, matrix_to_tuples(matrix))
    write_ct(
        tmp_path / "ct",
        Image(np.zeros(shape, np.int16), grid, "ct"),
        SeriesHeader("a", "study", "frame", {"PatientID": "p"}),
    )
    image = read(tmp_path / "ct")
    array = np.zeros(shape, np.uint8)
    chance = np.random.default_rng(0)
    for label in range(1, 101):
        x, y, z = (chance.integers(0, n - 40) for n in shape)
        array[x : x + 40, y : y + 40, z : z + 40] = label
    labels = LabelMap(array, image.grid, {n: f"part {n}" for n in range(1, 101)})
    began = time.process_time()
    path = write_segmentation(tmp_path / "seg.dcm", labels, Source(tmp_path / "ct"))
    wrote = time.process_time()
    back = read_labels(path, reference_grid=image.grid)
    took = time.process_time() - wrote
    assert np.array_equal(back.array, labels.array)
    assert wrote - began < 5
    assert took < 2

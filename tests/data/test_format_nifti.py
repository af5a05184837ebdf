"""NIfTI: what is stored, where it lies, and files that lie about themselves."""

import gzip
import itertools
import tracemalloc

import nibabel
import numpy as np
import pytest

from medgrad.data import Grid, Image, LabelMap
from medgrad.data.formats import find_format, nifti, read, read_labels, write
from medgrad.data.grid import matrix_to_tuples
from medgrad.errors import FormatError

SIGNS = list(itertools.product((1, -1), repeat=3))
ORIENTATIONS = [(p, s) for p in itertools.permutations(range(3)) for s in SIGNS]


def oriented(order, signs, shape=(3, 4, 5)):
    matrix = np.eye(4)
    matrix[:3, :3] = np.eye(3)[:, list(order)] * np.array(signs) * [0.7, 1.1, 2.3]
    matrix[:3, 3] = [-30, 12, 7]
    return Grid(shape, matrix_to_tuples(matrix))


def saved(path, array, affine=None, **header):
    image = nibabel.Nifti1Image(array, np.diag([1.0, 2, 3, 1]) if affine is None else affine)
    for name, value in header.items():
        image.header[name] = value
    nibabel.save(image, path)
    return path


@pytest.mark.parametrize("order, signs", ORIENTATIONS)
def test_every_orientation_of_the_axes_comes_back(tmp_path, order, signs):
    grid = oriented(order, signs)
    array = np.arange(60, dtype=np.int16).reshape(3, 4, 5)
    back = read(write(tmp_path / "a.nii", Image(array, grid)))
    assert back.grid.is_close(grid, tolerance_mm=1e-4)
    assert (back.array == array).all()
    assert back.messages == ()


@pytest.mark.peer
@pytest.mark.parametrize("order, signs", ORIENTATIONS[::5])
def test_simpleitk_puts_a_written_file_at_the_same_place(tmp_path, order, signs):
    sitk = pytest.importorskip("SimpleITK")
    grid = oriented(order, signs)
    path = write(tmp_path / "a.nii.gz", Image(np.arange(60, dtype=np.int16).reshape(3, 4, 5), grid))
    theirs = sitk.ReadImage(str(path))
    assert theirs[2, 1, 3] == 20 * 2 + 5 * 1 + 3
    assert np.allclose(
        np.array(theirs.TransformIndexToPhysicalPoint((2, 1, 3))) * [-1, -1, 1], grid.to_world([2, 1, 3])
    )


@pytest.mark.parametrize("shear", [0.0, 0.3])
def test_an_oblique_or_sheared_grid_comes_back(tmp_path, shear):
    a, b = 0.3, 0.5
    turn = np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]])
    turn = turn @ np.array([[1, 0, 0], [0, np.cos(b), -np.sin(b)], [0, np.sin(b), np.cos(b)]])
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = turn @ np.array([[1, 0, 0], [0, 1, shear], [0, 0, 1]]) * [0.7, 0.8, 3], [5, -60, 12]
    grid = Grid((3, 4, 5), matrix_to_tuples(matrix))
    back = read(write(tmp_path / "a.nii.gz", Image(np.zeros((3, 4, 5), np.float32), grid)))
    assert back.grid.is_close(grid, tolerance_mm=1e-4)


@pytest.mark.parametrize("kind", [np.uint8, np.int16, np.uint16, np.int32, np.float32, np.float64])
def test_the_stored_kind_of_number_is_kept(tmp_path, kind):
    array = np.arange(24).reshape(2, 3, 4).astype(kind)
    back = read(saved(tmp_path / "a.nii.gz", array))
    assert back.array.dtype == kind
    assert (back.array == array).all()


def test_slope_and_intercept_are_applied(tmp_path):
    image = nibabel.Nifti1Image(np.arange(24, dtype=np.int16).reshape(2, 3, 4), np.eye(4))
    image.header.set_slope_inter(0.5, -3)
    nibabel.save(image, tmp_path / "a.nii")
    raw = bytearray((tmp_path / "a.nii").read_bytes())
    raw[112:120] = np.array([0.5, -3], "<f4").tobytes()
    (tmp_path / "a.nii").write_bytes(raw)
    back = read(tmp_path / "a.nii")
    assert back.array.dtype == np.float32
    assert np.allclose(back.array, nibabel.load(tmp_path / "a.nii").get_fdata())
    assert back.array.max() > 0


@pytest.mark.parametrize("slope", [None, 0.5])
def test_reading_takes_little_more_than_what_is_stored_and_what_is_given(tmp_path, slope, monkeypatch):
    stored = np.arange(4_000_000, dtype=np.int16).reshape(100, 200, 200)
    image = nibabel.Nifti1Image(stored, np.eye(4))
    nibabel.save(image, tmp_path / "a.nii")
    if slope:
        raw = bytearray((tmp_path / "a.nii").read_bytes())
        raw[112:120] = np.array([slope, -3], "<f4").tobytes()
        (tmp_path / "a.nii").write_bytes(raw)
    monkeypatch.setattr(nifti, "CHUNK_BYTES", 1 << 16)
    tracemalloc.start()
    back = read(tmp_path / "a.nii").array
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1.1 * (stored.nbytes + (back.nbytes if slope else 0))
    assert (back == (stored if slope is None else (stored * 0.5 - 3).astype(np.float32))).all()


def test_bytes_in_the_other_order_give_the_same_values(tmp_path):
    array = np.arange(24, dtype=np.int16).reshape(2, 3, 4)
    image = nibabel.Nifti1Image(array.astype(">i2"), np.eye(4), nibabel.Nifti1Header(endianness=">"))
    nibabel.save(image, tmp_path / "a.nii")
    back = read(tmp_path / "a.nii")
    assert (back.array == array).all()
    assert back.array.dtype.isnative


def test_a_fourth_axis_holds_channels_of_which_one_can_be_chosen(tmp_path):
    array = np.arange(120, dtype=np.int16).reshape(2, 3, 4, 5)
    path = saved(tmp_path / "a.nii.gz", array)
    assert (read(path).array == array).all()
    assert find_format(path).list_items(path) == ["0", "1", "2", "3", "4"]
    assert (find_format(path).read(path, "3").array == array[..., 3]).all()
    with pytest.raises(FormatError, match="no volume '5'"):
        find_format(path).read(path, "5")


def test_a_file_of_one_slice_stays_a_volume(tmp_path):
    assert read(saved(tmp_path / "a.nii", np.zeros((4, 5), np.uint8))).array.shape == (4, 5, 1)


def test_a_form_that_disagrees_is_told_and_the_sform_is_taken(tmp_path):
    image = nibabel.Nifti1Image(np.zeros((4, 5, 6), np.uint8), np.eye(4))
    image.set_sform(np.diag([2.0, 2, 2, 1]), 1)
    image.set_qform(np.eye(4), 1)
    nibabel.save(image, tmp_path / "a.nii")
    back = read(tmp_path / "a.nii")
    assert back.grid.spacing == (2, 2, 2)
    assert "disagree by up to 7.07 mm" in back.messages[0]


def test_a_qform_alone_is_taken(tmp_path):
    matrix = np.array([[0, 2.0, 0, 1], [-2, 0, 0, 2], [0, 0, 3, 3], [0, 0, 0, 1]])
    image = nibabel.Nifti1Image(np.zeros((4, 5, 6), np.uint8), None)
    image.set_qform(matrix, 1)
    nibabel.save(image, tmp_path / "a.nii")
    assert np.allclose(read(tmp_path / "a.nii").grid.matrix, matrix, atol=1e-5)


def test_no_form_at_all_is_told(tmp_path):
    image = nibabel.Nifti1Image(np.zeros((4, 5, 6), np.uint8), None)
    image.header.set_zooms((1, 2, 3))
    nibabel.save(image, tmp_path / "a.nii")
    back = read(tmp_path / "a.nii")
    assert back.grid.spacing == (1, 2, 3)
    assert "Neither sform nor qform" in back.messages[0]


def test_microns_become_mm_and_are_told(tmp_path):
    image = nibabel.Nifti1Image(np.zeros((4, 5, 6), np.uint8), np.diag([100.0, 200, 300, 1]))
    image.header.set_xyzt_units("micron")
    nibabel.save(image, tmp_path / "a.nii")
    back = read(tmp_path / "a.nii")
    assert np.allclose(back.grid.spacing, (0.1, 0.2, 0.3))
    assert "microns" in back.messages[0]


def test_a_tiny_packed_file_cannot_promise_gigabytes(tmp_path):
    header = nibabel.Nifti1Header()
    header.set_data_shape((2000, 2000, 2000))
    header.set_data_dtype(np.float32)
    path = tmp_path / "a.nii.gz"
    path.write_bytes(gzip.compress(header.binaryblock + b"\0" * 4))
    with pytest.raises(FormatError, match="promises 32,000,000,352 bytes") as caught:
        read(path)
    assert "\n" not in str(caught.value)


def test_a_promise_within_reach_is_checked_against_what_is_there(tmp_path):
    path = saved(tmp_path / "a.nii", np.zeros((50, 50, 50), np.uint8))
    raw = path.read_bytes()
    (tmp_path / "b.nii.gz").write_bytes(gzip.compress(raw[:-1000]))
    with pytest.raises(FormatError, match="promises 125,000 bytes of values but ends after 124,000"):
        read(tmp_path / "b.nii.gz")


@pytest.mark.parametrize("at", range(0, 348, 2))
def test_a_damaged_header_gives_an_answer_or_one_line(tmp_path, at):
    path = saved(tmp_path / "a.nii", np.zeros((4, 5, 6), np.int16))
    raw = bytearray(path.read_bytes())
    for damage in (b"\xff\xff", b"\0\0", b"\x7f\x80"):
        raw[at : at + 2] = damage
        path.write_bytes(raw)
        try:
            outcome = read(path).array.nbytes
        except FormatError as told:
            outcome = str(told).count("\n")
        assert outcome < 10_000


def test_labels_are_written_in_the_smallest_type_without_scaling(tmp_path):
    path = write(tmp_path / "a.nii.gz", LabelMap(np.array([[[0, 1, 255]]], np.int64), Grid.from_shape((1, 1, 3))))
    header = nibabel.load(path).header
    assert header.get_data_dtype() == np.uint8
    assert header.get_slope_inter() == (None, None)
    assert read_labels(path).array.tolist() == [[[0, 1, 255]]]


def test_whole_numbers_stored_as_floats_are_labels(tmp_path):
    labels = read_labels(saved(tmp_path / "a.nii", np.array([[[0, 2.0, 1]]], np.float32)))
    assert labels.array.tolist() == [[[0, 2, 1]]]


def test_fractions_are_no_labels(tmp_path):
    with pytest.raises(FormatError, match="not whole numbers"):
        read_labels(saved(tmp_path / "a.nii", np.array([[[0, 0.5, 1]]], np.float32)))


def test_a_flat_picture_comes_back_with_its_rows_and_columns(tmp_path):
    grid = Grid.from_shape((3, 5), spacing=(0.5, 0.25), origin=(7, -2))
    array = np.arange(15, dtype=np.uint8).reshape(3, 5)
    back = read(write(tmp_path / "a.nii.gz", Image(array, grid)))
    assert (back.array == array).all()
    assert back.grid.is_close(grid)
    assert back.grid.has_spacing


@pytest.mark.real
def test_a_challenge_file_lies_where_nibabel_puts_it(real_data):
    for path in sorted((real_data("seg3d_hippocampus") / "images").iterdir())[:5]:
        ours, theirs = read(path), nibabel.load(path)
        assert np.allclose(ours.grid.matrix, theirs.affine)
        assert (ours.array == np.asanyarray(theirs.dataobj)).all()

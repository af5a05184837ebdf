"""What every format keeps, whatever it is."""

import numpy as np
import pytest

from medgrad import registry
from medgrad.data import Grid, Image, LabelMap
from medgrad.data.formats import find_format, read, read_labels, write
from medgrad.errors import FormatError

NAMES = registry.names("data.formats")
WRITERS = [n for n in NAMES if registry.find("data.formats", n).write is not None]
FLAT, VOLUME = (
    Grid.from_shape((5, 7), has_spacing=False),
    Grid.from_shape((4, 5, 6), spacing=(0.5, 0.7, 2), origin=(-3, 4, 5)),
)


def suffix(name):
    """Give the ending that a format writes; a ``.npy`` has no place for a grid."""
    return next(s for s in registry.find("data.formats", name).suffixes if s != ".npy")


def holds(name, grid):
    return not (name == "raster" and grid.dims == 3) and not (name == "itk" and grid.dims == 2)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("content", [b"", b"\0" * 600, b"not an image at all " * 40, bytes(range(256)) * 8])
def test_no_format_claims_what_is_none(name, content, tmp_path):
    form = registry.find("data.formats", name)
    path = tmp_path / f"x{form.suffixes[0] if form.suffixes else ''}"
    path.write_bytes(content)
    assert not form.can_read(path)


@pytest.mark.parametrize("name", NAMES)
def test_no_format_claims_an_empty_folder_or_what_is_absent(name, tmp_path):
    form = registry.find("data.formats", name)
    assert not form.can_read(tmp_path)
    assert not form.can_read(tmp_path / "absent")


@pytest.mark.parametrize("name", NAMES)
def test_suffixes_are_lower_case_and_belong_to_one_format(name):
    mine = registry.find("data.formats", name).suffixes
    others = [s for n in NAMES if n != name for s in registry.find("data.formats", n).suffixes]
    assert all(s == s.lower() and s.startswith(".") for s in mine)
    assert not set(mine) & set(others) or name in ("dicom", "dicomseg", "rtstruct")


@pytest.mark.parametrize("name", WRITERS)
@pytest.mark.parametrize("grid", [FLAT, VOLUME], ids=["flat", "volume"])
def test_labels_come_back_as_they_were_written(name, grid, tmp_path):
    if not holds(name, grid):
        pytest.skip("this format does not hold such a grid")
    array = np.random.default_rng(1).integers(0, 300, grid.shape).astype(np.uint16)
    path = write(tmp_path / f"x{suffix(name)}", LabelMap(array, grid))
    back = read_labels(path)
    assert (back.array == array).all()
    assert back.array.dtype == np.uint16
    assert back.grid.shape == grid.shape
    assert back.grid.has_spacing == grid.has_spacing


@pytest.mark.parametrize("name", WRITERS)
def test_a_volume_lies_where_it_lay(name, tmp_path):
    if name in ("raster", "tiff"):
        pytest.skip("this format has no place for an affine")
    array = np.random.default_rng(1).integers(-900, 900, VOLUME.shape).astype(np.int16)
    back = read(write(tmp_path / f"x{suffix(name)}", Image(array, VOLUME)))
    assert back.grid.is_close(VOLUME, tolerance_mm=1e-4)
    assert back.array.dtype == np.int16
    assert (back.array == array).all()


@pytest.mark.parametrize("name", WRITERS)
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.98])
def test_a_file_that_is_cut_off_is_refused_in_one_line(name, share, tmp_path):
    grid = Grid.from_shape((50, 70)) if name == "raster" else VOLUME
    array = np.random.default_rng(1).integers(0, 255, grid.shape).astype(np.uint8)
    path = write(tmp_path / f"x{suffix(name)}", Image(array, grid))
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    with pytest.raises(FormatError) as caught:
        read(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", WRITERS)
def test_a_format_claims_what_it_writes_also_under_another_name(name, tmp_path):
    grid = FLAT if name == "raster" else VOLUME
    path = write(tmp_path / f"x{suffix(name)}", LabelMap(np.zeros(grid.shape, np.uint8), grid))
    other = path.rename(tmp_path / "nameless")
    assert find_format(other) is registry.find("data.formats", name)

"""Pictures, TIFF, arrays, MetaImage and NRRD."""

import struct
import zlib

import numpy as np
import pytest
import tifffile
from PIL import Image as Pillow

from medgrad.data import Grid, Image, LabelMap, Source
from medgrad.data.formats import find_format, read, read_labels, write
from medgrad.data.grid import matrix_to_tuples
from medgrad.errors import FormatError

RAMP = np.arange(15, dtype=np.uint8).reshape(3, 5)


def png(path, width, height, *, depth=8, colour=0, data=b""):
    """Write a PNG chunk by chunk, so that it can promise what it does not have."""

    def chunk(name, body):
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    head = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    chunks = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(data)) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunks)
    return path


def test_rows_come_first_and_nothing_is_measured(tmp_path):
    Pillow.fromarray(RAMP).save(tmp_path / "a.png")
    image = read(tmp_path / "a.png")
    assert (image.array == RAMP).all()
    assert (image.grid.shape, image.grid.has_spacing, image.modality) == ((3, 5), False, None)


def test_sixteen_bits_stay_sixteen(tmp_path):
    array = (RAMP.astype(np.uint16) + 1) * 4000
    Pillow.fromarray(array).save(tmp_path / "a.png")
    assert (read(tmp_path / "a.png").array == array).all()
    assert read(tmp_path / "a.png").array.dtype == np.uint16


def test_sixteen_bits_a_colour_stay_sixteen(tmp_path):
    pytest.importorskip("SimpleITK")
    array = (np.arange(18).reshape(2, 3, 3) * 3000).astype(">u2")
    rows = b"".join(b"\0" + row.tobytes() for row in array)
    image = read(png(tmp_path / "a.png", 3, 2, depth=16, colour=2, data=rows))
    assert (image.array == array).all()


def test_transparency_is_dropped_and_told(tmp_path):
    array = np.dstack([RAMP, RAMP, RAMP, np.where(RAMP < 3, 0, 255).astype(np.uint8)])
    Pillow.fromarray(array).save(tmp_path / "a.png")
    image = read(tmp_path / "a.png")
    assert (image.array == array[..., :3]).all()
    assert image.messages == ("The alpha channel was dropped; 20.0% of it was see-through.",)


def test_a_photograph_is_turned_upright_and_told(tmp_path):
    exif = Pillow.Exif()
    exif[0x0112] = 6
    Pillow.fromarray(RAMP * 10).save(tmp_path / "a.png", exif=exif)
    image = read(tmp_path / "a.png")
    assert (image.array == np.rot90(RAMP * 10, -1)).all()
    assert "EXIF orientation 6" in image.messages[0]


def test_the_labels_of_a_palette_are_its_numbers(tmp_path):
    picture = Pillow.frombytes("P", (5, 3), RAMP.tobytes())
    picture.putpalette([v for i in range(256) for v in (255 - i, i, (7 * i) % 256)])
    picture.save(tmp_path / "a.png")
    assert (read_labels(tmp_path / "a.png").array == RAMP).all()
    assert read(tmp_path / "a.png").array.shape == (3, 5, 3)


def test_a_grey_picture_with_a_palette_is_grey(tmp_path):
    Pillow.fromarray(np.where(RAMP > 6, 255, 0).astype(np.uint8)).save(tmp_path / "a.gif")
    assert set(np.unique(read_labels(tmp_path / "a.gif").array)) == {0, 255}


def test_a_colour_picture_is_no_mask(tmp_path):
    Pillow.fromarray(np.dstack([RAMP, RAMP, RAMP + 1])).save(tmp_path / "a.png")
    with pytest.raises(FormatError, match="a mask has one value"):
        read_labels(tmp_path / "a.png")


@pytest.mark.parametrize("width, height", [(60_000, 60_000), (20_000, 10_000), (2**31 - 1, 2**31 - 1)])
def test_a_bomb_is_refused_in_one_line(tmp_path, width, height):
    with pytest.raises(FormatError) as caught:
        read(png(tmp_path / "a.png", width, height))
    assert "\n" not in str(caught.value)


def test_labels_are_not_written_as_jpeg(tmp_path):
    with pytest.raises(FormatError, match=r"Use \.png"):
        write(tmp_path / "a.jpg", LabelMap(RAMP, Grid.from_shape((3, 5))))


def test_a_jpeg_is_read(tmp_path):
    Pillow.fromarray(np.full((30, 40, 3), 99, np.uint8)).save(tmp_path / "a.jpg")
    assert np.abs(read(tmp_path / "a.jpg").array.astype(int) - 99).max() <= 1


@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("compression", [None, "zlib"])
def test_a_tiff_keeps_its_kind_of_number(tmp_path, kind, compression):
    array = RAMP.astype(kind) * 7
    tifffile.imwrite(tmp_path / "a.tif", array, compression=compression)
    image = read(tmp_path / "a.tif")
    assert image.array.dtype == kind
    assert (image.array == array).all()


@pytest.mark.parametrize("compression", ["tiff_lzw", "jpeg"])
def test_a_tiff_that_needs_another_decoder_is_read(tmp_path, compression):
    Pillow.fromarray(np.full((32, 48, 3), 80, np.uint8)).save(tmp_path / "a.tif", compression=compression)
    image = read(tmp_path / "a.tif")
    assert image.array.shape == (32, 48, 3)
    assert np.abs(image.array.astype(int) - 80).max() <= 1


def test_pages_are_the_slices_of_a_volume(tmp_path):
    array = np.arange(2 * 3 * 5, dtype=np.uint16).reshape(2, 3, 5)
    tifffile.imwrite(tmp_path / "a.tif", array, photometric="minisblack")
    image = read(tmp_path / "a.tif")
    assert image.array.shape == (5, 3, 2)
    assert image.array[4, 2, 1] == array[1, 2, 4]
    assert image.grid.orientation == "LPS"


def test_the_sizes_of_imagej_are_read(tmp_path):
    array = np.zeros((2, 3, 5), np.uint16)
    about = {"spacing": 3.0, "unit": "um", "axes": "ZYX"}
    tifffile.imwrite(tmp_path / "a.tif", array, imagej=True, resolution=(2.0, 4.0), metadata=about)
    image = read(tmp_path / "a.tif")
    assert np.allclose(image.grid.spacing, (0.0005, 0.00025, 0.003))
    assert image.grid.has_spacing


def test_the_resolution_of_a_printer_is_no_measure(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", RAMP, resolution=(72, 72), resolutionunit="INCH")
    image = read(tmp_path / "a.tif")
    assert not image.grid.has_spacing
    assert "printer" in image.messages[0]


def test_one_row_of_an_archive_is_one_picture(tmp_path):
    images = np.arange(4 * 6 * 7, dtype=np.uint8).reshape(4, 6, 7)
    np.savez(tmp_path / "a.npz", train_images=images, val_images=images[:2] + 1)
    image = read(Source(tmp_path / "a.npz", "train_images:2"))
    assert (image.array == images[2]).all()
    assert find_format(tmp_path / "a.npz").list_items(tmp_path / "a.npz") == ["train_images", "val_images"]
    for item in ("train_images:4", "test_images:0", ""):
        with pytest.raises(FormatError):
            read(Source(tmp_path / "a.npz", item))


def test_a_row_can_be_changed_without_changing_the_next_read(tmp_path):
    np.savez(tmp_path / "a.npz", a=np.zeros((2, 6, 7), np.uint8))
    read(Source(tmp_path / "a.npz", "a:0")).array[:] = 9
    assert read(Source(tmp_path / "a.npz", "a:0")).array.max() == 0


@pytest.mark.parametrize(
    "shape, dims, channels", [((6, 7), 2, 1), ((6, 7, 3), 2, 3), ((6, 7, 8), 3, 1), ((6, 7, 8, 2), 3, 2)]
)
def test_the_axes_of_an_array_are_told_apart(tmp_path, shape, dims, channels):
    np.save(tmp_path / "a.npy", np.zeros(shape, np.float32))
    image = read(tmp_path / "a.npy")
    assert (image.grid.dims, image.channels, image.grid.has_spacing) == (dims, channels, False)


def test_objects_are_refused(tmp_path):
    np.save(tmp_path / "a.npy", np.array([{"a": 1}], object), allow_pickle=True)
    with pytest.raises(FormatError, match="plain numbers"):
        read(tmp_path / "a.npy")


def test_an_array_that_promises_more_than_there_is_is_refused(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros((6, 7), np.uint8))
    raw = (tmp_path / "a.npy").read_bytes().replace(b"'shape': (6, 7)", b"'shape': (9, 7)")
    (tmp_path / "a.npy").write_bytes(raw)
    with pytest.raises(FormatError):
        read(tmp_path / "a.npy")


@pytest.mark.parametrize("suffix", [".mha", ".mhd", ".nrrd", ".nhdr"])
def test_an_oblique_volume_of_vectors_comes_back(tmp_path, suffix):
    pytest.importorskip("SimpleITK")
    a = 0.4
    matrix = np.array([[np.cos(a), -np.sin(a), 0, 5], [np.sin(a), np.cos(a), 0, -6], [0, 0, -1, 7], [0, 0, 0, 1.0]])
    matrix[:3, :3] *= [0.5, 0.7, 3]
    grid = Grid((3, 4, 5), matrix_to_tuples(matrix))
    array = np.random.default_rng(2).normal(size=(3, 4, 5, 2)).astype(np.float32)
    back = read(write(tmp_path / f"a{suffix}", Image(array, grid)))
    assert (back.array == array).all()
    assert back.grid.is_close(grid, tolerance_mm=1e-4)


@pytest.mark.parametrize("suffix", [".mhd", ".nhdr"])
@pytest.mark.parametrize("name", ["/etc/passwd", "../a.raw", "absent.raw"])
def test_a_header_cannot_name_a_file_elsewhere(tmp_path, suffix, name):
    pytest.importorskip("SimpleITK")
    path = write(tmp_path / f"a{suffix}", Image(np.zeros((3, 4, 5), np.uint8), Grid.from_shape((3, 4, 5))))
    lines = path.read_text().splitlines()
    lines[-1 if suffix == ".mhd" else next(i for i, t in enumerate(lines) if t.startswith("data file"))] = (
        f"ElementDataFile = {name}" if suffix == ".mhd" else f"data file: {name}"
    )
    path.write_text("\n".join(lines) + "\n")
    with pytest.raises(FormatError, match="does not lie beside it"):
        read(path)


@pytest.mark.peer
def test_metaimage_lies_where_simpleitk_puts_it(tmp_path):
    sitk = pytest.importorskip("SimpleITK")
    theirs = sitk.GetImageFromArray(np.arange(60, dtype=np.int16).reshape(5, 4, 3))
    theirs.SetSpacing((0.5, 0.7, 3))
    theirs.SetOrigin((1, 2, 3))
    theirs.SetDirection((0, -1, 0, 1, 0, 0, 0, 0, 1))
    for name in ("a.mha", "a.nrrd"):
        sitk.WriteImage(theirs, str(tmp_path / name))
        ours = read(tmp_path / name)
        assert ours.array[2, 1, 4] == theirs[2, 1, 4]
        point = np.array(theirs.TransformIndexToPhysicalPoint((2, 1, 4))) * [-1, -1, 1]
        assert np.allclose(point, ours.grid.to_world([2, 1, 4]))


@pytest.mark.real
def test_photographs_and_masks_of_real_sets_are_read(real_data):
    pairs = [("seg2d_drive", ".png"), ("cls2d_busi", ".png"), ("det2d_bccd", ".jpg")]
    for name, suffix in pairs:
        paths = sorted(p for p in real_data(name).rglob("*") if p.suffix == suffix)[:10]
        for path in paths:
            assert read(path).array.ndim in (2, 3)
            assert (read(path).array == np.array(Pillow.open(path)))[..., :1].all() or "alpha" in str(
                read(path).messages
            )

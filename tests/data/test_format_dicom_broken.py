"""DICOM files broken on purpose: an answer that is right, or one line; and colours as they were packed."""

import io
import random
import struct

import numpy as np
import pytest
from made_dicom import made
from PIL import Image as Pillow
from pydicom.encaps import encapsulate

from medgrad.data.formats import list_series, read, read_stored_pixels
from medgrad.errors import FormatError

ARRAY = np.arange(24 * 20, dtype=np.uint16).reshape(24, 20)
JPEG, LOSSLESS_JPEG, JPEG_2000, RLE = (f"1.2.840.10008.1.2.{n}" for n in ("4.50", "4.70", "4.90", "5"))


def raw(**elements):
    file = io.BytesIO()
    made(ARRAY, **elements).save_as(file, enforce_file_format=True)
    return file.getvalue()


PLAIN = raw()
BODY, PIXELS = PLAIN.index(b"\x08\0\x16\0UI"), PLAIN.index(b"\xe0\x7f\x10\0OW")


def element(group, number, kind, value):
    value += b"\0" * (len(value) % 2)
    long = kind in (b"OB", b"OW", b"UN", b"SQ")
    length = b"\0\0" + struct.pack("<I", len(value)) if long else struct.pack("<H", len(value))
    return struct.pack("<HH", group, number) + kind + length + value


def before_pixels(extra):
    return PLAIN[:PIXELS] + extra + PLAIN[PIXELS:]


HARMLESS = {
    "charset that is none": PLAIN[:BODY] + element(8, 5, b"CS", b"GARBAGE") + PLAIN[BODY:],
    "charset that is a packer": PLAIN[:BODY] + element(8, 5, b"CS", b"zip") + PLAIN[BODY:],
    "200 charsets": PLAIN[:BODY] + element(8, 5, b"CS", b"\\".join([b"ISO 2022 IR 87"] * 200)) + PLAIN[BODY:],
    "name of no letters": PLAIN.replace(b"LO\x02\0P1", b"LO\x02\0\xff\xfe"),
    "private element without owner": before_pixels(element(0x29, 0x1010, b"UN", b"x" * 5000)),
    "private group of no number": before_pixels(element(0xFFFF, 0x1010, b"UN", b"x")),
    "no preamble": PLAIN[132:],
    "no meta": PLAIN[:132] + PLAIN[BODY:],
    "neither": PLAIN[BODY:],
    "meta of no length": PLAIN[:140] + b"\0\0\0\0" + PLAIN[144:],
    "meta of endless length": PLAIN[:140] + b"\xff\xff\xff\xff" + PLAIN[144:],
    "padding behind": PLAIN + element(0xFFFC, 0xFFFC, b"OB", b"\0" * 40),
    "other preamble": bytes(range(128)) + PLAIN[128:],
}
FATAL = {
    "nothing": b"",
    "preamble alone": PLAIN[:132],
    "other magic": PLAIN[:128] + b"DICN" + PLAIN[132:],
    "second height": before_pixels(element(0x28, 0x10, b"US", struct.pack("<H", 12))),
    "element of 2 GB": before_pixels(struct.pack("<HH", 0x29, 0x1010) + b"UN\0\0\xff\xff\xff\x7f"),
    "sequence without end": before_pixels(struct.pack("<HH", 0x29, 0x1010) + b"SQ\0\0\xff\xff\xff\xffjunkjunk"),
    "words for numbers": before_pixels(element(0x28, 0x1053, b"DS", b"steep")),
    "endless slope": before_pixels(element(0x28, 0x1053, b"DS", b"1e999")),
    "wrong pixels last": PLAIN + element(0x7FE0, 0x10, b"OW", b"\1\2"),
}


@pytest.mark.parametrize("name", HARMLESS)
def test_what_is_odd_but_harmless_leaves_the_pixels_right(tmp_path, name):
    path = tmp_path / "a.dcm"
    path.write_bytes(HARMLESS[name])
    assert (read_stored_pixels(path) == ARRAY).all()
    assert read(path).array.shape == (20, 24, 1)
    assert len(list_series(tmp_path)) == 1


@pytest.mark.parametrize("name", FATAL)
def test_what_cannot_be_read_is_one_line(tmp_path, name):
    path = tmp_path / "a.dcm"
    path.write_bytes(FATAL[name])
    with pytest.raises(FormatError) as caught:
        read(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def broken(source, draw):
    """Damage a file in one of a few ways."""
    damaged = bytearray(source)
    at = draw.randrange(len(source))
    match draw.randrange(4):
        case 0:
            damaged[at] ^= 1 << draw.randrange(8)
        case 1:
            del damaged[at : at + draw.choice([1, 2, 8, 64])]
        case 2:
            damaged[at:at] = bytes(draw.randrange(256) for _ in range(draw.choice([1, 2, 8])))
        case 3:
            damaged[at : at + 4] = draw.choice(
                [b"\xff\xff\xff\xff", b"\0\0\0\0", b"\xfe\xff\x00\xe0", b"\xfe\xff\xdd\xe0"]
            )
    return bytes(damaged)


@pytest.mark.parametrize("seed", range(10))
def test_damage_gives_an_answer_or_one_line(tmp_path, seed):
    draw = random.Random(seed)
    packed = made(ARRAY)
    packed.compress(RLE, generate_instance_uid=False)
    file = io.BytesIO()
    packed.save_as(file, enforce_file_format=True)
    path = tmp_path / "a.dcm"
    for source in (PLAIN[:PIXELS], file.getvalue()) * 15:
        path.write_bytes(broken(source, draw) + (PLAIN[PIXELS:] if len(source) == PIXELS else b""))
        try:
            outcome = str(read(path).array.shape)
        except FormatError as told:
            outcome = str(told)
            assert str(path) in outcome
        assert "\n" not in outcome


def packed(path, data, syntax, **elements):
    source = made(ARRAY, **elements)
    source.PixelData = encapsulate([data])
    source["PixelData"].is_undefined_length = True
    source.file_meta.TransferSyntaxUID = syntax
    source.save_as(path, enforce_file_format=True)
    return path


def jpeg(array, kind="JPEG", **settings):
    file = io.BytesIO()
    Pillow.fromarray(array).save(file, kind, **settings)
    return file.getvalue()


COLOURS = np.dstack([np.indices((64, 80))[1] * 3, np.indices((64, 80))[0] * 3, np.full((64, 80), 50)]).astype(np.uint8)
IN_COLOUR = {
    "Rows": 64,
    "Columns": 80,
    "SamplesPerPixel": 3,
    "PlanarConfiguration": 0,
    "BitsAllocated": 8,
    "BitsStored": 8,
    "HighBit": 7,
    "Modality": "ES",
    "ImagePositionPatient": None,
}


@pytest.mark.parametrize("subsampling", [0, 2])
@pytest.mark.parametrize("photometric", ["YBR_FULL_422", "YBR_FULL", "RGB"])
def test_the_colours_of_a_jpeg_come_back(tmp_path, photometric, subsampling):
    data = jpeg(COLOURS, quality=95, subsampling=subsampling)
    path = packed(tmp_path / "a.dcm", data, JPEG, **IN_COLOUR, PhotometricInterpretation=photometric)
    assert np.abs(read(path).array.astype(int) - COLOURS).mean() < 1


@pytest.mark.parametrize("photometric, mct", [("YBR_RCT", 1), ("RGB", 0)])
def test_the_colours_of_a_lossless_jpeg_2000_come_back_exactly(tmp_path, photometric, mct):
    data = jpeg(COLOURS, "JPEG2000", irreversible=False, mct=mct, no_jp2=True)
    path = packed(tmp_path / "a.dcm", data, JPEG_2000, **IN_COLOUR, PhotometricInterpretation=photometric)
    assert (read(path).array == COLOURS).all()


@pytest.mark.parametrize("syntax", [LOSSLESS_JPEG, JPEG_2000, RLE, "1.2.840.10008.1.2.4.80"])
def test_a_jpeg_under_another_syntax_is_refused(tmp_path, syntax):
    path = packed(tmp_path / "a.dcm", jpeg(COLOURS), syntax, **IN_COLOUR, PhotometricInterpretation="RGB")
    with pytest.raises(FormatError):
        read(path)


@pytest.mark.parametrize(
    "change", [{"Rows": 32}, {"Columns": 81}, {"SamplesPerPixel": 1}, {"NumberOfFrames": 2}], ids=str
)
def test_a_jpeg_of_another_size_is_refused(tmp_path, change):
    grey = {"PhotometricInterpretation": "MONOCHROME2"} if "SamplesPerPixel" in change else {}
    elements = {**IN_COLOUR, "PhotometricInterpretation": "RGB", **grey, **change}
    with pytest.raises(FormatError):
        read(packed(tmp_path / "a.dcm", jpeg(COLOURS), JPEG, **elements))


def test_a_decoder_that_breaks_down_is_one_line_and_the_next_file_is_read(tmp_path):
    start = b"\xff\xd8\xff\xc3\0\x0b\x10\0\x02\0\x02\x01\x01\x11\0\xff\xc4\0\x14\0\0\1" + b"\0" * 14 + b"\0"
    grey = {"Rows": 2, "Columns": 2}
    for damage in (
        b"\xff\xda\0\x08\x02\x01\0\x01\0\0\0\0",
        b"\xff\xda\0\x08\x01\x01\0\x09\0\0\0\0",
        b"\xff\xda\0\x03\0\0",
    ):
        path = packed(tmp_path / "a.dcm", start + damage + b"\xff\xd9", LOSSLESS_JPEG, **grey)
        with pytest.raises(FormatError) as caught:
            read(path)
        assert "\n" not in str(caught.value)
    good = packed(tmp_path / "b.dcm", jpeg(COLOURS), JPEG, **IN_COLOUR, PhotometricInterpretation="RGB")
    assert read(good).array.shape == (64, 80, 3)


def test_damage_within_a_jpeg_is_told(tmp_path):
    data = bytearray(jpeg(COLOURS, quality=95))
    del data[len(data) // 2 : len(data) - 2]
    path = packed(tmp_path / "a.dcm", bytes(data), JPEG, **IN_COLOUR, PhotometricInterpretation="RGB")
    with pytest.raises(FormatError, match="damaged"):
        read(path)

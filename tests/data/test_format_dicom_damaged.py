"""DICOM files that are cut, damaged, deflated or impossible: read right, or refused in one line."""

import struct
import zlib

import numpy as np
import pytest
from made_dicom import one_line, saved

from medgrad.data.dicom.pixels import parse_codestream
from medgrad.data.formats import read, read_stored_pixels
from medgrad.errors import FormatError


def test_a_file_without_preamble_and_meta_is_read(tmp_path):
    array = np.arange(12, dtype=np.int16).reshape(3, 4)
    path = saved(tmp_path / "a.dcm", array)
    raw = path.read_bytes()
    path.write_bytes(raw[raw.index(b"\x08\0\x16\0UI") :])
    assert (read_stored_pixels(path) == array).all()


@pytest.mark.parametrize(
    "change",
    [
        {"Rows": 0},
        {"Rows": 4},
        {"Rows": 2},
        {"Columns": 60000},
        {"NumberOfFrames": 999999},
        {"NumberOfFrames": 2},
        {"BitsAllocated": 12},
        {"BitsAllocated": 8},
        {"BitsStored": 17},
        {"HighBit": 3},
        {"SamplesPerPixel": 3},
        {"PhotometricInterpretation": "FUZZ"},
        {"PixelData": b""},
        {"PixelData": b"\0" * 12},
        {"PixelData": b"\0" * 48},
        {"PixelData": b"\0" * 24 + b"\1\2"},
        {"PixelSpacing": [0, 1]},
        {"ImageOrientationPatient": [1, 0, 0, 1, 0, 0]},
        {"RescaleSlope": 0},
    ],
    ids=str,
)
def test_a_header_that_cannot_be_is_refused_in_one_line(tmp_path, change):
    elements = {"BitsStored": 8, "HighBit": 7} if change == {"BitsAllocated": 8} else {}
    path = saved(tmp_path / "a.dcm", np.full((3, 4), 5, np.int16), **{**elements, **change})
    with pytest.raises(FormatError) as caught:
        read(path)
    assert one_line(caught, path)


@pytest.mark.parametrize(
    "syntax", ["1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.5", "1.2.3.99"]
)
def test_a_wrong_transfer_syntax_is_refused_in_one_line(tmp_path, syntax):
    path = saved(tmp_path / "a.dcm", np.zeros((3, 40), np.int16))
    raw = path.read_bytes()
    uid = syntax.encode() + b"\0" * (len(syntax) % 2)
    at = raw.index(b"\x02\0\x10\0UI")
    old = struct.unpack("<H", raw[at + 6 : at + 8])[0]
    path.write_bytes(raw[: at + 6] + struct.pack("<H", len(uid)) + uid + raw[at + 8 + old :])
    with pytest.raises(FormatError) as caught:
        read(path)
    assert one_line(caught, path)


def test_a_cut_file_never_gives_a_picture(tmp_path):
    path = saved(tmp_path / "a.dcm", np.arange(3000, dtype=np.int16).reshape(50, 60))
    raw = path.read_bytes()
    for n in range(0, len(raw), 97):
        path.write_bytes(raw[:n])
        with pytest.raises(FormatError) as caught:
            read(path)
        assert one_line(caught, path)


def test_sequences_nested_300_deep_are_refused_in_one_line(tmp_path):
    path = saved(tmp_path / "a.dcm", np.zeros((3, 4), np.int16))
    start = b"\x40\x00\x30\xa7SQ\0\0\xff\xff\xff\xff\xfe\xff\x00\xe0\xff\xff\xff\xff"
    end = b"\xfe\xff\x0d\xe0\0\0\0\0\xfe\xff\xdd\xe0\0\0\0\0"
    raw = path.read_bytes()
    at = raw.index(b"\xe0\x7f\x10\0OW")
    path.write_bytes(raw[:at] + start * 300 + end * 300 + raw[at:])
    with pytest.raises(FormatError, match="nested too deeply") as caught:
        read(path)
    assert one_line(caught, path)


def deflated(path, body):
    """Write a file whose body is packed as a whole."""
    saved(path, np.zeros((3, 4), np.int16))
    raw = path.read_bytes()
    at = raw.index(b"\x02\0\x10\0UI")
    uid = b"1.2.840.10008.1.2.1.99"
    meta = (
        raw[144:at]
        + raw[at : at + 6]
        + struct.pack("<H", len(uid))
        + uid
        + raw[at + 8 + 20 : raw.index(b"\x08\0\x16\0UI")]
    )
    packer = zlib.compressobj(9, wbits=-15)
    packed = packer.compress(body(raw[raw.index(b"\x08\0\x16\0UI") :])) + packer.flush()
    path.write_bytes(raw[:140] + struct.pack("<I", len(meta)) + meta + packed)
    return path


def test_a_deflated_file_is_read(tmp_path):
    path = deflated(tmp_path / "a.dcm", lambda body: body)
    assert (read_stored_pixels(path) == 0).all()


def test_a_deflated_bomb_is_refused_in_one_line(tmp_path):
    path = deflated(tmp_path / "a.dcm", lambda body: body + b"\0" * 2**25)
    assert path.stat().st_size < 100_000
    with pytest.raises(FormatError, match="unpacks to more than") as caught:
        read(path)
    assert one_line(caught, path)


def test_a_codestream_tells_its_own_size():
    jpeg = b"\xff\xd8\xff\xe0\0\x04ab\xff\xc3\0\x0b\x0c\x02\0\x01\0\x01\x01\x11\0"
    assert parse_codestream(jpeg) == ("lossless JPEG", 512, 256, 1, 12)
    size = struct.pack(">HHHIIIIIIIIH", 0xFF51, 41, 0, 256, 512, 0, 0, 256, 512, 0, 0, 1) + bytes([11, 1, 1])
    assert parse_codestream(b"\xff\x4f" + size) == ("JPEG 2000", 512, 256, 1, 12)

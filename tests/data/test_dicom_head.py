"""What a file says of itself is worked out once for slices that say the same, and anew for any that does not."""

import numpy as np
import pydicom
import pytest

from medgrad.data import Grid, Image
from medgrad.data.dicom import header as _dicom_head
from medgrad.data.dicom.header import read_header
from medgrad.data.dicom.write.ct import SeriesHeader, write_ct

CT = Grid((6, 6, 4), ((-1.0, 0, 0, 0), (0, -1.0, 0, 0), (0, 0, 2.0, 0), (0, 0, 0, 1)))


@pytest.fixture
def slices(tmp_path):
    told = SeriesHeader("series", "study", "frame", {"PatientID": "P"})
    return write_ct(tmp_path, Image(np.zeros(CT.shape), CT, "ct"), told)


def test_slices_that_say_the_same_share_what_is_known_of_them(slices):
    assert len({id(read_header(path)) for path in slices}) == 1


@pytest.mark.parametrize(
    ("name", "value", "field"),
    [
        ("PatientID", "Q", "patient"),
        ("StudyDate", "20200101", "study_date"),
        ("SeriesDescription", "other", "description"),
        ("NumberOfFrames", 1, None),
        ("ImageType", ["ORIGINAL", "PRIMARY", "LOCALIZER"], "is_localizer"),
    ],
)
def test_a_slice_that_says_otherwise_is_read_for_itself(slices, monkeypatch, name, value, field):
    before = read_header(slices[0])
    one = pydicom.dcmread(slices[1])
    setattr(one, name, value)
    one.save_as(slices[1])
    found = read_header(slices[1])
    monkeypatch.setattr(_dicom_head, "HEADER_BY_CONTENT", {})
    assert found == read_header(slices[1])
    assert (found == before) == (field is None)
    assert field is None or getattr(found, field) != getattr(before, field)


def test_what_is_known_of_slices_does_not_grow_without_end(slices, monkeypatch):
    monkeypatch.setattr(_dicom_head, "MOST_ALIKE", 2)
    monkeypatch.setattr(_dicom_head, "HEADER_BY_CONTENT", {})
    for number, path in enumerate(slices):
        one = pydicom.dcmread(path)
        one.PatientID = f"P{number}"
        one.save_as(path)
        assert read_header(path).patient == f"P{number}"
    assert len(_dicom_head.HEADER_BY_CONTENT) <= 2

"""``medgrad process`` on DICOM: a series gives a derived series, a file a file, and the record says so."""

import shutil

import made_dicom
import numpy as np
import pydicom
import pytest
from derived_scans import random_slices, scan
from dicom_answers import write_segmentation

import medgrad
from medgrad.data import LabelMap, Source
from medgrad.data.formats import read
from medgrad.errors import MedgradError

BLUR = "113088"


def test_process_answers_a_series_with_a_series_and_a_file_with_a_file(tmp_path):
    source = scan(tmp_path / "chest", random_slices(), slopes=[(1, -1024)] * 4)
    shutil.copy(tmp_path / "chest" / "00.dcm", tmp_path / "lone.dcm")
    found = medgrad.process("smooth", [source.path, tmp_path / "lone.dcm"], out=tmp_path / "out", settings=["fwhm=4"])
    assert [one["output"] for one in found["images"]] == [str(tmp_path / "out" / n) for n in ("chest", "lone.dcm")]
    assert "derived DICOM series of 4 files" in found["images"][0]["messages"][-1]
    before, after = read(source), read(tmp_path / "out" / "chest")
    assert after.grid.is_close(before.grid)
    assert after.array.std() < 0.7 * before.array.std()
    one = pydicom.dcmread(tmp_path / "out" / "lone.dcm")
    assert one.DerivationDescription.endswith("smooth fwhm=4")
    assert one.DerivationCodeSequence[0].CodeValue == BLUR


@pytest.mark.parametrize(
    ("step", "said"), [("resample", "grid was changed"), ("normalise", "'normalise' may change the unit")]
)
def test_process_writes_another_format_where_grid_or_unit_was_changed_and_says_so(tmp_path, step, said):
    source = scan(tmp_path / "chest", random_slices())
    settings = ["spacing=2,2,2"] if step == "resample" else []
    found = medgrad.process(step, [source.path], out=tmp_path / "out", settings=settings)["images"][0]
    assert found["output"] == str(tmp_path / "out" / "chest.nii.gz")
    assert said in found["messages"][-1]


def test_a_region_of_the_series_is_kept_to_and_one_of_another_series_is_refused(tmp_path):
    pytest.importorskip("highdicom", reason="the dicom extra is not installed")
    source = scan(tmp_path / "chest", random_slices(), FrameOfReferenceUID="1.2.7", SliceThickness="2.5")
    other = Source(
        made_dicom.series(tmp_path / "other", 4, shape=(7, 7), FrameOfReferenceUID="1.2.8", SliceThickness="2")
    )
    masks = {}
    for name, one in (("own", source), ("other", other)):
        grid = read(one).grid
        inside = np.zeros(grid.shape, np.uint8)
        inside[1:4, 1:4, 1:3] = 1
        masks[name] = write_segmentation(tmp_path / f"{name}.dcm", LabelMap(inside, grid, {1: "liver"}), one)
    medgrad.process("smooth", [source.path], out=tmp_path / "out", roi=masks["own"])
    is_same = read(tmp_path / "out" / "chest").array == read(source).array
    inside = np.zeros(is_same.shape, bool)
    inside[1:4, 1:4, 1:3] = True
    assert is_same[~inside].all()
    assert not is_same[inside].all()
    assert "a region alone" in pydicom.dcmread(tmp_path / "out" / "chest" / "0001.dcm").DerivationDescription
    with pytest.raises(MedgradError):
        medgrad.process("smooth", [source.path], out=tmp_path / "no", roi=masks["other"])


def test_a_lost_slice_of_a_series_is_filled_and_stays_dicom(tmp_path):
    pictures = random_slices()
    pictures[2] = 0 * pictures[2]
    source = scan(tmp_path / "chest", pictures)
    found = medgrad.process("fill", [source.path], out=tmp_path / "out")["images"][0]
    assert "derived DICOM series of 4 files" in found["messages"][-1]
    before, after = read(source).array, read(tmp_path / "out" / "chest").array
    (lost,) = map(int, found["chosen"][0]["image"][0]["slices"])
    np.testing.assert_array_equal(np.delete(after, lost, 2), np.delete(before, lost, 2))
    assert np.ptp(after[..., lost]) > 0 == np.ptp(before[..., lost])
    assert f"slices={lost}" in pydicom.dcmread(tmp_path / "out" / "chest" / "0001.dcm").DerivationDescription

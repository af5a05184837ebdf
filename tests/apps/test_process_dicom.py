"""``medgrad process`` on DICOM: a series gives a derived series, a file a file, and the record says so."""

import shutil

import pydicom
import pytest
from derived_scans import random_slices, scan

import medgrad
from medgrad.data.formats import read

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

"""Derived series as the tools of others see them; each test skips where its tool is not on the path."""

import re
import shutil
import subprocess

import numpy as np
import pydicom
import pytest
from derived_scans import changed, enhanced, noisy, pet, random_slices, scan
from dicom_answers import make_series

from medgrad.data import Source
from medgrad.data.dicom.write.derived import write_derived_series
from medgrad.data.formats import read
from medgrad.prepare import smooth

pytestmark = pytest.mark.peer
REAL = [
    "series_STS_002/CT/image",
    "series_STS_002/MR_T1/image",
    "series_STS_002/PET/image",
    "dcmqi/segmentations__23x38x3__multiframe__mf.dcm",
    "nema_wg04/CT1/CT1_RLE.dcm",
    "nema_wg04/CT1/CT1_J2KI.dcm",
    "nema_wg04/MR4/MR4_JPLL.dcm",
    "nema_wg04/MR4/MR4_JLSN.dcm",
    "nema_wg04/NM1/NM1_UNC.dcm",
    "pydicom/JPGExtended.dcm",
    "pydicom/MR_small.dcm",
]


def errors_of(path):
    """Give what dciodvfy calls errors in a file, each without its place, or skip if it is not there."""
    if shutil.which("dciodvfy") is None:
        pytest.skip("dciodvfy is not on the path")
    ended = subprocess.run(["dciodvfy", str(path)], capture_output=True, text=True, check=False)
    return [line for line in (ended.stdout + ended.stderr).splitlines() if line.startswith("Error")]


def without_place(line):
    return re.sub(r"\[\d+\]|\(0x.*?\)", "", line)


def files_of(source):
    return [source.path] if source.path.is_file() else sorted(source.path.glob("*"))


def assert_nothing_new(source, written):
    for before, after in zip(files_of(source), written, strict=True):
        known = {without_place(line) for line in errors_of(before)}
        assert {without_place(line) for line in errors_of(after)} <= known


@pytest.mark.parametrize("scale", [1, 20])
def test_dciodvfy_finds_no_error_in_a_derived_ct(tmp_path, scale):
    source, image = make_series(tmp_path / "ct")
    wanted = changed(image, image.array * scale)
    for path in write_derived_series(tmp_path / "out", wanted, source, derivation="smooth"):
        assert errors_of(path) == []


@pytest.mark.parametrize("kind", ["ct", "pet", "pet below zero", "enhanced"])
def test_dciodvfy_finds_nothing_new(tmp_path, kind):
    if kind == "ct":
        source = scan(tmp_path / "in", random_slices(), slopes=[(1, -1024)] * 4, PixelPaddingValue=0)
    elif kind == "enhanced":
        source = Source(enhanced(tmp_path / "x.dcm"))
    else:
        source = pet(tmp_path / "in")
    image = read(source)
    wanted = changed(image, noisy(image, 50) if kind == "pet below zero" else image.array / 2)
    assert_nothing_new(source, write_derived_series(tmp_path / "out", wanted, source, derivation="smooth"))


@pytest.mark.real
@pytest.mark.parametrize("name", REAL)
def test_real_scans_come_back_within_half_a_step_and_with_no_new_error(real_data, tmp_path, name):
    source = Source(real_data("dicom_zoo") / name)
    image = read(source)
    wanted, _ = smooth.THIS(3).changed(image)
    written = write_derived_series(tmp_path / "out", wanted, source, derivation="smooth fwhm=3")
    back = read(tmp_path / "out" if len(written) > 1 else written[0])
    assert back.grid.is_close(image.grid)
    assert back.tags.get("units") == image.tags.get("units")
    off = np.abs(back.array.astype(float) - wanted.array)
    files = [pydicom.dcmread(p) for p in written]
    steps = [float(f.get("RescaleSlope", 1)) for f in files]
    if len(files) > 1:
        steps = [steps[i] for i in np.argsort([float(f.ImagePositionPatient[2]) for f in files])]
    assert (off / np.array(steps)).max() <= 0.5 + 1e-3  # what is read is float32
    assert_nothing_new(source, written)

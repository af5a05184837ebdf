"""Images that were generated, or translated, written as DICOM: declared as synthetic, and read back as they were."""

import shutil
import subprocess

import numpy as np
import pydicom
import pytest
from dicom_answers import make_series

from medgrad.data import Grid, Image, SyntheticImage
from medgrad.data.dicom.write.derived import write_derived_series
from medgrad.data.dicom.write.equipment import Algorithm
from medgrad.data.dicom.write.synthetic import write_synthetic_series
from medgrad.data.formats import read
from medgrad.errors import FormatError


def made(shape, seed=0, channels=()):
    rng = np.random.default_rng(seed)
    grid = Grid.from_shape(shape, spacing=(0.8, 1.2, 3.0)[: len(shape)])
    return SyntheticImage(rng.normal(300, 90, (*shape, *channels)).astype(np.float32), grid)


def errors_of(path):
    """Give what dciodvfy calls errors in a file, or skip if it is not there."""
    if shutil.which("dciodvfy") is None:
        pytest.skip("dciodvfy is not on the path")
    ended = subprocess.run(["dciodvfy", str(path)], capture_output=True, text=True, check=False)
    return [line for line in (ended.stdout + ended.stderr).splitlines() if line.startswith("Error")]


@pytest.mark.parametrize("shape", [(12, 9), (12, 9, 4)])
def test_a_generated_image_comes_back_within_half_a_step(tmp_path, shape):
    image = made(shape)
    written = write_synthetic_series(tmp_path / "out", image, label="malignant", made_by=Algorithm("generation"))
    assert len(written) == (shape[2] if len(shape) == 3 else 1)
    back, header = read(tmp_path / "out" if len(shape) == 3 else written[0]), pydicom.dcmread(written[0])
    assert np.abs(back.array.reshape(shape) - image.array).max() <= float(header.RescaleSlope) / 2 * 1.001
    assert len(shape) == 2 or back.grid.is_close(image.grid)
    assert back.grid.spacing[:2] == pytest.approx(image.grid.spacing[:2])
    assert (header.SyntheticData, list(header.ImageType)) == ("YES", ["DERIVED", "SECONDARY"])
    assert (str(header.PatientName), header.ConversionType) == ("SYNTHETIC", "SYN")
    assert "malignant" in header.SeriesDescription
    assert header.ContributingEquipmentSequence[0].ManufacturerModelName == "generation"


def test_other_values_are_other_instances_of_another_patient(tmp_path):
    one, again, other = (
        pydicom.dcmread(write_synthetic_series(tmp_path / name, made((8, 8), seed))[0])
        for name, seed in (("a", 0), ("b", 0), ("c", 1))
    )
    assert one == again
    assert {one.SOPInstanceUID, one.StudyInstanceUID, one.PatientID}.isdisjoint(
        {other.SOPInstanceUID, other.StudyInstanceUID, other.PatientID}
    )


@pytest.mark.parametrize("shape", [(12, 9), (12, 9, 4)])
def test_dciodvfy_finds_no_error(tmp_path, shape):
    for path in write_synthetic_series(tmp_path / "out", made(shape)):
        assert errors_of(path) == []


def test_what_cannot_be_stored_is_refused(tmp_path):
    with pytest.raises(FormatError, match="has 2"):
        write_synthetic_series(tmp_path, made((8, 8), channels=(2,)))
    image = made((8, 8))
    image.array[0, 0] = np.nan
    with pytest.raises(FormatError, match="not finite"):
        write_synthetic_series(tmp_path, image)


def test_a_constant_image_comes_back(tmp_path):
    image = SyntheticImage(np.full((6, 6), -3.5, np.float32), Grid.from_shape((6, 6)))
    (path,) = write_synthetic_series(tmp_path, image)
    np.testing.assert_array_equal(read(path).array.reshape(6, 6), image.array)


def test_a_translated_image_is_no_ct(tmp_path):
    source, image = make_series(tmp_path / "ct")
    values = image.array.astype(np.float32)
    with pytest.raises(FormatError, match="has one of its own"):
        write_derived_series(tmp_path / "out", SyntheticImage(values, image.grid), source, derivation="flair of t1")
    plain = write_derived_series(tmp_path / "out", Image(values, image.grid), source, derivation="denoised")
    assert "SyntheticData" not in pydicom.dcmread(plain[0])


def test_a_translated_image_of_mr_is_declared_synthetic(tmp_path):
    source, image = make_series(tmp_path / "mr")
    for path in source.path.glob("*.dcm"):
        header = pydicom.dcmread(path)
        header.Modality = "MR"
        header.save_as(path)
    answer = SyntheticImage(image.array * np.float32(0.5), image.grid)
    written = write_derived_series(tmp_path / "out", answer, source, derivation="flair of t1")
    assert all(pydicom.dcmread(path).SyntheticData == "YES" for path in written)

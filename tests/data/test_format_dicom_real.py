"""DICOM files of scanners, of the standard's own committee, and files that were broken on purpose."""

import csv
import hashlib
import subprocess
import sys

import numpy as np
import pytest

from medgrad.data.formats import list_series, read, read_labels, read_stored_pixels
from medgrad.errors import FormatError

pytestmark = pytest.mark.real
LOSSY = ("JPEG Baseline", "JPEG Extended", "JPEG 2000 Image Compression", "JPEG-LS Lossy")


def manifest(zoo, *, broken):
    with (zoo / "manifest.csv").open() as file:
        return [r for r in csv.DictReader(file) if r["file"].startswith("malformed") == broken]


def is_lossless(row):
    return not row["transfer_syntax"].startswith(LOSSY) or "Lossless" in row["transfer_syntax"]


def test_stored_pixels_are_those_of_the_manifest(real_data):
    zoo = real_data("dicom_zoo")
    rows = [r for r in manifest(zoo, broken=False) if r["pixels"] == "ok"]
    lossless = [r for r in rows if is_lossless(r)]
    found = {r["file"]: hashlib.sha1(read_stored_pixels(zoo / r["file"]).tobytes()).hexdigest()[:16] for r in lossless}
    assert len(lossless) > 100
    assert found == {r["file"]: r["pixel_sha1_16"] for r in lossless}
    for row in rows:
        shape = read_stored_pixels(zoo / row["file"]).shape
        assert "x".join(map(str, shape)) == row["shape"]


def test_a_lossy_encoding_stays_near_the_plain_one(real_data):
    folder = real_data("dicom_zoo") / "nema_wg04"
    for path in sorted(p for p in folder.rglob("*") if p.stem.endswith(("J2KI", "JLSN", "JPLY"))):
        plain = read_stored_pixels(path.with_name(path.name[:4] + "UNC.dcm")).astype(float)
        assert np.abs(read_stored_pixels(path) - plain).mean() < 0.03 * np.ptp(plain), path.name


@pytest.mark.parametrize("kind, shape", [("CT", (161, 143, 48)), ("PET", (30, 27, 48)), ("MR_T1", (115, 90, 35))])
def test_contours_lie_on_the_tumour(real_data, kind, shape):
    folder = real_data("dicom_zoo") / "series_STS_002" / kind
    image = read(folder / "image")
    tumour = read_labels(folder / "mask" / "RS.dcm", reference_grid=image.grid)
    inside = tumour.array > 0
    assert image.array.shape == shape
    assert tumour.messages == ()
    assert 50 < inside.sum() * image.grid.voxel_volume_mm / 1000 < 57  # ml; the three were drawn on one tumour
    assert not any(inside.take([0, -1], axis=a).any() for a in range(3))
    if kind == "CT":
        assert 20 < image.array[inside].mean() < 90  # Hounsfield units of soft tissue
    if kind == "PET":
        assert image.array[inside].mean() > 5 * image.array[~inside].mean()


def test_the_three_tumours_lie_at_one_place(real_data):
    centres = []
    for kind in ("CT", "PET", "MR_T1"):
        folder = real_data("dicom_zoo") / "series_STS_002" / kind
        image = read(folder / "image")
        inside = read_labels(folder / "mask", reference_grid=image.grid).array > 0
        centres.append(image.grid.to_world(np.argwhere(inside)).mean(axis=0))
    assert np.abs(np.array(centres) - centres[0]).max() < 2  # mm


def test_each_set_of_contours_names_the_series_that_it_was_drawn_on(real_data):
    every = list_series(real_data("dicom_zoo") / "series_STS_002")
    images = {s.series_uid for s in every if s.has_images}
    assert sorted(s.n_frames for s in every if s.has_images) == [35, 48, 48]
    assert {s.referenced_series[0] for s in every if s.modality == "RTSTRUCT"} == images


@pytest.mark.parametrize("name", ["23x38x3", "24x38x3"])
def test_segments_lie_on_the_image_that_they_were_drawn_on(real_data, name):
    folder = real_data("dicom_zoo") / "dcmqi"
    image = read(folder / f"segmentations__{name}__multiframe__mf.dcm")
    path = folder / f"segmentations__{name}__seg__label.seg"
    drawn, own = read_labels(path, reference_grid=image.grid), read_labels(path)
    assert drawn.names == {1: "Liver"}
    assert (drawn.array == own.array).all()
    assert own.grid.is_close(image.grid)


@pytest.mark.peer
@pytest.mark.parametrize("kind", ["CT", "PET", "MR_T1"])
def test_a_series_lies_where_simpleitk_puts_it(real_data, kind):
    sitk = pytest.importorskip("SimpleITK")
    folder = real_data("dicom_zoo") / "series_STS_002" / kind / "image"
    ours = read(folder)
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(folder)))
    theirs = reader.Execute()
    assert np.allclose(sitk.GetArrayFromImage(theirs).transpose(2, 1, 0), ours.array, rtol=1e-5, atol=1e-4)
    for index in ([0, 0, 0], [s - 1 for s in ours.grid.shape]):
        point = np.array(theirs.TransformIndexToPhysicalPoint(index)) * [-1, -1, 1]
        assert np.allclose(point, ours.grid.to_world(index), atol=1e-2)


def test_broken_files_with_an_answer_show_what_pydicom_shows(real_data):
    zoo = real_data("dicom_zoo")
    refused = []
    for row in manifest(zoo, broken=True):
        try:
            array = read_stored_pixels(zoo / row["file"])
        except FormatError:
            refused.append(row)
        else:
            assert hashlib.sha1(array.tobytes()).hexdigest()[:16] == row["pixel_sha1_16"], row["file"]
    doubtful = [r["file"].split("_")[-2:] for r in refused if r["pixels"] == "ok"]
    assert len(doubtful) <= 6  # too many bytes, bits that cannot be, colours of one sample


CHILD = """
import resource, sys, time
from medgrad.data.formats import read, read_labels
from medgrad.errors import FormatError
resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30))
for path in sys.stdin.read().splitlines():
    start = time.process_time()
    try:
        read(path)
    except FormatError as told:
        assert path in str(told) and "\\n" not in str(told), told
    assert time.process_time() - start < 5, path
(most,) = [line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")]
print(int(most) // 1024)  # ru_maxrss would count what the starting process held
"""


def test_no_broken_file_crashes_hangs_or_eats_memory(real_data):
    zoo = real_data("dicom_zoo")
    files = "\n".join(str(zoo / r["file"]) for r in manifest(zoo, broken=True))
    done = subprocess.run([sys.executable, "-c", CHILD], input=files, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 1000  # MB

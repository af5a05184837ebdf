"""Answers in DICOM as the tools of others see them; each test skips where its tool is not on the path."""

import json
import re
import shutil
import subprocess

import nibabel
import numpy as np
import pydicom
import pytest
from dicom_answers import AXIAL, HASH, NAMES, chances_on, every_answer, labels_on, make_series

from medgrad.data import LabelMap, Source
from medgrad.data.dicom.write.rtstruct import write_rtstruct
from medgrad.data.formats import read, read_labels

pytest.importorskip("highdicom", reason="the dicom extra is not installed")
pytestmark = pytest.mark.peer

EVERY = ("dicomseg", "labelmap", "dicomseg-fractional", "map", "seg of sr", "sr", "capture", "rtstruct")
KNOWN = ("Information Object Not found", "SegmentNumber not monotonically increasing")
"""What an older dciodvfy says of label maps, which it does not know."""


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("answers")
    source, image = make_series(folder / "ct", AXIAL)
    return source, image, every_answer(folder, source, image)


def run(tool, *words):
    """Run a tool, or skip if it is not there."""
    if shutil.which(tool) is None:
        pytest.skip(f"{tool} is not on the path")
    ended = subprocess.run([tool, *map(str, words)], capture_output=True, text=True, check=False)
    return ended.returncode, ended.stdout + ended.stderr


@pytest.mark.parametrize("kind", EVERY)
def test_dciodvfy_finds_no_error(written, kind):
    _, said = run("dciodvfy", written[2][kind])
    errors = [line for line in said.splitlines() if line.startswith("Error")]
    if kind == "labelmap":
        errors = [line for line in errors if not any(known in line for known in KNOWN)]
    assert errors == []


@pytest.mark.parametrize("kind", EVERY)
def test_dcmtk_reads_every_element(written, kind):
    code, said = run("dcmdump", written[2][kind])
    assert code == 0
    assert not re.search(r"^[EF]:", said, re.MULTILINE)


def test_dcmtk_reads_the_tree_of_the_report(written):
    code, said = run("dsrdump", "+Pl", written[2]["sr"])
    assert code == 0
    assert "Imaging Measurement Report" in said
    assert all(name in said for name in NAMES)
    assert f"weights_sha256={HASH}" in said


def converted(tool, file, folder, *words):
    """Give what dcmqi makes of a file: arrays in the order of our axes, by the name of their file."""
    folder.mkdir(exist_ok=True)
    code, said = run(tool, "--inputDICOM", file, "--outputDirectory", folder, "-t", "nifti", *words)
    assert code == 0, said
    return {p.name: nibabel.load(p) for p in sorted(folder.glob("*.nii*"))}


def in_our_order(found, grid):
    """Give the values of a NIfTI image at the places of our grid."""
    places = np.moveaxis(np.indices(grid.shape), 0, -1).reshape(-1, 3)
    at = nibabel.affines.apply_affine(np.linalg.inv(found.affine), grid.to_world(places))
    assert np.abs(at - np.round(at)).max() < 1e-3
    return np.asarray(found.dataobj)[tuple(np.round(at).astype(int).T)].reshape(grid.shape)


def test_dcmqi_sees_the_same_segments_at_the_same_places(written, tmp_path):
    _, image, files = written
    found = converted("segimage2itkimage", files["dicomseg"], tmp_path / "out", "-p", "s")
    labels = labels_on(image.grid).array
    assert len(found) == len(NAMES)
    for number, one in enumerate(found.values(), 1):
        assert np.array_equal(in_our_order(one, image.grid) > 0, labels == number)
    told = json.loads((tmp_path / "out" / "s-meta.json").read_text())
    assert [s["SegmentLabel"] for group in told["segmentAttributes"] for s in group] == list(NAMES)


def test_dcmqi_sees_the_same_label_map(written, tmp_path):
    _, image, files = written
    (found,) = converted("segimage2itkimage", files["labelmap"], tmp_path / "out", "-p", "s").values()
    assert np.array_equal(in_our_order(found, image.grid), labels_on(image.grid).array)


def test_dcmqi_sees_the_same_chances(written, tmp_path):
    _, image, files = written
    (found,) = converted("paramap2itkimage", files["map"], tmp_path / "out").values()
    assert np.array_equal(in_our_order(found, image.grid), chances_on(image.grid).array[..., 0])


def test_dcmqi_reads_the_measurements(written, tmp_path):
    _, image, files = written
    code, said = run("tid1500reader", "--inputDICOM", files["sr"], "--outputMetadata", tmp_path / "a.json")
    assert code == 0, said
    groups = json.loads((tmp_path / "a.json").read_text())["Measurements"]
    assert [g["ReferencedSegment"] for g in groups] == [1, 2, 3]
    assert groups[0]["Laterality"]["CodeMeaning"] == "Left"
    assert groups[1]["FindingSite"]["CodeMeaning"] == "Liver"
    labels = labels_on(image.grid)
    volumes = [float(g["measurementItems"][0]["value"]) for g in groups]
    wanted = [(labels.array == n).sum() * image.grid.voxel_volume_mm for n in (1, 2, 3)]
    np.testing.assert_allclose(volumes, wanted, rtol=1e-6)
    assert groups[0]["measurementAlgorithmIdentification"]["AlgorithmParameters"] == [f"weights_sha256={HASH}"]


REAL = [
    "series_STS_002/CT/image",
    "series_STS_002/MR_T1/image",
    "dcmqi/segmentations__23x38x3__multiframe__mf.dcm",
    "pydicom/CT_small.dcm",
]


def balls_on(grid):
    """Draw two shells, each a label with a hole."""
    places = np.moveaxis(np.indices(grid.shape), 0, -1) / np.maximum(1, np.array(grid.shape) - 1)
    array = np.zeros(grid.shape, np.uint8)
    for number, x in ((1, 0.3), (2, 0.7)):
        far = np.sqrt(((places - (x, 0.5, 0.5)) ** 2)[..., :2].sum(axis=-1))
        array[(far < 0.18) & (far > 0.07)] = number
    return LabelMap(array, grid, {1: "liver", 2: "lesion"})


@pytest.mark.real
@pytest.mark.parametrize("name", REAL)
def test_outlines_on_real_scans_come_back(real_data, tmp_path, name):
    source = Source(real_data("dicom_zoo") / name)
    grid = read(source).grid
    labels = balls_on(grid)
    path = write_rtstruct(tmp_path / "a.dcm", labels, source)
    assert np.array_equal(read_labels(path, reference_grid=grid).array, labels.array)


@pytest.mark.real
@pytest.mark.parametrize("name", REAL)
def test_dciodvfy_finds_nothing_new_on_real_scans(real_data, tmp_path, name):
    source = Source(real_data("dicom_zoo") / name)
    image = read(source)
    first = source.path if source.path.is_file() else min(source.path.glob("*"))
    theirs = {told(line) for line in run("dciodvfy", first)[1].splitlines() if line.startswith("Error")}
    from dicom_answers import maker_in

    from medgrad.data.dicom.write.measurement_report import write_measurement_report
    from medgrad.data.dicom.write.parametric_map import write_parametric_maps
    from medgrad.data.dicom.write.seg import make_probability_seg, save_dataset

    maker, labels = maker_in(tmp_path), balls_on(image.grid)
    chances = chances_on(image.grid, ("liver",))
    files = [
        *write_measurement_report(tmp_path / "sr.dcm", labels, image, source, made_by=maker),
        *write_parametric_maps(tmp_path / "map.dcm", chances, source, made_by=maker),
        save_dataset(make_probability_seg(chances, source, made_by=maker), tmp_path / "chances.dcm"),
        write_rtstruct(tmp_path / "a.dcm", labels, source, made_by=maker),
    ]
    for path in files:
        errors = {told(line) for line in run("dciodvfy", path)[1].splitlines() if line.startswith("Error")}
        assert errors <= theirs, path.name
        assert pydicom.dcmread(path).PatientID == pydicom.dcmread(first).get("PatientID", "")


def told(line):
    """Give an error without the place where it was found."""
    return re.sub(r"\[.*?\]|<.*?>", "", line)

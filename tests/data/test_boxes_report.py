"""Boxes in a DICOM report: read back by highdicom they lie where they were, and say what they are."""

import numpy as np
import pytest

from medgrad.data import Boxes, Source
from medgrad.data.cohorts.phantom import Phantom, make_patient, write_series
from medgrad.data.dicom.write.box_report import write_box_report
from medgrad.data.formats import read
from medgrad.errors import FormatError

hd = pytest.importorskip("highdicom", reason="the dicom extra is not installed")


@pytest.fixture(scope="module")
def series(tmp_path_factory):
    folder = tmp_path_factory.mktemp("series")
    phantom = Phantom(patients=1, seed=0, shape=(24, 24, 12), spacing_mm=(6.0, 6.0, 8.0), dates=(1, 1))
    patient = make_patient(phantom, 0)
    write_series(folder, phantom, patient, patient.studies[0])
    return folder


def test_each_box_comes_back_where_it_was(series, tmp_path):
    image = read(series)
    middle = image.grid.to_world([[10, 10, 5], [14, 12, 7]])
    half = np.array([6, 9, 8])
    corners = np.concatenate([middle - half, middle + half], axis=1)
    boxes = Boxes(corners, np.array([0, 1]), np.array([0.75, 0.5]), {0: "nodule", 1: "lesion"})
    path = write_box_report(tmp_path / "found.dcm", boxes, image.grid, Source(series))
    report = hd.sr.srread(path)
    groups = report.content.get_planar_roi_measurement_groups()
    assert len(groups) == 2
    for group, box, sure, kind in zip(groups, corners, (75, 50), ("Nodule", "Lesion"), strict=True):
        region = group.roi
        points = region.value * [-1, -1, 1]
        np.testing.assert_allclose(points.min(axis=0)[:2], box[:2], atol=1e-3)
        np.testing.assert_allclose(points.max(axis=0)[:2], box[3:5], atol=1e-3)
        np.testing.assert_allclose(points[:, 2], (box[2] + box[5]) / 2, atol=1e-3)
        assert group.finding_type.meaning == kind
        values = [float(m.value) for m in group.get_measurements()]
        np.testing.assert_allclose(values, [12, 18, 16, sure], atol=1e-3)


def test_nothing_found_is_a_report_as_well(series, tmp_path):
    image = read(series)
    none = Boxes(np.zeros((0, 6)), np.zeros(0, np.int64), np.zeros(0), {0: "nodule"})
    report = hd.sr.srread(write_box_report(tmp_path / "none.dcm", none, image.grid, Source(series)))
    assert report.content.get_planar_roi_measurement_groups() == []


def test_a_picture_has_no_place_in_the_patient(tmp_path):
    from medgrad.data import Grid

    with pytest.raises(FormatError, match="no place in the patient"):
        write_box_report(
            tmp_path / "x.dcm", Boxes(np.zeros((0, 4)), np.zeros(0, int)), Grid.from_shape((4, 4)), Source(tmp_path)
        )

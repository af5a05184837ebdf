"""Layouts on real sets, which users do not have."""

from collections import Counter

import numpy as np
import pytest

from medgrad.data.cohorts.layouts import Hints, recognise
from medgrad.data.cohorts.split import split
from medgrad.errors import LayoutError

pytestmark = pytest.mark.real


def test_hippocampus(real_data):
    cohort = recognise(real_data("seg3d_hippocampus"))
    assert (cohort.task, cohort.dims, cohort.label_values) == ("segmentation", 3, (1, 2))
    assert Counter(e.split for e in cohort.entries) == {"train": 160, "val": 40}
    case = cohort.load_case(cohort.entries[0])
    assert case.images["image"].grid.is_close(case.truth.grid)


def test_drive_takes_the_field_of_view_for_the_region(real_data):
    cohort = recognise(real_data("seg2d_drive"))
    assert (cohort.labels, cohort.label_values, cohort.dims) == (("vessel",), (255,), 2)
    assert len(cohort.entries) == 20
    assert all(e.roi is not None and e.roi.path.parent.name == "fov" for e in cohort.entries)


def test_drive_by_hand(real_data):
    cohort = recognise(real_data("seg2d_drive"), Hints(truth="fov"))
    assert cohort.labels == ("fov",)


def test_dsb2018_numbers_its_nuclei(real_data):
    cohort = recognise(real_data("seg2d_dsb2018"))
    assert (cohort.label_values, cohort.dims) == ((), 2)
    assert Counter(e.split for e in cohort.entries) == {"train": 190, "val": 64}
    assert np.unique(cohort.load_case(cohort.entries[0]).truth.array).tolist() == [0, 1]


@pytest.mark.parametrize("name", ["cls2d_busi", "cls2d_busi/labels.csv"])
def test_busi_is_a_table(real_data, name):
    cohort = recognise(real_data(name))
    assert Counter(e.truth.top_class for e in cohort.entries) == {"benign": 437, "malignant": 210, "normal": 133}
    assert Counter(e.split for e in cohort.entries) == {"train": 546, "val": 78, "test": 156}
    assert cohort.load_case(cohort.entries[0]).grid.shape == (256, 256)


@pytest.mark.parametrize(
    ("name", "dims", "sides"),
    [
        ("breastmnist", 2, {"train": 546, "val": 78, "test": 156}),
        ("adrenalmnist3d_trainval", 3, {"train": 1188, "val": 98}),
        ("adrenalmnist3d_64_trainval", 3, {"train": 1188, "val": 98}),
    ],
)
def test_medmnist(real_data, name, dims, sides):
    cohort = recognise(real_data(f"cls_medmnist/{name}.npz"))
    assert (cohort.dims, cohort.labels) == (dims, ("0", "1"))
    assert Counter(e.split for e in cohort.entries) == sides
    assert cohort.load_case(cohort.entries[-1]).grid.dims == dims


def test_a_folder_of_archives_names_them(real_data):
    with pytest.raises(LayoutError, match=r"3 sets: .*breastmnist\.npz"):
        recognise(real_data("cls_medmnist"))


def test_sarcoma_series_with_their_contours(real_data):
    cohort = recognise(real_data("dicom_zoo/series_STS_002"))
    assert (cohort.layout, cohort.labels, cohort.patients) == ("dicom_tree", ("GTV_Mass",), ("STS_002",))
    volumes = {}
    for entry in cohort.entries:
        case = cohort.load_case(entry)
        volumes[case.images["image"].modality] = float(case.truth.array.sum()) * case.grid.voxel_volume_mm
    assert set(volumes) == {"ct", "mr", "pet"}
    assert max(volumes.values()) < 1.05 * min(volumes.values())  # one tumour, drawn on three images
    with pytest.raises(LayoutError, match="1 patient cannot be split"):
        split(cohort)


def test_boxes_are_not_taken_for_anything_else(real_data):
    with pytest.raises(LayoutError, match="is for detection and does not serve segmentation"):
        recognise(real_data("det2d_bccd"), Hints(task="segmentation"))

"""Looking at real sets, which users do not have: leaks that are there are found, and none that are not."""

import time

import pytest

from medgrad.data.cohorts.layouts import recognise
from medgrad.errors import LeakError
from medgrad.survey.dataset import check_leaks, look

pytestmark = pytest.mark.real


@pytest.mark.parametrize(
    "name", ["seg3d_hippocampus", "seg2d_drive", "seg2d_dsb2018", "cls_medmnist/adrenalmnist3d_trainval.npz"]
)
def test_sets_of_pictures_that_look_alike_do_not_leak(real_data, name):
    found = look(recognise(real_data(name)))
    assert found.leaks == found.near_duplicate_groups == ()
    assert not [f for f in found.issues if f.severity == "error"]
    check_leaks(found)


def test_busi_leaks_over_the_split_of_breastmnist(real_data):
    found = look(recognise(real_data("cls2d_busi")))
    kinds = [f.kind for f in found.leaks]
    assert kinds.count("pixels") == 1
    assert 80 <= kinds.count("alike") <= 130
    with pytest.raises(LeakError, match=r"'benign_433' \(train\) and 'malignant_145' \(test\)"):
        check_leaks(found)


def test_breastmnist_holds_the_same_leaks_at_28_pixels(real_data):
    """The rows of BreastMNIST are BUSI's images: what leaks there leaks here too, and nearly nothing else does."""
    table = recognise(real_data("cls2d_busi"))
    rows = {}
    for line in (real_data("cls2d_busi") / "labels.csv").read_text().splitlines()[1:]:
        file, _, side, index = line.split(",")[:4]
        rows[side, int(index)] = file.removesuffix(".jpg")
    large = {frozenset((f.first, f.second)) for f in look(table).leaks}
    small = {
        frozenset(rows[side, int(row)] for side, row in (i.split("_") for i in (f.first, f.second)))
        for f in look(recognise(real_data("cls_medmnist/breastmnist.npz"))).leaks
    }
    assert len(small & large) >= 0.8 * len(small | large)


def test_hippocampus_takes_seconds_and_is_seen_as_it_is(real_data):
    start = time.process_time()
    print_ = look(recognise(real_data("seg3d_hippocampus"))).statistics
    assert time.process_time() - start < 30
    assert (print_["modality"], print_["orientations"], print_["spacings_mm"]["max"]) == ("mr", {"RAS": 200}, [1, 1, 1])
    assert print_["labels"]["1"]["piece_size"]["median"] == pytest.approx(1715, rel=0.05)


def test_sarcoma_series(real_data):
    found = look(recognise(real_data("dicom_zoo/series_STS_002")))
    assert found.statistics["patients"] == 1
    assert not [f for f in found.issues if f.severity == "error"]


def test_the_scans_of_one_patient_in_one_folder_are_looked_at_without_a_crash(real_data):
    with pytest.raises(ValueError, match=r"sets of labels"):
        look(recognise(real_data("dicom_zoo")))

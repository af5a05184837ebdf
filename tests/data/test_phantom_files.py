"""The synthetic cohort as files is read back as what it was made of."""

import csv
import hashlib
from dataclasses import replace

import numpy as np
import pydicom
import pytest

from medgrad.data.cohorts.layouts import recognise
from medgrad.data.cohorts.phantom import LABELS, Phantom, make_patients, to_cases, write_cohort, write_lesions
from medgrad.data.cohorts.phantom.write import crop_around_lesion, resample_lesion_crop
from medgrad.data.formats import read
from medgrad.errors import FormatError

TINY = Phantom(patients=2, shape=(36, 36, 20), spacing_mm=(6.5, 6.5, 10.0), dates=(2, 2), diameters_mm=(20, 26))


def digests(folder):
    return {
        p.relative_to(folder).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest()
        for p in sorted(folder.rglob("*"))
        if p.is_file()
    }


@pytest.fixture(scope="module", params=["dicomseg", "nifti"])
def written(request, tmp_path_factory):
    if request.param == "dicomseg":
        pytest.importorskip("highdicom")
    folder = tmp_path_factory.mktemp(request.param)
    made = list(write_cohort(folder / "c", TINY, mask_format=request.param))
    return folder / "c", made, request.param


def test_the_folder_is_recognised_with_its_patients_and_dates(written):
    folder, _, masks = written
    cohort = recognise(folder)
    assert cohort.layout == {"dicomseg": "dicom_tree", "nifti": "image_table"}[masks]
    assert cohort.patients == ("P001", "P002")
    assert len(cohort.entries) == 4
    assert cohort.task == "segmentation"
    assert len(cohort.labels) == len(LABELS)


def test_every_case_comes_back_with_its_voxels_and_its_place(written):
    folder, made, _ = written
    cohort = recognise(folder)
    expected = [c for p in made for c in to_cases(p)]
    for entry, case in zip(cohort.entries, expected, strict=True):
        found = cohort.load_case(entry)
        assert found.patient == case.patient
        assert np.array_equal(found.images["image"].array, case.images["image"].array)
        assert found.grid.is_close(case.grid, tolerance_mm=1e-3)
        assert np.array_equal(found.truth.array, case.truth.array)


def test_names_dates_and_numbers_are_those_of_the_cases(tmp_path):
    pytest.importorskip("highdicom")
    made = list(write_cohort(tmp_path / "c", TINY, patient_numbers=[1]))
    cohort = recognise(tmp_path / "c")
    assert cohort.labels == LABELS
    assert [e.metadata["date"] for e in cohort.entries] == [f"{s.date:%Y%m%d}" for s in made[0].studies]
    tags = cohort.load_case(cohort.entries[0]).images["image"].tags
    assert (tags["sex"], tags["age"]) == (made[0].sex, f"{made[0].age_years:03}Y")
    assert tags["institution"] == made[0].site.name


@pytest.mark.parametrize("masks", ["dicomseg", "nifti"])
def test_the_same_seed_gives_the_same_bytes(tmp_path, masks):
    if masks == "dicomseg":
        pytest.importorskip("highdicom")
    for name in ("a", "b"):
        list(write_cohort(tmp_path / name, TINY, patient_numbers=[0], mask_format=masks))
    assert digests(tmp_path / "a") == digests(tmp_path / "b")


def test_no_two_files_share_a_uid(written):
    folder, _, _ = written
    uids = [pydicom.dcmread(p, stop_before_pixels=True).SOPInstanceUID for p in folder.rglob("*.dcm")]
    assert len(set(uids)) == len(uids) > 70


def test_dates_of_one_patient_are_studies_of_their_own(written):
    folder, made, _ = written
    for person in made:
        files = [next((folder / person.id / f"{s.date:%Y%m%d}" / "CT").glob("*.dcm")) for s in person.studies]
        heads = [pydicom.dcmread(f, stop_before_pixels=True) for f in files]
        assert len({h.PatientID for h in heads}) == 1
        assert len({h.StudyInstanceUID for h in heads}) == len(heads)
        assert len({h.StudyDate for h in heads}) == len(heads)


def test_the_table_lists_every_lesion_at_every_date(written):
    folder, made, _ = written
    with (folder / "lesions.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == sum(len(s.lesions) for p in made for s in p.studies)
    first = made[0].studies[0].lesions[0]
    assert float(rows[0]["volume_mm3"]) == pytest.approx(first.volume_mm3, abs=0.01)
    assert float(rows[0]["x_mm"]) == pytest.approx(first.centre_mm[0], abs=0.001)
    assert rows[0]["kind"] == first.kind


def test_the_deformation_is_written_where_it_is_asked_for(tmp_path):
    made = list(write_cohort(tmp_path, TINY, patient_numbers=[0], mask_format="nifti", deformations=True))
    study = made[0].studies[1]
    found = read(tmp_path / "P001" / f"{study.date:%Y%m%d}" / "deformation.nii.gz")
    assert np.allclose(found.array, study.deformation.field)
    assert found.grid.is_close(study.deformation.grid, tolerance_mm=1e-3)


def test_fewer_labels_can_be_asked_for(tmp_path):
    pytest.importorskip("highdicom")
    made = list(write_cohort(tmp_path, TINY, patient_numbers=[0], labels=("lesion", "lung")))
    cohort = recognise(tmp_path)
    assert cohort.labels == ("lesion", "lung")
    truth = cohort.load_case(cohort.entries[0]).truth.array
    assert np.array_equal(truth == 2, made[0].studies[0].labels.array == LABELS.index("lung") + 1)


def test_an_unknown_label_is_named(tmp_path):
    with pytest.raises(ValueError, match="'pancreas'"):
        list(write_cohort(tmp_path, TINY, labels=("pancreas",), mask_format="nifti"))


def test_pictures_of_lesions_are_a_set_of_two_classes_by_patient(tmp_path):
    made = list(make_patients(TINY))
    n = write_lesions(tmp_path, made)
    cohort = recognise(tmp_path)
    assert cohort.task == "classification"
    assert cohort.labels == ("benign", "malignant")
    assert len(cohort.entries) == n == sum(len(s.lesions) for p in made for s in p.studies)
    assert set(cohort.patients) == {"P001", "P002"}


def test_a_crop_is_the_scan_around_its_lesion():
    study = next(make_patients(TINY)).studies[0]
    lesion = study.lesions[0]
    crop = crop_around_lesion(study, lesion, side_mm=60)
    middle = crop.grid.to_world((np.array(crop.grid.shape) - 1) / 2)
    assert np.abs(middle - lesion.centre_mm).max() <= max(crop.grid.spacing)
    at = np.round(study.image.grid.to_index(crop.grid.to_world((2, 2, 2)))).astype(int)
    inside = ((at >= 0) & (at < study.image.grid.shape)).all()
    assert not inside or crop.array[2, 2, 2] == study.image.array[tuple(at)]


def test_a_picture_of_a_lesion_is_centred_on_it_and_holds_what_the_scan_shows():
    study = next(make_patients(replace(TINY, shape=(60, 60, 44), spacing_mm=(4.0, 4.0, 4.0)))).studies[0]
    for lesion in study.lesions:
        found = resample_lesion_crop(study, lesion, side_mm=40, n_voxels=10)
        assert found.grid.shape == (10, 10, 10)
        assert np.allclose(found.grid.to_world((4.5, 4.5, 4.5)), lesion.centre_mm)
        same = resample_lesion_crop(study, lesion, side_mm=40, n_voxels=10, window_hu=(-100, 180))
        assert np.array_equal(same.array, np.clip(found.array, -100, 180))
        near = crop_around_lesion(study, lesion, side_mm=40)
        assert found.array.mean() == pytest.approx(near.array.mean(), abs=60)


@pytest.mark.peer
def test_simpleitk_reads_the_series_at_the_same_place(written):
    sitk = pytest.importorskip("SimpleITK")
    folder, made, _ = written
    study = made[0].studies[1]
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(folder / "P001" / f"{study.date:%Y%m%d}" / "CT")))
    seen = reader.Execute()
    assert np.array_equal(sitk.GetArrayFromImage(seen).transpose(2, 1, 0), study.image.array)
    lps = np.array(seen.TransformContinuousIndexToPhysicalPoint((3.0, 2.0, 1.0)))
    assert np.allclose(lps * (-1, -1, 1), study.image.grid.to_world((3, 2, 1)), atol=1e-3)


def test_labels_are_no_image(written):
    folder, _, masks = written
    if masks == "dicomseg":
        with pytest.raises(FormatError):
            read(next(folder.rglob("truth.dcm")))

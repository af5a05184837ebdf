"""DICOM sets: series with labels drawn on them, and single files whose tags say whose they are."""

from pathlib import Path

import numpy as np
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRLittleEndian

from medgrad.data.cohorts.layouts import Hints, recognise
from medgrad.errors import LayoutError


def uid(*parts: int) -> str:
    return ".".join(["1.2.3", *map(str, parts)])


def saved(data: Dataset, path: Path, kind: str, number: str) -> None:
    data.file_meta = FileMetaDataset()
    data.file_meta.MediaStorageSOPClassUID = data.SOPClassUID = kind
    data.SOPInstanceUID = data.file_meta.MediaStorageSOPInstanceUID = number
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    path.parent.mkdir(parents=True, exist_ok=True)
    data.save_as(path, enforce_file_format=True)


def picture(path: Path, patient: str, p: int, k: int, modality: str = "CT") -> None:
    data = Dataset()
    data.PatientID, data.StudyInstanceUID, data.SeriesInstanceUID = patient, uid(p, 1), uid(p, 2)
    data.FrameOfReferenceUID, data.Modality, data.StudyDate = uid(p, 3), modality, f"2020010{p + 1}"
    data.Rows = data.Columns = 16
    data.PixelSpacing, data.SliceThickness = [1, 1], 2
    data.ImageOrientationPatient, data.ImagePositionPatient = [1, 0, 0, 0, 1, 0], [0, 0, 2 * k]
    data.InstanceNumber, data.SamplesPerPixel, data.PhotometricInterpretation = k + 1, 1, "MONOCHROME2"
    data.BitsAllocated = data.BitsStored = 16
    data.HighBit, data.PixelRepresentation, data.RescaleSlope, data.RescaleIntercept = 15, 1, 1, -1024
    data.PixelData = np.random.default_rng(100 * p + k).integers(0, 2000, (16, 16), dtype=np.int16).tobytes()
    saved(data, path, "1.2.840.10008.5.1.4.1.1.2", uid(p, 4, k))


def contours(path: Path, patient: str, p: int, regions: dict[int, str], *, names_series: bool = True) -> None:
    data, study, one, frame = Dataset(), Dataset(), Dataset(), Dataset()
    number = sum(path.name.encode())
    data.PatientID, data.StudyInstanceUID, data.SeriesInstanceUID = patient, uid(p, 1), uid(p, 5, number)
    data.Modality, data.StudyDate, data.FrameOfReferenceUID = "RTSTRUCT", f"2020010{p + 1}", uid(p, 3)
    one.SeriesInstanceUID = uid(p, 2)
    study.RTReferencedSeriesSequence = Sequence([one])
    frame.FrameOfReferenceUID = uid(p, 3)
    if names_series:
        frame.RTReferencedStudySequence = Sequence([study])
    named, drawn = [], []
    for k, (roi, name) in enumerate(regions.items()):
        about, shape, contour = Dataset(), Dataset(), Dataset()
        about.ROINumber, about.ROIName, about.ReferencedFrameOfReferenceUID = roi, name, uid(p, 3)
        contour.ContourGeometricType, contour.NumberOfContourPoints = "CLOSED_PLANAR", 4
        contour.ContourData = [1, 1, 2 * k, 6, 1, 2 * k, 6, 6, 2 * k, 1, 6, 2 * k]
        shape.ReferencedROINumber, shape.ContourSequence = roi, Sequence([contour])
        named.append(about)
        drawn.append(shape)
    data.ReferencedFrameOfReferenceSequence = Sequence([frame])
    data.StructureSetROISequence, data.ROIContourSequence = Sequence(named), Sequence(drawn)
    saved(data, path, "1.2.840.10008.5.1.4.1.1.481.3", uid(p, 6, number))


def study(root: Path, p: int, regions: dict[int, str], patient: str | None = None) -> None:
    for k in range(4):
        picture(root / f"p{p}" / f"ct{k}", patient or f"P{p}", p, k)
    contours(root / f"p{p}" / "rs", patient or f"P{p}", p, regions)


def test_regions_are_matched_by_name_whatever_their_numbers(tmp_path):
    study(tmp_path, 0, {3: "Liver", 8: "GTV"})
    study(tmp_path, 1, {1: "gtv", 2: "LIVER"})
    cohort = recognise(tmp_path)
    assert cohort.labels == ("Liver", "GTV")
    held = [
        [int(v) for v in np.unique(s) if v] for s in np.moveaxis(cohort.load_case(cohort.entries[1]).truth.array, 2, 0)
    ]
    assert held == [[2], [1], [], []]  # the first slice holds what this file calls 1, the tumour


def test_two_files_of_contours_with_other_regions_are_one_truth(tmp_path):
    for p in range(2):
        study(tmp_path, p, {1: "liver"})
        contours(tmp_path / f"p{p}" / "more", f"P{p}", p, {4: "other", 5: "tumour"})
    cohort = recognise(tmp_path)
    assert set(cohort.labels) == {"other", "tumour", "liver"}
    drawn = cohort.load_case(cohort.entries[0]).truth
    assert {drawn.names[v] for v in np.unique(drawn.array).tolist() if v} == {"other", "tumour"}  # laid over the liver


def test_two_files_of_the_same_region_are_a_doubt_that_a_hint_settles(tmp_path):
    for p in range(2):
        study(tmp_path, p, {1: "liver"})
        contours(tmp_path / f"p{p}" / "second_reader", f"P{p}", p, {1: "liver"})
    with pytest.raises(LayoutError, match=r"2 sets of labels.*second_reader.*--truth"):
        recognise(tmp_path)
    cohort = recognise(tmp_path, Hints(truth="second_reader"))
    assert {e.truth.path.name for e in cohort.entries} == {"second_reader"}


def test_one_region_of_several_can_be_asked_for(tmp_path):
    for p in range(2):
        study(tmp_path, p, {1: "liver", 2: "cord"})
    cohort = recognise(tmp_path, Hints(truth="cord"))
    assert cohort.labels == ("cord",)
    assert set(np.unique(cohort.load_case(cohort.entries[0]).truth.array)) == {0, 1}


def test_contours_that_name_no_series_go_with_the_only_one_of_their_frame(tmp_path):
    for p in range(2):
        for k in range(3):
            picture(tmp_path / f"p{p}" / f"ct{k}", f"P{p}", p, k)
        contours(tmp_path / f"p{p}" / "rs", f"P{p}", p, {1: "liver"}, names_series=False)
    assert len(recognise(tmp_path).entries) == 2


def test_a_series_without_contours_is_told(tmp_path):
    for p in range(3):
        study(tmp_path, p, {1: "liver"})
    (tmp_path / "p2" / "rs").unlink()
    cohort = recognise(tmp_path)
    assert [e.patient for e in cohort.entries] == ["P0", "P1"]
    assert any(t.startswith("1 image series") for t in cohort.messages)


def test_a_patient_name_that_all_share_gives_way_to_the_folders(tmp_path):
    for p in range(3):
        study(tmp_path, p, {1: "liver"}, patient="ANON")
    cohort = recognise(tmp_path)
    assert cohort.patients == ("p0", "p1", "p2")
    assert "does not tell them apart" in cohort.patients_source


def test_tags_say_whose_single_files_are(tmp_path):
    for i in range(8):
        picture(tmp_path / ("ill" if i % 2 else "well") / f"{i}.dcm", f"P{i // 4}", i, 0)
    cohort = recognise(tmp_path)
    assert (cohort.layout, cohort.patients) == ("class_folders", ("P0", "P1"))
    assert "PatientID" in cohort.patients_source

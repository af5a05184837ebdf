"""Answers written as DICOM SEG lie on the series that they were drawn on, whichever way it lies."""

import numpy as np
import pydicom
import pytest
from dicom_answers import write_segmentation
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import EnhancedCTImageStorage, ExplicitVRLittleEndian, ImplicitVRLittleEndian, generate_uid

from medgrad.data import Grid, Image, LabelMap, Source
from medgrad.data.dicom.write.ct import SeriesHeader, uid_from_words, write_ct
from medgrad.data.dicom.write.equipment import Algorithm
from medgrad.data.dicom.write.seg import make_seg, make_segmentation
from medgrad.data.dicom.write.snomed import category_and_type
from medgrad.data.dicom.write.source_slices import load_slices
from medgrad.data.formats import read, read_labels
from medgrad.data.grid import matrix_to_tuples
from medgrad.errors import FormatError, PackageNotInstalled

pytest.importorskip("highdicom")

AXIAL = np.diag([-1.0, -1.0, 1.0])
SAGITTAL = np.array([[0.0, 0, 1], [-1, 0, 0], [0, -1, 0]])  # columns to the back, rows to the feet
CORONAL = np.array([[-1.0, 0, 0], [0, 0, -1], [0, -1, 0]])


def turned(degrees):
    a = np.radians(degrees)
    return np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]]) @ AXIAL


def series(folder, directions=AXIAL, shape=(9, 7, 5), spacing=(0.7, 1.3, 2.5), key="a", **elements):
    matrix = np.eye(4)
    matrix[:3, :3] = directions * np.array(spacing)
    matrix[:3, 3] = (12.5, -40.25, 7.0)
    array = np.random.default_rng(0).integers(-900, 900, shape).astype(np.int16)
    grid = Grid(shape, matrix_to_tuples(matrix))
    about = {"PatientID": "p", "StudyDate": "20240102", **elements}
    write_ct(folder, Image(array, grid, "ct"), SeriesHeader(key, "study", "frame", about))
    return array, grid


def some_labels(grid, names=("liver", "lesion")):
    array = np.random.default_rng(1).integers(0, len(names) + 1, grid.shape).astype(np.uint8)
    return LabelMap(array, grid, dict(enumerate(names, 1)))


@pytest.mark.parametrize(
    "directions", [AXIAL, SAGITTAL, CORONAL, turned(20)], ids=["axial", "sagittal", "coronal", "20"]
)
def test_no_voxel_changes_whichever_way_the_slices_lie(tmp_path, directions):
    array, grid = series(tmp_path / "ct", directions)
    image = read(tmp_path / "ct")
    assert np.array_equal(image.array, array)
    assert image.grid.is_close(grid, tolerance_mm=1e-3)
    labels = some_labels(image.grid)
    path = write_segmentation(tmp_path / "a.dcm", labels, Source(tmp_path / "ct"))
    back = read_labels(path, reference_grid=image.grid)
    assert np.array_equal(back.array, labels.array)
    assert dict(back.names) == labels.names
    own = read_labels(path)
    assert own.grid.is_close(image.grid)
    assert np.array_equal(own.array, labels.array)


@pytest.mark.parametrize("empty", [(), (2,)], ids=["every slice", "one empty"])
@pytest.mark.parametrize("marked", [(1,), (1, 2), (3,), (1, 3, 5)], ids=str)
def test_the_frames_are_those_that_highdicom_makes_one_by_one(tmp_path, marked, empty):
    series(tmp_path / "ct", SAGITTAL)
    source = Source(tmp_path / "ct")
    labels = some_labels(read(tmp_path / "ct").grid, [f"part {n}" for n in range(1, max(marked) + 1)])
    array = np.where(np.isin(labels.array, marked), labels.array, 0)
    array[..., list(empty)] = 0
    labels = LabelMap(array, labels.grid, labels.names)
    slices = load_slices(labels.grid, source)
    plain = make_segmentation(
        np.stack([s.sample(array) for s in slices]),
        slices,
        labels.names,
        source,
        segment_kind="BINARY",
        made_by=Algorithm(),
        key="k",
    )
    found = []
    for name, made in (("a", make_seg(labels, source, key="k")), ("b", plain)):
        made.save_as(tmp_path / name, enforce_file_format=True)
        found.append(pydicom.dcmread(tmp_path / name))
        found[-1].PixelData = np.packbits(found[-1].pixel_array).tobytes()  # what fills the last byte is anybody's
    assert {e.tag for e in found[0]} == {e.tag for e in found[1]}
    assert [e for e in found[0] if found[1][e.tag] != e] == []


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
@pytest.mark.parametrize("undefined", [False, True])
def test_no_voxel_changes_however_the_frames_are_told(tmp_path, syntax, undefined):
    series(tmp_path / "ct")
    labels = some_labels(read(tmp_path / "ct").grid)
    path = write_segmentation(tmp_path / "a.dcm", labels, Source(tmp_path / "ct"))
    told = pydicom.dcmread(path)
    told.file_meta.TransferSyntaxUID = syntax
    told.PerFrameFunctionalGroupsSequence[0].FrameContentSequence.is_undefined_length = undefined
    told["PerFrameFunctionalGroupsSequence"].is_undefined_length = undefined
    told.save_as(tmp_path / "b.dcm", implicit_vr=syntax.is_implicit_VR, little_endian=True)
    back = read_labels(tmp_path / "b.dcm", reference_grid=labels.grid)
    assert np.array_equal(back.array, labels.array)


def test_labels_on_a_turned_grid_come_to_the_same_places(tmp_path):
    series(tmp_path / "ct")
    image = read(tmp_path / "ct")
    labels = some_labels(image.grid)
    matrix = image.grid.matrix.copy()
    matrix[:3, 3] += matrix[:3, 0] * (image.grid.shape[0] - 1)
    matrix[:3, 0] *= -1
    flipped = LabelMap(labels.array[::-1], Grid(image.grid.shape, matrix_to_tuples(matrix)), labels.names)
    path = write_segmentation(tmp_path / "a.dcm", flipped, Source(tmp_path / "ct"))
    assert np.array_equal(read_labels(path, reference_grid=image.grid).array, labels.array)


def test_it_names_its_series_its_segments_and_its_maker(tmp_path):
    series(tmp_path / "ct")
    grid = read(tmp_path / "ct").grid
    path = write_segmentation(tmp_path / "a.dcm", some_labels(grid, ("liver", "what is it")), Source(tmp_path / "ct"))
    found = pydicom.dcmread(path)
    assert found.ReferencedSeriesSequence[0].SeriesInstanceUID == uid_from_words("a")
    assert found.StudyInstanceUID == uid_from_words("study")
    assert found.FrameOfReferenceUID == uid_from_words("frame")
    liver, unknown = found.SegmentSequence
    assert liver.SegmentLabel == "liver"
    assert liver.SegmentedPropertyTypeCodeSequence[0].CodeValue == "10200004"
    code = unknown.SegmentedPropertyTypeCodeSequence[0]
    assert (code.CodingSchemeDesignator, code.CodeMeaning) == ("99MEDGRAD", "what is it")
    assert liver.SegmentationAlgorithmIdentificationSequence[0].AlgorithmName == "medgrad"
    assert liver.SegmentAlgorithmType == "AUTOMATIC"


def test_frames_name_the_very_slices_they_lie_on(tmp_path):
    series(tmp_path / "ct")
    labels = some_labels(read(tmp_path / "ct").grid, ("liver",))
    found = make_seg(labels, Source(tmp_path / "ct"))
    at = {}
    for head in map(pydicom.dcmread, sorted((tmp_path / "ct").glob("*.dcm"))):
        at[head.SOPInstanceUID] = list(head.ImagePositionPatient)
    assert len(found.PerFrameFunctionalGroupsSequence) == labels.grid.shape[2]
    for group in found.PerFrameFunctionalGroupsSequence:
        named = group.DerivationImageSequence[0].SourceImageSequence[0].ReferencedSOPInstanceUID
        assert np.allclose(at[named], group.PlanePositionSequence[0].ImagePositionPatient, atol=1e-6)


def test_an_empty_answer_is_written_and_read(tmp_path):
    series(tmp_path / "ct")
    grid = read(tmp_path / "ct").grid
    empty = LabelMap(np.zeros(grid.shape, np.uint8), grid, {1: "lesion"})
    path = write_segmentation(tmp_path / "a.dcm", empty, Source(tmp_path / "ct"))
    back = read_labels(path, reference_grid=grid)
    assert not back.array.any()
    assert dict(back.names) == {1: "lesion"}


def test_a_lesion_on_one_slice_only_comes_back(tmp_path):
    series(tmp_path / "ct")
    grid = read(tmp_path / "ct").grid
    array = np.zeros(grid.shape, np.uint8)
    array[2, 3, 4] = 2
    path = write_segmentation(
        tmp_path / "a.dcm", LabelMap(array, grid, {1: "liver", 2: "lesion"}), Source(tmp_path / "ct")
    )
    assert np.array_equal(read_labels(path, reference_grid=grid).array, array)


def test_a_series_among_others_in_a_folder_is_taken_by_its_number(tmp_path):
    series(tmp_path / "ct" / "a", key="a")
    series(tmp_path / "ct" / "b", key="b", shape=(6, 6, 4))
    source = Source(tmp_path / "ct", uid_from_words("b"))
    grid = read(source).grid
    path = write_segmentation(tmp_path / "a.dcm", some_labels(grid), source)
    assert pydicom.dcmread(path).ReferencedSeriesSequence[0].SeriesInstanceUID == uid_from_words("b")
    assert np.array_equal(read_labels(path, reference_grid=grid).array, some_labels(grid).array)


def item(**elements):
    found = Dataset()
    for name, value in elements.items():
        setattr(found, name, value)
    return found


def enhanced(path, *, n=4, phases=1):
    """Write an enhanced CT: all slices in one file, one round through them a phase."""
    rng = np.random.default_rng(0)
    array = rng.integers(0, 900, (n * phases, 6, 8)).astype(np.uint16)
    source = item(
        SOPClassUID=EnhancedCTImageStorage, SOPInstanceUID=generate_uid(), StudyInstanceUID=generate_uid(),
        SeriesInstanceUID=generate_uid(), FrameOfReferenceUID=generate_uid(), Modality="CT", PatientID="p",
        NumberOfFrames=n * phases, Rows=6, Columns=8, SamplesPerPixel=1, PhotometricInterpretation="MONOCHROME2",
        BitsAllocated=16, BitsStored=16, HighBit=15, PixelRepresentation=0, PixelData=array.tobytes(),
    )  # fmt: skip
    measures = item(PixelSpacing=[1.5, 0.8], SliceThickness=2.0, SpacingBetweenSlices=2.0)
    plane = item(ImageOrientationPatient=[1, 0, 0, 0, 1, 0])
    source.SharedFunctionalGroupsSequence = Sequence(
        [item(PixelMeasuresSequence=Sequence([measures]), PlaneOrientationSequence=Sequence([plane]))]
    )
    source.PerFrameFunctionalGroupsSequence = Sequence(
        item(
            PlanePositionSequence=Sequence([item(ImagePositionPatient=[5, 6, 2.0 * (f % n)])]),
            FrameContentSequence=Sequence([item(TemporalPositionIndex=1 + f // n, StackID="1")]),
        )
        for f in range(n * phases)
    )
    source.file_meta = FileMetaDataset()
    source.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    source.save_as(path, enforce_file_format=True)
    return path


@pytest.mark.parametrize("phases", [1, 2])
def test_a_series_in_one_file_is_drawn_on(tmp_path, phases):
    source = Source(enhanced(tmp_path / "a.dcm", phases=phases))
    grid = read(source).grid
    labels = some_labels(grid)
    path = write_segmentation(tmp_path / "seg.dcm", labels, source)
    assert np.array_equal(read_labels(path, reference_grid=grid).array, labels.array)


def test_a_header_that_lacks_what_may_be_empty_is_enough(tmp_path):
    series(tmp_path / "ct")
    for path in (tmp_path / "ct").glob("*.dcm"):
        source = pydicom.dcmread(path)
        for name in ("PatientID", "PatientName", "StudyDate", "StudyTime", "AccessionNumber", "FrameOfReferenceUID"):
            delattr(source, name)
        source.save_as(path)
    grid = read(tmp_path / "ct").grid
    path = write_segmentation(tmp_path / "a.dcm", some_labels(grid), Source(tmp_path / "ct"))
    assert np.array_equal(read_labels(path, reference_grid=grid).array, some_labels(grid).array)


@pytest.mark.parametrize("words, name", [("GB18030", "Wang^小东"), ("ISO_IR 100", "Müller^Änne"), ("", "Plain^Name")])
def test_a_name_in_any_script_is_kept(tmp_path, words, name):
    series(tmp_path / "ct", SpecificCharacterSet=words, PatientName=name)
    grid = read(tmp_path / "ct").grid
    path = write_segmentation(tmp_path / "a.dcm", some_labels(grid), Source(tmp_path / "ct"))
    assert str(pydicom.dcmread(path).PatientName) == name


def test_a_header_without_numbers_of_its_own_is_refused_in_one_line(tmp_path):
    series(tmp_path / "ct")
    for path in (tmp_path / "ct").glob("*.dcm"):
        source = pydicom.dcmread(path)
        del source.StudyInstanceUID
        source.save_as(path)
    grid = read(tmp_path / "ct").grid
    with pytest.raises(FormatError, match="StudyInstanceUID") as caught:
        write_segmentation(tmp_path / "a.dcm", some_labels(grid), Source(tmp_path / "ct"))
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "a.dcm").exists()


def test_labels_on_another_grid_are_refused(tmp_path):
    series(tmp_path / "ct")
    other = Grid.from_shape((9, 7, 5), spacing=(1, 1, 1))
    with pytest.raises(FormatError, match="another grid"):
        write_segmentation(tmp_path / "a.dcm", some_labels(other), Source(tmp_path / "ct"))


def test_the_same_key_gives_the_same_bytes(tmp_path):
    series(tmp_path / "ct")
    labels = some_labels(read(tmp_path / "ct").grid)
    for name in ("a", "b"):
        make_seg(labels, Source(tmp_path / "ct"), key="k").save_as(tmp_path / name, enforce_file_format=True)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_a_missing_highdicom_is_told_with_the_command_that_installs_it(tmp_path, monkeypatch):
    series(tmp_path / "ct")
    monkeypatch.setitem(__import__("sys").modules, "highdicom", None)
    with pytest.raises(PackageNotInstalled, match=r"medgrad\[dicom\]"):
        write_segmentation(tmp_path / "a.dcm", some_labels(read(tmp_path / "ct").grid), Source(tmp_path / "ct"))


def test_volumes_that_are_no_stack_of_slices_are_refused(tmp_path):
    image = Image(np.zeros((4, 4, 4), np.int16), Grid.from_shape((4, 4, 4)), "ct")
    write_ct(tmp_path / "right-handed", image, SeriesHeader("k", "s", "f"))
    mirrored = Grid((4, 4, 4), matrix_to_tuples(np.diag([-1.0, 1, 1, 1])))
    with pytest.raises(ValueError, match="Reorient"):
        write_ct(tmp_path / "mirrored", Image(image.array, mirrored, "ct"), SeriesHeader("k", "s", "f"))


def test_known_names_have_the_codes_of_snomed():
    codes = pytest.importorskip("pydicom.sr.codedict").codes
    assert category_and_type("left kidney")[1][0] == codes.SCT.KidneyStructure.value
    assert category_and_type("lung nodule")[1][0] == codes.SCT.Nodule.value
    assert category_and_type("spleen")[1][0] == codes.SCT.SplenicStructure.value
    assert category_and_type("tumour core")[1][0] == codes.SCT.Tumor.value


@pytest.mark.peer
def test_highdicom_reads_what_was_written(tmp_path):
    import highdicom

    series(tmp_path / "ct")
    labels = some_labels(read(tmp_path / "ct").grid)
    path = write_segmentation(tmp_path / "a.dcm", labels, Source(tmp_path / "ct"))
    found = highdicom.seg.segread(path)
    volume = found.get_volume(combine_segments=True)
    assert volume.array.shape == labels.grid.shape[::-1]
    assert np.array_equal(np.sort(volume.array.ravel()), np.sort(labels.array.ravel()))


@pytest.mark.peer
def test_simpleitk_sees_the_series_at_the_same_place(tmp_path):
    sitk = pytest.importorskip("SimpleITK")
    array, grid = series(tmp_path / "ct", turned(20))
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(tmp_path / "ct")))
    seen = reader.Execute()
    assert np.array_equal(sitk.GetArrayFromImage(seen).transpose(2, 1, 0), array)
    lps = np.array(seen.TransformContinuousIndexToPhysicalPoint((3.0, 2.0, 1.0)))
    assert np.allclose(lps * (-1, -1, 1), grid.to_world((3, 2, 1)), atol=1e-3)


@pytest.mark.real
@pytest.mark.parametrize(
    "name",
    [
        "series_STS_002/CT/image",
        "series_STS_002/PET/image",
        "series_STS_002/MR_T1/image",
        "dcmqi/segmentations__23x38x3__multiframe__mf.dcm",
        "dcmqi/segmentations__24x38x3__multiframe__mf.dcm",
        "pydicom/CT_small.dcm",
    ],
)
def test_no_voxel_changes_on_scans_of_real_patients(real_data, tmp_path, name):
    source = Source(real_data("dicom_zoo") / name)
    grid = read(source).grid
    path = write_segmentation(tmp_path / "a.dcm", some_labels(grid), source)
    back = read_labels(path, reference_grid=grid)
    assert back.messages == ()
    assert np.array_equal(back.array, some_labels(grid).array)


@pytest.mark.real
def test_a_series_among_others_with_an_empty_character_set_is_drawn_on(real_data, tmp_path):
    folder = real_data("dicom_zoo") / "dcmqi"
    uid = pydicom.dcmread(folder / "segmentations__ct-3slice__01.dcm").SeriesInstanceUID
    source = Source(folder, str(uid))
    grid = read(source).grid
    path = write_segmentation(tmp_path / "a.dcm", some_labels(grid), source)
    assert np.array_equal(read_labels(path, reference_grid=grid).array, some_labels(grid).array)

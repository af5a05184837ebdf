"""DICOM files and series, made element by element, and the pictures and volumes they give."""

import numpy as np
import pydicom
import pytest
from made_dicom import made, one_line, saved, series, without
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian, RLELossless

from medgrad.data.formats import find_format, list_series, read, read_stored_pixels
from medgrad.errors import FormatError


def test_slices_are_ordered_by_place_and_turned_to_ras(tmp_path):
    image = read(series(tmp_path / "s"))
    assert image.array.shape == (4, 3, 5)
    assert image.array[2, 1, 3] == 312  # column 2, row 1, slice 3
    assert np.allclose(image.grid.to_world([2, 1, 3]), [-(10 + 2 * 0.5), -(20 + 1 * 2.0), 30 + 3 * 2.5])
    assert (image.modality, image.grid.orientation, image.messages) == ("ct", "LPS", ())
    assert image.array.dtype == np.int16


def test_a_lone_slice_is_a_volume_of_one(tmp_path):
    image = read(saved(tmp_path / "a.dcm", np.zeros((3, 4), np.int16), SliceThickness=5))
    assert image.array.shape == (4, 3, 1)
    assert image.grid.spacing == (0.5, 2.0, 5.0)


def test_tags_are_plain_words_and_numbers(tmp_path):
    path = saved(
        tmp_path / "a.dcm", np.zeros((3, 4), np.int16), PatientSex="F", PatientAge="061Y", PatientWeight="70.5"
    )
    tags = read(path).tags
    assert (tags["patient"], tags["sex"], tags["age"], tags["weight_kg"]) == ("P1", "F", "061Y", 70.5)
    assert all(type(v) in (str, float) for v in tags.values())


def test_a_missing_slice_is_filled_and_told(tmp_path):
    folder = series(tmp_path / "s", 11)
    next(p for p in folder.iterdir() if pydicom.dcmread(p).ImagePositionPatient[2] == 30 + 4 * 2.5).unlink()
    image = read(folder)
    assert image.array.shape == (4, 3, 11)
    assert image.array[0, 0, 4] == 400
    assert "1 slices are missing" in image.messages[0]


def test_too_many_missing_slices_are_refused(tmp_path):
    places = [[0, 0, z] for z in (0, 1, 2, 6, 7)]
    with pytest.raises(FormatError, match="lacks 3 of 8"):
        read(series(tmp_path / "s", positions=places))


def test_uneven_slices_are_refused(tmp_path):
    places = [[0, 0, z] for z in (0, 1, 2.4, 3.4, 4.4)]
    with pytest.raises(FormatError, match="uneven"):
        read(series(tmp_path / "s", positions=places))


def test_places_rounded_to_a_tenth_are_even_enough(tmp_path):
    places = [[0, 0, round(1.25 * k, 1)] for k in range(9)]
    image = read(series(tmp_path / "s", 9, positions=places))
    assert image.array.shape[2] == 9
    assert image.grid.spacing[2] == pytest.approx(1.25, abs=0.01)


def test_a_mosaic_is_refused(tmp_path):
    path = saved(tmp_path / "a.dcm", np.zeros((3, 4), np.int16), ImageType=["ORIGINAL", "PRIMARY", "M", "MOSAIC"])
    with pytest.raises(FormatError, match="mosaic"):
        read(path)


def test_a_copy_of_a_slice_is_left_out_and_told(tmp_path):
    folder = series(tmp_path / "s")
    (folder / "copy.dcm").write_bytes((folder / "00.dcm").read_bytes())
    image = read(folder)
    assert image.array.shape[2] == 5
    assert "1 slices lay at the place of another" in image.messages[0]


def test_two_different_slices_at_one_place_are_refused_by_name(tmp_path):
    folder = series(tmp_path / "s")
    saved(folder / "other.dcm", np.ones((3, 4), np.int16), ImagePositionPatient=[10, 20, 30])
    with pytest.raises(FormatError, match=r"00\.dcm.*other\.dcm"):
        read(folder)


def test_a_tilted_gantry_is_kept_in_the_affine_exactly(tmp_path):
    image = read(series(tmp_path / "s", step=(0, 0.5, 2.5)))
    assert np.allclose(image.grid.to_world([0, 0, 4]), [-10, -(20 + 4 * 0.5), 30 + 10])
    assert "sheared by 11.31 degrees" in image.messages[0]


def test_echoes_become_channels(tmp_path):
    folder = tmp_path / "s"
    folder.mkdir()
    for k in range(3):
        for echo in (30, 4, 200):
            array = np.full((3, 4), 1000 * k + echo, np.int16)
            saved(
                folder / f"{k}_{echo}.dcm", array, ImagePositionPatient=[0, 0, float(k)], EchoTime=echo, Modality="MR"
            )
    image = read(folder)
    assert image.array.shape == (4, 3, 3, 3)
    assert image.array[0, 0, 2].tolist() == [2004, 2030, 2200]
    assert "EchoTime" in image.messages[0]


def test_each_slice_has_its_own_slope(tmp_path):
    folder = tmp_path / "s"
    folder.mkdir()
    for k in range(3):
        array = np.full((3, 4), 10, np.int16)
        saved(
            folder / f"{k}.dcm",
            array,
            ImagePositionPatient=[0, 0, float(k)],
            RescaleSlope=0.5 * (k + 1),
            RescaleIntercept=1,
        )
    image = read(folder)
    assert image.array.dtype == np.float32
    assert image.array[0, 0].tolist() == [6, 11, 16]


def test_hounsfield_units_stay_whole_numbers(tmp_path):
    array = np.array([[0, 4095]], np.uint16)
    path = saved(tmp_path / "a.dcm", array, BitsStored=12, HighBit=11, RescaleSlope=1, RescaleIntercept=-1024)
    image = read(path)
    assert image.array.dtype == np.int16
    assert image.array[:, 0, 0].tolist() == [-1024, 3071]


def test_bits_above_the_stored_ones_are_cleared(tmp_path):
    array = np.array([[0x1005, 0x0FFF]], np.uint16)
    image = read(saved(tmp_path / "a.dcm", array, BitsStored=12, HighBit=11))
    assert image.array[:, 0, 0].tolist() == [5, 4095]


def test_inverted_greys_are_turned_upright(tmp_path):
    array = np.array([[0, 255, 10]], np.uint8)
    path = saved(
        tmp_path / "a.dcm", array, Modality="DX", PhotometricInterpretation="MONOCHROME1", ImagePositionPatient=None
    )
    image = read(path)
    assert image.array.tolist() == [[255, 0, 245]]
    assert (image.modality, image.grid.dims) == ("xray", 2)
    assert "MONOCHROME1" in image.messages[0]


def test_a_projection_is_a_flat_picture_with_the_spacing_of_its_detector(tmp_path):
    path = saved(
        tmp_path / "a.dcm",
        np.zeros((3, 4), np.uint16),
        Modality="CR",
        ImagePositionPatient=None,
        PixelSpacing=None,
        ImagerPixelSpacing=[0.2, 0.1],
    )
    image = read(path)
    assert image.array.shape == (3, 4)
    assert image.grid.spacing == (0.2, 0.1)
    assert "ImagerPixelSpacing" in image.messages[0]


def test_a_picture_without_any_spacing_says_so(tmp_path):
    path = saved(
        tmp_path / "a.dcm", np.zeros((3, 4), np.uint8), Modality="XC", ImagePositionPatient=None, PixelSpacing=None
    )
    assert not read(path).grid.has_spacing


def test_a_film_has_its_frames_as_channels(tmp_path):
    array = np.arange(5 * 3 * 4, dtype=np.uint8).reshape(5, 3, 4)
    path = saved(tmp_path / "a.dcm", array, Modality="US", ImagePositionPatient=None, NumberOfFrames=5)
    assert (read(path).array == np.moveaxis(array, 0, -1)).all()
    assert (find_format(path).read(path, ":2").array == array[2]).all()


def test_colours_come_last(tmp_path):
    array = np.arange(3 * 4 * 3, dtype=np.uint8).reshape(1, 3, 4, 3)
    path = saved(
        tmp_path / "a.dcm",
        array,
        Modality="ES",
        ImagePositionPatient=None,
        SamplesPerPixel=3,
        PhotometricInterpretation="RGB",
        PlanarConfiguration=0,
    )
    assert (read(path).array == array[0]).all()


def test_scouts_are_left_out_and_told(tmp_path):
    folder = series(tmp_path / "s")
    saved(folder / "scout.dcm", np.zeros((9, 9), np.int16), ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])
    image = read(folder)
    assert image.array.shape == (4, 3, 5)
    assert "1 scout pictures were left out." in image.messages


def test_several_series_are_listed_unless_one_is_named(tmp_path):
    series(tmp_path / "a")
    series(tmp_path / "b", 3, SeriesInstanceUID="1.2.3.5", SeriesDescription="lung")
    with pytest.raises(FormatError, match=r"2 series.*1\.2\.3\.4 \(CT, chest, 5 pictures\).*lung") as caught:
        read(tmp_path)
    assert one_line(caught, tmp_path)
    form = find_format(tmp_path)
    assert form.list_items(tmp_path) == ["1.2.3.4", "1.2.3.5"]
    assert form.read(tmp_path, "1.2.3.5").array.shape[2] == 3


def test_series_are_found_in_folders_below_from_headers(tmp_path):
    series(tmp_path / "a", StudyDate="20200102")
    (tmp_path / "a" / "notes.txt").write_text("no picture")
    (found,) = list_series(tmp_path)
    assert (found.patient, found.study_date, found.modality, found.n_frames) == ("P1", "20200102", "CT", 5)
    assert len(found.files) == 5


def test_pictures_of_different_turn_are_no_volume(tmp_path):
    folder = series(tmp_path / "s")
    saved(folder / "x.dcm", np.ones((3, 4), np.int16), ImageOrientationPatient=[0, 1, 0, 0, 0, -1])
    with pytest.raises(FormatError, match="different orientations"):
        read(folder)


def enhanced(n=4):
    """Give one file of several frames that name their places, stored top first."""
    array = np.stack([np.full((3, 4), k, np.int16) for k in range(n)])
    source = made(array, NumberOfFrames=n, PixelSpacing=None, ImageOrientationPatient=None, ImagePositionPatient=None)
    shared, measures, plane = Dataset(), Dataset(), Dataset()
    measures.PixelSpacing, plane.ImageOrientationPatient = [2.0, 0.5], [1, 0, 0, 0, 1, 0]
    shared.PixelMeasuresSequence, shared.PlaneOrientationSequence = Sequence([measures]), Sequence([plane])
    source.SharedFunctionalGroupsSequence = Sequence([shared])
    each = []
    for k in range(n):
        frame, place, scale = Dataset(), Dataset(), Dataset()
        place.ImagePositionPatient = [0, 0, -3.0 * k]
        scale.RescaleSlope, scale.RescaleIntercept = k + 1, 7
        frame.PlanePositionSequence, frame.PixelValueTransformationSequence = Sequence([place]), Sequence([scale])
        each.append(frame)
    source.PerFrameFunctionalGroupsSequence = Sequence(each)
    return source


def test_an_enhanced_file_is_a_volume_with_a_slope_for_each_frame(tmp_path):
    enhanced().save_as(tmp_path / "a.dcm", enforce_file_format=True)
    image = read(tmp_path / "a.dcm")
    assert image.array[0, 0].tolist() == [3 * 4 + 7, 2 * 3 + 7, 1 * 2 + 7, 7]
    assert image.grid.spacing == (0.5, 2.0, 3.0)
    assert np.allclose(image.grid.to_world([0, 0, 0]), [0, 0, -9])


def pet(**elements):
    drug = Dataset()
    drug.RadionuclideTotalDose, drug.RadionuclideHalfLife = 350e6, 6600.0
    drug.RadiopharmaceuticalStartTime = "100000"
    about = {
        "Modality": "PT",
        "Units": "BQML",
        "DecayCorrection": "START",
        "PatientWeight": 70,
        "SeriesDate": "20200101",
        "SeriesTime": "115000",  # one half-life after the injection
        "AcquisitionTime": "115000",
        "RadiopharmaceuticalInformationSequence": Sequence([drug]),
    }
    return {**about, **elements}


def test_uptake_is_worked_out_from_weight_dose_and_time(tmp_path):
    image = read(saved(tmp_path / "a.dcm", np.full((3, 4), 2500, np.int16), **pet()))
    assert np.allclose(image.array, 2500 * 70e3 / 175e6)  # 1.0 g/ml
    assert image.tags["units"] == "SUV"
    assert "110.0 minutes" in image.messages[-1]


def test_philips_counts_have_a_factor_of_their_own(tmp_path):
    source = made(np.full((3, 4), 100, np.int16), **pet(Units="CNTS"))
    source.private_block(0x7053, "Philips PET Private Group", create=True).add_new(0x00, "DS", "0.002")
    source.save_as(tmp_path / "a.dcm", enforce_file_format=True)
    assert np.allclose(read(tmp_path / "a.dcm").array, 0.2)


def test_uptake_corrected_to_the_injection_needs_no_decay(tmp_path):
    image = read(saved(tmp_path / "a.dcm", np.full((3, 4), 5000, np.int16), **pet(DecayCorrection="ADMIN")))
    assert np.allclose(image.array, 1.0)


def test_a_series_time_behind_the_scan_is_not_trusted(tmp_path):
    image = read(saved(tmp_path / "a.dcm", np.full((3, 4), 2500, np.int16), **pet(SeriesTime="180000")))
    assert np.allclose(image.array, 1.0)


@pytest.mark.parametrize(
    "lacking", [["PatientWeight"], ["DecayCorrection"], ["SeriesTime", "AcquisitionTime"]], ids=str
)
def test_uptake_is_not_guessed(tmp_path, lacking):
    image = read(saved(tmp_path / "a.dcm", np.full((3, 4), 2500, np.int16), **without(pet(), *lacking)))
    assert (image.array == 2500).all()
    assert image.tags["units"] == "BQML"
    assert "stay in Bq/ml" in image.messages[-1]


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian])
def test_plain_syntaxes_give_the_same_values(tmp_path, syntax):
    array = np.arange(-6, 6, dtype=np.int16).reshape(3, 4)
    source = made(array, syntax)
    source.save_as(tmp_path / "a.dcm", enforce_file_format=True)
    assert (read_stored_pixels(tmp_path / "a.dcm") == array).all()


def test_packed_runs_give_the_same_values(tmp_path):
    array = np.random.default_rng(1).integers(0, 3, (30, 40)).astype(np.uint16)
    source = made(array)
    source.compress(RLELossless, generate_instance_uid=False)
    source.save_as(tmp_path / "a.dcm", enforce_file_format=True)
    assert (read_stored_pixels(tmp_path / "a.dcm") == array).all()


@pytest.mark.parametrize("rows", [1, 20, 29, 31, 60])
def test_packed_runs_of_another_size_are_refused(tmp_path, rows):
    source = made(np.random.default_rng(1).integers(0, 3, (30, 40)).astype(np.uint16))
    source.compress(RLELossless, generate_instance_uid=False)
    source.Rows = rows
    source.save_as(tmp_path / "a.dcm", enforce_file_format=True)
    with pytest.raises(FormatError) as caught:
        read(tmp_path / "a.dcm")
    assert one_line(caught, tmp_path / "a.dcm")


@pytest.mark.peer
def test_a_volume_lies_where_simpleitk_puts_it(tmp_path):
    sitk = pytest.importorskip("SimpleITK")

    a, b = np.deg2rad([20, 35])
    along = np.array([np.cos(a), np.sin(a), 0])
    down = np.array([-np.sin(a) * np.cos(b), np.cos(a) * np.cos(b), np.sin(b)])
    normal = np.cross(along, down)
    places = [np.array([5, -7, 11]) + 3.0 * k * normal for k in range(6)]
    folder = series(
        tmp_path / "s",
        6,
        shape=(7, 9),
        positions=places,
        ImageOrientationPatient=[float(v) for v in (*along, *down)],
        RescaleSlope=2,
        RescaleIntercept=-5,
    )
    ours = read(folder)
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(folder)))
    theirs = reader.Execute()
    assert (sitk.GetArrayFromImage(theirs).transpose(2, 1, 0) == ours.array).all()
    for index in ([0, 0, 0], [8, 6, 5], [3, 0, 2]):
        point = np.array(theirs.TransformIndexToPhysicalPoint(index)) * [-1, -1, 1]
        assert np.allclose(point, ours.grid.to_world(index), atol=1e-3)

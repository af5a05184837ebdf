"""Answers in DICOM's own objects: nothing moves, everything names what it is about, what it means and who made it."""

import hashlib

import numpy as np
import pydicom
import pytest
from dicom_answers import AXIAL, HASH, NAMES, TURNED, chances_on, every_answer, labels_on, make_series, maker_in
from scipy import ndimage

from medgrad.data import Grid, Image, LabelMap, Source
from medgrad.data.dicom.rtstruct import fill_polygons
from medgrad.data.dicom.write.equipment import Algorithm
from medgrad.data.dicom.write.mask_outlines import trace_outlines
from medgrad.data.dicom.write.measurement_report import intensity_codes, make_measurement_report
from medgrad.data.dicom.write.parametric_map import make_parametric_maps
from medgrad.data.dicom.write.rtstruct import make_rtstruct, write_rtstruct
from medgrad.data.dicom.write.secondary_capture import label_colour, make_secondary_captures
from medgrad.data.dicom.write.seg import make_probability_seg, make_seg, save_dataset
from medgrad.data.dicom.write.snomed import ABNORMAL, ANATOMY, FINDINGS, ORGANS, SIDES, TISSUE, find_region_code
from medgrad.data.formats import read, read_labels
from medgrad.errors import FormatError

hd = pytest.importorskip("highdicom", reason="the dicom extra is not installed")
EVERY = ("dicomseg", "labelmap", "dicomseg-fractional", "map", "seg of sr", "sr", "capture", "rtstruct")


@pytest.fixture(scope="module", params=[AXIAL, TURNED], ids=["axial", "turned"])
def written(request, tmp_path_factory):
    """A source, its image, and the files of every kind of answer about it."""
    folder = tmp_path_factory.mktemp("answers")
    source, image = make_series(folder / "ct", request.param)
    return source, image, every_answer(folder, source, image)


@pytest.mark.parametrize("kind", ["dicomseg", "labelmap", "rtstruct", "seg of sr"])
def test_no_label_moves(written, kind):
    _, image, files = written
    back = read_labels(files[kind], reference_grid=image.grid)
    assert np.array_equal(back.array, labels_on(image.grid).array)
    assert dict(back.names) == dict(enumerate(NAMES, 1))
    assert all("stay empty" in sentence for sentence in back.messages)  # of outlines, for the slice without any


def test_a_label_map_lies_by_itself_where_its_series_does(written):
    _, image, files = written
    back = read_labels(files["labelmap"])
    assert back.grid.is_close(image.grid)


def test_chances_come_back_in_steps_of_a_255th(written):
    source, image, files = written
    found = hd.seg.segread(files["dicomseg-fractional"])
    uids = [s.SOPInstanceUID for s in slices_bottom_first(source)]
    shares = found.get_pixels_by_source_instance(uids)  # (slices, rows, columns, labels)
    wanted = chances_on(image.grid).array.transpose(2, 1, 0, 3)
    assert np.abs(shares - wanted).max() <= 0.5 / 255 + 1e-6
    assert found.SegmentationFractionalType == "PROBABILITY"


def test_a_map_holds_the_very_chances(written):
    _, image, files = written
    back = read(files["map"])
    assert back.grid.is_close(image.grid)
    np.testing.assert_array_equal(back.array, chances_on(image.grid).array[..., 0])
    meaning = pydicom.dcmread(files["map"]).SharedFunctionalGroupsSequence[0].RealWorldValueMappingSequence[0]
    assert meaning.MeasurementUnitsCodeSequence[0].CodeValue == "1"
    assert meaning.QuantityDefinitionSequence[0].ConceptCodeSequence[0].CodeValue == "122157"


def test_a_map_lies_bottom_first_and_says_where_in_the_body_it_is(written):
    source, _, files = written
    made = pydicom.dcmread(files["map"])
    normal = np.cross(*np.reshape(slices_bottom_first(source)[0].ImageOrientationPatient, (2, 3)).astype(float))
    groups = made.PerFrameFunctionalGroupsSequence
    heights = [np.array(g.PlanePositionSequence[0].ImagePositionPatient, float) @ normal for g in groups]
    assert heights == sorted(heights)
    assert [g.FrameContentSequence[0].DimensionIndexValues for g in groups] == [1, 2, 3, 4, 5]
    (place,) = made.SharedFunctionalGroupsSequence[0].FrameAnatomySequence
    assert (place.FrameLaterality, place.AnatomicRegionSequence[0].CodeMeaning) == ("L", "Kidney")


def slices_bottom_first(source):
    """Give the headers of a series from the least to the greatest position along its normal."""
    heads = [pydicom.dcmread(p) for p in source.path.glob("*.dcm")]
    normal = np.cross(*np.reshape(heads[0].ImageOrientationPatient, (2, 3)).astype(float))
    return sorted(heads, key=lambda h: float(np.array(h.ImagePositionPatient, float) @ normal))


@pytest.mark.parametrize("kind", EVERY)
def test_the_patient_the_study_and_the_place_are_carried(written, kind):
    source, _, files = written
    head, made = slices_bottom_first(source)[0], pydicom.dcmread(files[kind])
    for name in ("PatientID", "PatientName", "StudyInstanceUID", "StudyDate", "StudyTime", "StudyID"):
        assert made[name].value == head[name].value
    if kind not in ("sr", "capture"):
        assert made.FrameOfReferenceUID == head.FrameOfReferenceUID
    assert made.SeriesInstanceUID != head.SeriesInstanceUID


@pytest.mark.parametrize("kind", EVERY)
def test_every_reference_leads_to_something_that_is_there(written, kind):
    source, _, files = written
    there = {h.SOPInstanceUID: h.SOPClassUID for h in slices_bottom_first(source)}
    if kind == "sr":
        seg = pydicom.dcmread(files["seg of sr"])
        there[seg.SOPInstanceUID] = seg.SOPClassUID
    found = []

    def note(_, element):
        if element.keyword == "ReferencedSOPInstanceUID":
            found.append(str(element.value))

    made = pydicom.dcmread(files[kind])
    study = str(made.StudyInstanceUID)
    made.walk(note)
    assert set(found) - {study} <= set(there)
    assert len(set(found) & set(there)) >= (1 if kind == "capture" else 4)


@pytest.mark.parametrize("kind", EVERY)
def test_the_device_is_its_weights(written, kind):
    _, _, files = written
    made = pydicom.dcmread(files[kind])
    assert made.Manufacturer == "medgrad"
    assert made.ManufacturerModelName == "segmentation by unet"
    assert made.DeviceSerialNumber == HASH
    assert any(HASH in c.get("ContributionDescription", "") for c in made.ContributingEquipmentSequence)


def test_the_algorithm_is_named_with_its_weights_in_seg_report_and_outlines(written):
    _, _, files = written
    seg, outlined = pydicom.dcmread(files["dicomseg"]), pydicom.dcmread(files["rtstruct"])
    said = seg.SegmentSequence[0].SegmentationAlgorithmIdentificationSequence[0]
    also = outlined.StructureSetROISequence[0].ROIDerivationAlgorithmIdentificationSequence[0]
    for one in (said, also):
        assert one.AlgorithmParameters == f"weights_sha256={HASH}"
        assert one.AlgorithmFamilyCodeSequence[0].CodeValue == "123110"
    group = hd.sr.srread(files["sr"]).content.get_volumetric_roi_measurement_groups()[0]
    texts = [i.value for i in group[0].ContentSequence if i.name.value == "111002"]
    assert texts == [f"weights_sha256={HASH}"]


def test_several_files_of_weights_make_one_device(tmp_path):
    paths = []
    for number in range(2):
        paths.append(tmp_path / f"{number}")
        paths[-1].write_bytes(bytes([number]))
    one, both = Algorithm("a", tuple(paths[:1])), Algorithm("a", tuple(paths))
    assert one.serial_number == hashlib.sha256(b"\0").hexdigest()
    assert both.serial_number not in both.weight_hashes
    assert len(both.serial_number) == 64
    assert both.parameters["weights_sha256"].split() == list(both.weight_hashes)
    assert Algorithm().serial_number == "0"


def test_the_report_measures_what_the_labels_hold(written):
    _, image, files = written
    labels = labels_on(image.grid).array
    groups = hd.sr.srread(files["sr"]).content.get_volumetric_roi_measurement_groups()
    assert len(groups) == len(NAMES)
    for number, group in enumerate(groups, 1):
        inside = image.array[labels == number].astype(float)
        values = [float(m.value) for m in group.get_measurements()]
        volume = len(inside) * 0.7 * 1.3 * 2.5
        np.testing.assert_allclose(values, [volume, inside.mean(), inside.std(), inside.min(), inside.max()], rtol=1e-6)
        assert [m.unit.value for m in group.get_measurements()] == ["mm3"] + ["[hnsf'U]"] * 4


def test_the_report_and_its_segmentation_follow_the_same_things(written):
    _, _, files = written
    seg = pydicom.dcmread(files["seg of sr"])
    groups = hd.sr.srread(files["sr"]).content.get_volumetric_roi_measurement_groups()
    for segment, group in zip(seg.SegmentSequence, groups, strict=True):
        assert group.tracking_uid == segment.TrackingUID
        assert group.tracking_identifier == segment.TrackingID
        item = next(i for i in group[0].ContentSequence if i.name.value == "121191")
        assert item.referenced_sop_instance_uid == seg.SOPInstanceUID
        assert item.referenced_segment_numbers == [segment.SegmentNumber]


def test_a_report_does_not_call_the_program_a_scanner(written):
    _, _, files = written
    for item in pydicom.dcmread(files["sr"]).ContributingEquipmentSequence:
        if item.PurposeOfReferenceCodeSequence[0].CodeMeaning == "Acquisition Equipment":
            assert item.Manufacturer != "medgrad"


def test_a_segment_of_nothing_is_reported_with_no_volume(tmp_path):
    source, image = make_series(tmp_path / "ct")
    empty = LabelMap(np.zeros(image.grid.shape, np.uint8), image.grid, {1: "lesion"})
    seg = make_seg(empty, source)
    report = save_dataset(make_measurement_report(empty, image, source, seg=seg), tmp_path / "sr.dcm")
    (group,) = hd.sr.srread(report).content.get_volumetric_roi_measurement_groups()
    assert [float(m.value) for m in group.get_measurements()] == [0]


def test_codes_say_the_side_and_the_place(written):
    _, _, files = written
    kidney, lesion, blob = pydicom.dcmread(files["dicomseg"]).SegmentSequence
    type_of = [s.SegmentedPropertyTypeCodeSequence[0] for s in (kidney, lesion, blob)]
    assert type_of[0].SegmentedPropertyTypeModifierCodeSequence[0].CodeMeaning == "Left"
    assert lesion.AnatomicRegionSequence[0].CodeMeaning == "Liver"
    assert (type_of[2].CodingSchemeDesignator, type_of[2].CodeMeaning) == ("99MEDGRAD", NAMES[2])
    assert "No code" in blob.SegmentDescription
    assert "SegmentDescription" not in kidney


@pytest.mark.parametrize("kind", ["dicomseg", "dicomseg-fractional", "labelmap", "sr", "rtstruct"])
def test_our_own_scheme_says_whose_it_is(written, kind):
    _, _, files = written
    schemes = pydicom.dcmread(files[kind]).CodingSchemeIdentificationSequence
    ours = [s for s in schemes if s.CodingSchemeDesignator == "99MEDGRAD"]
    assert [s.CodingSchemeResponsibleOrganization for s in ours] == ["medgrad"]


def test_every_code_is_one_that_dicom_itself_uses():
    known = {}
    for scheme, words in pytest.importorskip("pydicom.sr._concepts_dict").concepts.items():
        for codes in words.values():
            for value, (meaning, _) in codes.items():
                known.setdefault((scheme, value), set()).add(meaning.lower())
    for table in (ORGANS, FINDINGS, SIDES, dict(enumerate((ANATOMY, ABNORMAL, TISSUE)))):
        for name, code in table.items():
            meanings = {k for (s, v), ks in known.items() if (s, v) == (code.scheme, code.value) for k in ks}
            assert code.meaning.lower() in meanings, name


@pytest.mark.parametrize(
    "name, said",
    [
        ("kidney_left", ("Kidney", "Left", None)),
        ("Kidney R", ("Kidney", "Right", None)),
        ("left ventricle", ("Left ventricle", None, None)),
        ("Lungs", ("Lung", None, None)),
        ("grey matter", ("Gray Matter", None, None)),
        ("parotid gland right", ("Parotid gland", "Right", None)),
        ("right breast mass", ("Mass", "Right", "Breast")),
        ("liver metastases", ("Metastasis", None, "Liver")),
        ("liver vessels", ("liver vessels", None, "Liver")),
        ("brain stem", ("brain stem", None, "Brain")),
        ("", ("unnamed", None, None)),
    ],
)
def test_a_name_is_understood_as_a_person_would(name, said):
    found = find_region_code(name)
    assert (
        found.property_type.meaning,
        found.laterality and found.laterality.meaning,
        found.anatomic_site and found.anatomic_site.meaning,
    ) == said


@pytest.mark.parametrize("name", ["x" * 80, "a\\b", "Мозг", "label 7", "--"])
def test_a_code_of_our_own_fits_into_dicom(name):
    code = find_region_code(name).property_type
    assert code.scheme == "99MEDGRAD"
    assert 0 < len(code.value) <= 16
    assert 0 < len(code.meaning) <= 64
    assert "\\" not in code.meaning
    assert code.value.isascii()


def test_outlines_enclose_the_very_elements():
    rng = np.random.default_rng(0)
    for number in range(150):
        mask = rng.random(rng.integers(1, 12, 2)) < rng.random()
        mask = ndimage.binary_closing(mask) if number % 2 else mask
        found = trace_outlines(mask)
        assert len(found) == ndimage.label(mask)[1]
        drawn = fill_polygons(found, mask.shape) if found else np.zeros(mask.shape, bool)
        assert np.array_equal(drawn, mask)
        area = sum(np.sum(c * np.roll(r, -1) - r * np.roll(c, -1)) / 2 for r, c in (p.T for p in found))
        assert area == pytest.approx(mask.sum())


def test_a_ring_is_one_closed_outline_with_a_cut():
    mask = np.ones((9, 9), bool)
    mask[4, 4] = False
    (ring,) = trace_outlines(mask)
    assert len(ring) == 4 + 4 + 2  # the corners outside and inside, and both ends of the cut once more


def test_outlines_name_the_slice_that_they_lie_on(written):
    source, _, files = written
    at = {h.SOPInstanceUID: np.array(h.ImagePositionPatient, float) for h in slices_bottom_first(source)}
    made = pydicom.dcmread(files["rtstruct"])
    normal = np.cross(*np.reshape(slices_bottom_first(source)[0].ImageOrientationPatient, (2, 3)).astype(float))
    for region in made.ROIContourSequence:
        for contour in region.ContourSequence:
            assert contour.ContourGeometricType == "CLOSED_PLANAR"
            points = np.reshape(contour.ContourData, (-1, 3)).astype(float)
            assert contour.NumberOfContourPoints == len(points)
            named = at[contour.ContourImageSequence[0].ReferencedSOPInstanceUID]
            assert np.abs((points - named) @ normal).max() < 1e-3


def test_outlines_of_nothing_are_a_region_without_any(tmp_path):
    source, image = make_series(tmp_path / "ct")
    empty = LabelMap(np.zeros(image.grid.shape, np.uint8), image.grid, {1: "lesion"})
    back = read_labels(write_rtstruct(tmp_path / "a.dcm", empty, source), reference_grid=image.grid)
    assert not back.array.any()
    assert dict(back.names) == {1: "lesion"}


def test_a_long_outline_is_not_cut(tmp_path):
    shape = (90, 90, 1)
    source, image = make_series(tmp_path / "ct", shape=shape)
    ragged = (np.random.default_rng(0).random(shape) < 0.8).astype(np.uint8)
    path = write_rtstruct(tmp_path / "a.dcm", LabelMap(ragged, image.grid, {1: "a"}), source)
    contours = pydicom.dcmread(path).ROIContourSequence[0].ContourSequence
    assert max(len("\\".join(map(str, c.ContourData))) for c in contours) > 65_536
    assert np.array_equal(read_labels(path, reference_grid=image.grid).array, ragged)


def test_pictures_are_painted_where_the_labels_are(written):
    source, image, _ = written
    labels = labels_on(image.grid)
    made = make_secondary_captures(labels, image, source)
    assert len(made) == image.grid.shape[2]
    for number, one in enumerate(made):
        picture = np.frombuffer(one.PixelData, np.uint8)[: one.Rows * one.Columns * 3].reshape(one.Rows, one.Columns, 3)
        is_grey = (picture == picture[..., :1]).all(axis=-1)
        assert np.array_equal(is_grey.T, labels.array[..., number] == 0)
        assert one.SourceImageSequence[0].ReferencedSOPInstanceUID == slices_bottom_first(source)[number].SOPInstanceUID
    assert len({one.SOPInstanceUID for one in made}) == len(made)
    assert len({one.SeriesInstanceUID for one in made}) == 1
    assert len({label_colour(n) for n in range(1, 30)}) == 29


def test_the_same_key_gives_the_same_bytes(tmp_path):
    source, image = make_series(tmp_path / "ct")
    labels, chances = labels_on(image.grid), chances_on(image.grid)
    maker = maker_in(tmp_path)

    def every():
        seg = make_seg(labels, source, key="k", made_by=maker)
        return [
            seg,
            make_probability_seg(chances, source, key="k2", made_by=maker),
            *make_parametric_maps(chances, source, key="k3", made_by=maker),
            make_measurement_report(labels, image, source, seg=seg, key="k4", made_by=maker),
            *make_secondary_captures(labels, image, source, key="k5", made_by=maker),
            make_rtstruct(labels, source, key="k6", made_by=maker),
        ]

    made = every()
    first, second = (
        [save_dataset(d, tmp_path / f"{i}").read_bytes() for i, d in enumerate(one)] for one in (made, every())
    )
    assert first == second
    uids = [d.SOPInstanceUID for d in made]
    assert len(set(uids)) == len(uids)


def test_chances_that_are_none_are_refused(tmp_path):
    source, image = make_series(tmp_path / "ct")
    chances = chances_on(image.grid)
    with pytest.raises(ValueError, match="between 0 and 1"):
        make_probability_seg(Image(chances.array * 4, image.grid, "other", chances.tags), source)
    with pytest.raises(ValueError, match="as many names"):
        make_probability_seg(Image(chances.array, image.grid, "other", {"labels": NAMES[:2]}), source)


def test_labels_on_a_flat_picture_have_no_place_in_the_patient(tmp_path):
    flat = LabelMap(np.ones((4, 4), np.uint8), Grid.from_shape((4, 4)), {1: "a"})
    with pytest.raises(FormatError, match="no place in the patient"):
        make_rtstruct(flat, Source(tmp_path))


def test_intensities_are_named_by_what_was_measured():
    grid = Grid.from_shape((1, 1, 1))
    told = {
        (modality, units): intensity_codes(
            Image(np.zeros((1, 1, 1)), grid, modality, {"units": units} if units else {})
        )
        for modality, units in [("ct", ""), ("mr", ""), ("pet", "SUV"), ("pet", "BQML"), ("other", "")]
    }
    assert [name.value for name, _ in told.values()] == ["112031", "110852", "126401", "Intensity", "Intensity"]

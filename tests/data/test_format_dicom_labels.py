"""DICOM SEG and RTSTRUCT, made here element by element."""

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.pixels.utils import pack_bits
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRLittleEndian

from medgrad.data import Grid
from medgrad.data.dicom.rtstruct import fill_polygons
from medgrad.data.formats import find_format, read, read_labels
from medgrad.data.grid import matrix_to_tuples
from medgrad.errors import FormatError

SEG, RTSTRUCT = "1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.481.3"
LIKE = Grid(
    (6, 5, 4), matrix_to_tuples(np.array([[-0.5, 0, 0, -10], [0, -2, 0, -20], [0, 0, 2.5, 30], [0, 0, 0, 1.0]]))
)


def item(**elements):
    found = Dataset()
    for name, value in elements.items():
        setattr(found, name, value)
    return found


def base(kind, modality):
    source = item(SOPClassUID=kind, Modality=modality, SOPInstanceUID=pydicom.uid.generate_uid())
    source.file_meta = FileMetaDataset()
    source.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    source.file_meta.MediaStorageSOPClassUID, source.file_meta.MediaStorageSOPInstanceUID = kind, source.SOPInstanceUID
    return source


def segmentation(path, frames, *, kind="BINARY", names=("liver", "lesion"), top=1):
    """Write frames of (segment, slice, array of rows and columns); segments are numbered 1, 2, ... in ``names``."""
    source = base(SEG, "SEG")
    array = np.stack([a for _, _, a in frames])
    source.SegmentationType, source.MaximumFractionalValue = kind, top
    source.NumberOfFrames, source.Rows, source.Columns = array.shape
    source.SamplesPerPixel, source.PhotometricInterpretation, source.PixelRepresentation = 1, "MONOCHROME2", 0
    bits = 1 if kind == "BINARY" else 8
    source.BitsAllocated, source.BitsStored, source.HighBit = bits, bits, bits - 1
    source.SegmentSequence = Sequence([item(SegmentNumber=n, SegmentLabel=name) for n, name in enumerate(names, 1)])
    measures = item(PixelSpacing=[2.0, 0.5], SliceThickness=2.5, SpacingBetweenSlices=2.5)
    plane = item(ImageOrientationPatient=[1, 0, 0, 0, 1, 0])
    source.SharedFunctionalGroupsSequence = Sequence(
        [item(PixelMeasuresSequence=Sequence([measures]), PlaneOrientationSequence=Sequence([plane]))]
    )
    each = []
    for segment, k, _ in frames:
        place = item(ImagePositionPatient=[10, 20, 30 + 2.5 * k])
        which = item(ReferencedSegmentNumber=segment)
        each.append(item(PlanePositionSequence=Sequence([place]), SegmentIdentificationSequence=Sequence([which])))
    source.PerFrameFunctionalGroupsSequence = Sequence(each)
    if kind == "BINARY":
        source.PixelData = pack_bits(array.astype(np.uint8).ravel())
    else:
        raw = array.astype(np.uint8).tobytes()
        source.PixelData = raw + b"\0" * (len(raw) % 2)
    source["PixelData"].VR = "OB"
    source.save_as(path, enforce_file_format=True)
    return path


def spot(*places, value=1, shape=(5, 6)):
    array = np.zeros(shape, int)
    for row, column in places:
        array[row, column] = value
    return array


def test_segments_are_numbered_and_placed_on_the_image(tmp_path):
    path = segmentation(tmp_path / "a.dcm", [(2, 3, spot((1, 2))), (1, 0, spot((4, 5)))])
    labels = read_labels(path, reference_grid=LIKE)
    assert labels.names == {1: "liver", 2: "lesion"}
    assert labels.array[2, 1, 3] == 2
    assert labels.array[5, 4, 0] == 1
    assert (labels.array > 0).sum() == 2


def test_slices_without_a_segment_are_kept_as_background(tmp_path):
    path = segmentation(tmp_path / "a.dcm", [(2, 3, spot((1, 2))), (1, 0, spot((4, 5)))])
    labels = read_labels(path)
    assert labels.grid.is_close(LIKE)
    assert labels.array[2, 1, 3] == 2


def test_segments_follow_a_grid_that_is_turned(tmp_path):
    path = segmentation(tmp_path / "a.dcm", [(1, 3, spot((1, 2)))])
    turn = np.array([[0, 0, -1, 5], [1, 0, 0, 0], [0, -1, 0, 4], [0, 0, 0, 1.0]])  # LIKE's axes in another order
    turned = Grid((5, 4, 6), matrix_to_tuples(LIKE.matrix @ turn))
    labels = read_labels(path, reference_grid=turned)
    (place,) = np.argwhere(labels.array)
    assert np.allclose(turned.to_world(place), LIKE.to_world([2, 1, 3]))


def test_the_later_of_two_segments_stands_where_they_overlap(tmp_path):
    path = segmentation(tmp_path / "a.dcm", [(1, 0, spot((0, 0), (0, 1))), (2, 0, spot((0, 1)))])
    labels = read_labels(path, reference_grid=LIKE)
    assert labels.array[:2, 0, 0].tolist() == [1, 2]
    assert labels.messages == ("Segments overlap in 1 voxels; the later segment stands there.",)


def test_one_segment_is_chosen_by_name_or_number(tmp_path):
    path = segmentation(tmp_path / "a.dcm", [(1, 0, spot((0, 0), (0, 1))), (2, 0, spot((0, 1)))])
    form = find_format(path)
    assert form.list_items(path) == ["liver", "lesion"]
    assert (form.read_labels(path, "lesion", LIKE).array == form.read_labels(path, "2", LIKE).array).all()
    assert (form.read_labels(path, "liver", LIKE).array == 1).sum() == 2
    with pytest.raises(FormatError, match="Did you mean 'lesion'"):
        form.read_labels(path, "lesoin", LIKE)


def test_a_fraction_counts_from_one_half(tmp_path):
    frame = spot((0, 0), value=51) + spot((0, 1), value=50) + spot((0, 2), value=100)
    path = segmentation(tmp_path / "a.dcm", [(1, 0, frame)], kind="FRACTIONAL", top=100)
    assert read_labels(path, reference_grid=LIKE).array[:3, 0, 0].tolist() == [1, 0, 1]


def test_a_label_map_holds_the_numbers_themselves(tmp_path):
    frame = spot((0, 0), value=1) + spot((0, 1), value=2)
    path = segmentation(tmp_path / "a.dcm", [(1, 1, frame)], kind="LABELMAP")
    assert read_labels(path, reference_grid=LIKE).array[:3, 0, 1].tolist() == [1, 2, 0]


def test_segments_of_another_grid_are_refused(tmp_path):
    path = segmentation(tmp_path / "a.dcm", [(1, 0, spot((0, 0)))])
    with pytest.raises(FormatError, match="another grid"):
        read_labels(path, reference_grid=Grid.from_shape((6, 5, 4)))


def test_labels_are_not_read_as_an_image(tmp_path):
    with pytest.raises(FormatError, match="holds labels, not an image"):
        read(segmentation(tmp_path / "a.dcm", [(1, 0, spot((0, 0)))]))


def contours(path, shapes, *, names=("heart",), kind="CLOSED_PLANAR"):
    """Write contours of (region, points in LPS mm)."""
    source = base(RTSTRUCT, "RTSTRUCT")
    source.StructureSetROISequence = Sequence([item(ROINumber=n, ROIName=name) for n, name in enumerate(names, 1)])
    regions = []
    for n in range(1, len(names) + 1):
        drawn = [
            item(
                ContourGeometricType=kind,
                NumberOfContourPoints=len(points),
                ContourData=[f"{v:.4f}" for p in points for v in p],
            )
            for region, points in shapes
            if region == n
        ]
        regions.append(item(ReferencedROINumber=n, ContourSequence=Sequence(drawn)))
    source.ROIContourSequence = Sequence(regions)
    source.save_as(path, enforce_file_format=True)
    return path


def square(low, high, k, grid=LIKE):
    """Give the corners of a square between two indices of a slice, in LPS mm."""
    corners = [(low, low, k), (high, low, k), (high, high, k), (low, high, k)]
    return grid.to_world(corners) * [-1, -1, 1]


def test_a_contour_is_filled_in_its_slice(tmp_path):
    path = contours(tmp_path / "a.dcm", [(1, square(0.5, 3.5, 2))])
    labels = read_labels(path, reference_grid=LIKE)
    assert labels.names == {1: "heart"}
    assert (labels.array[1:4, 1:4, 2] == 1).all()
    assert (labels.array > 0).sum() == 9
    assert labels.messages == ()


def test_a_contour_within_another_is_a_hole(tmp_path):
    path = contours(tmp_path / "a.dcm", [(1, square(-0.5, 4.5, 1)), (1, square(1.5, 2.5, 1))])
    labels = read_labels(path, reference_grid=LIKE)
    assert labels.array[2, 2, 1] == 0
    assert (labels.array > 0).sum() == 24


def test_contours_follow_an_oblique_grid(tmp_path):
    a, b = 0.4, 0.7
    turn = np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]])
    turn = turn @ np.array([[1, 0, 0], [0, np.cos(b), -np.sin(b)], [0, np.sin(b), np.cos(b)]])
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = turn * [0.7, 0.8, 3], [5, -60, 12]
    grid = Grid((6, 5, 4), matrix_to_tuples(matrix))
    labels = read_labels(contours(tmp_path / "a.dcm", [(1, square(0.5, 3.5, 2, grid))]), reference_grid=grid)
    assert (labels.array[1:4, 1:4, 2] == 1).all()
    assert (labels.array > 0).sum() == 9


def test_the_later_of_two_regions_stands_where_they_overlap(tmp_path):
    shapes = [(1, square(0.5, 3.5, 0)), (2, square(2.5, 4.5, 0))]
    labels = read_labels(contours(tmp_path / "a.dcm", shapes, names=("heart", "lung")), reference_grid=LIKE)
    assert labels.array[3, 3, 0] == 2
    assert labels.messages == ("Regions overlap in 1 voxels; the later region stands there.",)


def test_points_enclose_nothing_and_are_told(tmp_path):
    path = contours(tmp_path / "a.dcm", [(1, square(0, 1, 0)[:1])], kind="POINT")
    labels = read_labels(path, reference_grid=LIKE)
    assert not labels.array.any()
    assert "1 contours are points" in labels.messages[0]
    assert "No voxel lies within: heart." in labels.messages


def test_slices_that_the_contours_skip_are_told(tmp_path):
    path = contours(tmp_path / "a.dcm", [(1, square(0.5, 3.5, 0)), (1, square(0.5, 3.5, 2))])
    assert "1 slices between the contours have none" in read_labels(path, reference_grid=LIKE).messages[0]


def test_contours_without_an_image_are_refused_in_one_line(tmp_path):
    path = contours(tmp_path / "a.dcm", [(1, square(0, 1, 0))])
    with pytest.raises(FormatError, match="need the volume") as caught:
        read_labels(path)
    assert "\n" not in str(caught.value)


def test_contours_across_the_slices_are_refused(tmp_path):
    path = contours(tmp_path / "a.dcm", [(1, square(0, 3, 0) + np.array([[0, 0, 0], [0, 0, 5], [4, 1, 9], [0, 0, 0]]))])
    with pytest.raises(FormatError, match="run across"):
        read_labels(path, reference_grid=LIKE)


def test_half_a_point_is_refused_in_one_line(tmp_path):
    path = contours(tmp_path / "a.dcm", [(1, square(0, 1, 0))])
    source = pydicom.dcmread(path)
    source.ROIContourSequence[0].ContourSequence[0].ContourData = ["1", "2", "3", "4"]
    source.save_as(path)
    with pytest.raises(FormatError, match="no points in space"):
        read_labels(path, reference_grid=LIKE)


def test_a_filled_ellipse_holds_the_points_within_it():
    angles = np.linspace(0, 2 * np.pi, 5000, endpoint=False)
    ellipse = np.column_stack([50.3 + 40.1 * np.cos(angles), 49.6 + 30.2 * np.sin(angles)])
    i, j = np.indices((101, 101))
    assert (fill_polygons([ellipse], (101, 101)) == (((i - 50.3) / 40.1) ** 2 + ((j - 49.6) / 30.2) ** 2 < 1)).all()


def test_shapes_that_share_an_edge_neither_overlap_nor_leave_a_seam():
    left = np.array([[0.0, 0], [0, 5], [5, 3], [5, 0]])
    right = np.array([[0.0, 5], [0, 9], [5, 9], [5, 3]])
    together = fill_polygons([left], (8, 12)).astype(int) + fill_polygons([right], (8, 12))
    assert together.max() == 1
    assert (together[:5, :9] == 1).all()


@pytest.mark.peer
def test_segments_written_by_highdicom_come_back(tmp_path):
    highdicom = pytest.importorskip("highdicom")
    from highdicom.sr import CodedConcept

    image = []
    for k in range(4):
        source = base("1.2.840.10008.5.1.4.1.1.2", "CT")
        source.update(
            item(
                PatientID="P1",
                PatientName="A^B",
                PatientBirthDate="",
                PatientSex="",
                StudyInstanceUID="1.2.3",
                SeriesInstanceUID="1.2.3.4",
                StudyID="",
                StudyDate="",
                StudyTime="",
                AccessionNumber="",
                ReferringPhysicianName="",
                FrameOfReferenceUID="1.2.3.5",
                Rows=5,
                Columns=6,
                InstanceNumber=k,
                ImagePositionPatient=[10, 20, 30 + 2.5 * k],
                ImageOrientationPatient=[1, 0, 0, 0, 1, 0],
                PixelSpacing=[2.0, 0.5],
                SliceThickness=2.5,
            )
        )
        image.append(source)
    truth = np.random.default_rng(3).integers(0, 3, (4, 5, 6)).astype(np.uint8)  # (slices, rows, columns)
    organ = CodedConcept("10200004", "SCT", "Liver")
    about = [
        highdicom.seg.SegmentDescription(n, name, organ, organ, highdicom.seg.SegmentAlgorithmTypeValues.MANUAL)
        for n, name in ((1, "liver"), (2, "lesion"))
    ]
    made = highdicom.seg.Segmentation(
        image, truth, "BINARY", about, "1.2.3.6", 1, "1.2.3.7", 1, "us", "model", "1", "serial"
    )
    made.save_as(tmp_path / "seg.dcm")
    for like in (LIKE, None):
        labels = read_labels(tmp_path / "seg.dcm", reference_grid=like)
        assert (labels.array == truth.transpose(2, 1, 0)).all()
        assert labels.names == {1: "liver", 2: "lesion"}

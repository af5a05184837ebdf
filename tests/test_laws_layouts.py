"""What every layout must keep, over the folder listing: a new layout is tested before it has a test of its own."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pillow
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

from medgrad import registry
from medgrad.data.cohorts.cohort import SPLITS, Cohort, Source
from medgrad.data.cohorts.layouts import Hints, NoMatch, recognise
from medgrad.data.formats import write
from medgrad.data.grid import Grid
from medgrad.data.types import Image, LabelMap
from medgrad.errors import LayoutError

LAYOUTS = registry.names("data.cohorts.layouts")


def picture(path: Path, seed: int, size: int = 24) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Pillow.fromarray(np.random.default_rng(seed).integers(0, 255, (size, size), dtype=np.uint8)).save(path)


def mask(path: Path, seed: int, size: int = 24) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    array = np.zeros((size, size), np.uint8)
    array[4 : 8 + seed % 5, 4:9] = 255
    Pillow.fromarray(array).save(path)


def volume(path: Path, seed: int) -> None:
    array = np.random.default_rng(seed).normal(size=(9, 8, 7)).astype(np.float32)
    write(path, Image(array, Grid.from_shape(array.shape, spacing=(1, 1, 2))))


def labels(path: Path) -> None:
    array = np.zeros((9, 8, 7), np.uint8)
    array[2:5, 2:5, 2:5], array[5:7, 2:5, 2:5] = 1, 2
    write(path, LabelMap(array, Grid.from_shape(array.shape, spacing=(1, 1, 2))))


def parallel_folders(root: Path) -> Path:
    for i in range(6):
        picture(root / "images" / f"case_{i}.png", i)
        mask(root / "masks" / f"case_{i}_mask.png", i)
    return root


def nnunet(root: Path) -> Path:
    for i in range(4):
        volume(root / "imagesTr" / f"liver_{i}_0000.nii.gz", i)
        labels(root / "labelsTr" / f"liver_{i}.nii.gz")
    (root / "dataset.json").write_text(
        '{"channel_names": {"0": "CT"}, "labels": {"background": 0, "liver": 1, "tumour": 2}, "file_ending": ".nii.gz"}'
    )
    return root


def same_folder(root: Path) -> Path:
    for i in range(4):
        for name in ("t1", "flair"):
            volume(root / f"BraTS20_{i:03d}" / f"BraTS20_{i:03d}_{name}.nii.gz", i)
        labels(root / f"BraTS20_{i:03d}" / f"BraTS20_{i:03d}_seg.nii.gz")
    return root


def class_folders(root: Path) -> Path:
    for i in range(8):
        picture(root / ("benign" if i % 2 else "malignant") / f"scan{i}.png", i)
    return root


def image_table(root: Path) -> Path:
    for i in range(6):
        picture(root / "pictures" / f"scan{i}.png", i)
    rows = [f"scan{i}.png,{'ill' if i % 2 else 'well'}" for i in range(6)]
    (root / "list.csv").write_text("\n".join(["file,class", *rows]))
    return root


def pairs_table(root: Path) -> Path:
    for i in range(4):
        for side in ("before", "after"):
            volume(root / side / f"p{i}.nii.gz", i + (side == "after") * 10)
            labels(root / side / "drawn" / f"p{i}_{side}.nii.gz")
    rows = [f"p{i},before/p{i}.nii.gz,after/p{i}.nii.gz,before/drawn/p{i}_before.nii.gz,after/drawn/p{i}_after.nii.gz"
            for i in range(4)]  # fmt: skip
    (root / "pairs.csv").write_text("\n".join(["patient,fixed,moving,fixed_labels,moving_labels", *rows]))
    return root


def feature_table(root: Path) -> Path:
    rows = [f"p{i},{i * 0.5},{9 - i},{'ill' if i % 2 else 'well'}" for i in range(6)]
    root.mkdir(exist_ok=True)
    (root / "radiomics.csv").write_text("\n".join(["id,volume,texture,class", *rows]))
    return root


def medmnist(root: Path) -> Path:
    rng = np.random.default_rng(0)
    parts = {}
    for side, n in (("train", 6), ("val", 3)):
        parts[f"{side}_images"] = rng.integers(0, 255, (n, 28, 28), dtype=np.uint8)
        parts[f"{side}_labels"] = np.arange(n)[:, None] % 2
    root.mkdir(exist_ok=True)
    np.savez_compressed(root / "set.npz", **parts)
    return root


def saved(data: Dataset, path: Path, kind: str) -> None:
    data.file_meta = FileMetaDataset()
    data.file_meta.MediaStorageSOPClassUID = data.SOPClassUID = kind
    data.SOPInstanceUID = data.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    path.parent.mkdir(parents=True, exist_ok=True)
    data.save_as(path, enforce_file_format=True)


def ct_slice(path: Path, patient: str, series: str, k: int) -> None:
    data = Dataset()
    data.PatientID, data.StudyInstanceUID, data.SeriesInstanceUID = patient, series + ".1", series
    data.FrameOfReferenceUID, data.Modality, data.StudyDate = series + ".2", "CT", "20200102"
    data.Rows = data.Columns = 16
    data.PixelSpacing, data.SliceThickness = [1, 1], 2
    data.ImageOrientationPatient, data.ImagePositionPatient = [1, 0, 0, 0, 1, 0], [0, 0, 2 * k]
    data.InstanceNumber, data.SamplesPerPixel, data.PhotometricInterpretation = k + 1, 1, "MONOCHROME2"
    data.BitsAllocated = data.BitsStored = 16
    data.HighBit, data.PixelRepresentation, data.RescaleSlope, data.RescaleIntercept = 15, 1, 1, -1024
    data.PixelData = np.random.default_rng(k).integers(0, 2000, (16, 16), dtype=np.int16).tobytes()
    saved(data, path, "1.2.840.10008.5.1.4.1.1.2")


def contours(path: Path, patient: str, series: str, name: str) -> None:
    data, study, one = Dataset(), Dataset(), Dataset()
    data.PatientID, data.StudyInstanceUID, data.SeriesInstanceUID = patient, series + ".1", generate_uid()
    data.Modality, data.StudyDate = "RTSTRUCT", "20200102"
    one.SeriesInstanceUID, study.RTReferencedSeriesSequence = series, None
    study.RTReferencedSeriesSequence = Sequence([one])
    frame, region, drawn, contour = Dataset(), Dataset(), Dataset(), Dataset()
    frame.FrameOfReferenceUID, frame.RTReferencedStudySequence = series + ".2", Sequence([study])
    region.ROINumber, region.ROIName, region.ReferencedFrameOfReferenceUID = 7, name, series + ".2"
    contour.ContourGeometricType, contour.NumberOfContourPoints = "CLOSED_PLANAR", 4
    contour.ContourData = [3, 3, 4, 11, 3, 4, 11, 9, 4, 3, 9, 4]
    drawn.ReferencedROINumber, drawn.ContourSequence = 7, Sequence([contour])
    data.ReferencedFrameOfReferenceSequence = Sequence([frame])
    data.StructureSetROISequence, data.ROIContourSequence = Sequence([region]), Sequence([drawn])
    saved(data, path, "1.2.840.10008.5.1.4.1.1.481.3")


def dicom_tree(root: Path) -> Path:
    for p in range(2):
        series = f"1.2.3.{p + 4}"
        for k in range(4):
            ct_slice(root / f"p{p}" / "ct" / f"{k}.dcm", f"P{p}", series, k)
        contours(root / f"p{p}" / "rs.dcm", f"P{p}", series, "GTV" if p else "gtv")
    return root


BOX = "<object><name>{}</name><bndbox><xmin>{}</xmin><ymin>2</ymin><xmax>12</xmax><ymax>9</ymax></bndbox></object>"


def voc(root: Path) -> Path:
    (root / "annotations").mkdir(parents=True)
    for i in range(4):
        picture(root / "images" / f"scan{i}.png", i)
        drawn = "".join(BOX.format(name, 1 + k) for k, name in enumerate(("cell", "clot")[: 1 + i % 2]))
        (root / "annotations" / f"scan{i}.xml").write_text(f"<annotation><size></size>{drawn}</annotation>")
    return root


def coco(root: Path) -> Path:
    for i in range(4):
        picture(root / "images" / f"scan{i}.png", i)
    images = [{"id": i, "file_name": f"scan{i}.png", "width": 24, "height": 24} for i in range(4)]
    drawn = [{"id": i, "image_id": i % 3, "category_id": 5 + i % 2, "bbox": [i, 2, 5, 9]} for i in range(6)]
    kinds = [{"id": 5, "name": "clot"}, {"id": 6, "name": "cell"}]
    (root / "boxes.json").write_text(json.dumps({"images": images, "annotations": drawn, "categories": kinds}))
    return root


def yolo(root: Path) -> Path:
    for i in range(4):
        picture(root / "train" / "images" / f"scan{i}.png", i)
        (root / "train" / "labels").mkdir(exist_ok=True)
        (root / "train" / "labels" / f"scan{i}.txt").write_text(f"{i % 2} 0.5 0.25 0.2 0.1\n")
    (root / "data.yaml").write_text("train: train/images\nnc: 2\nnames: ['clot', 'cell']\n")
    return root


def points(root: Path) -> Path:
    for i in range(4):
        picture(root / f"scan{i}.png", i)
        (root / f"scan{i}.txt").write_text(f"{i + 3}.5 4 cell\n12 {i + 9} clot\n")
    return root


def boxes_table(root: Path) -> Path:
    for i in range(4):
        volume(root / "scans" / f"scan{i}.nii.gz", i)
    rows = ["seriesuid,coordX,coordY,coordZ,diameter_mm", *[f"scan{i},-{i + 2},-3,4,2.5" for i in range(3)]]
    (root / "annotations.csv").write_text("\n".join(rows))
    return root


EXAMPLES: dict[str, Callable[[Path], Path]] = {
    f.__name__: f
    for f in (
        parallel_folders,
        nnunet,
        same_folder,
        class_folders,
        image_table,
        pairs_table,
        feature_table,
        medmnist,
        dicom_tree,
        voc,
        coco,
        yolo,
        points,
        boxes_table,
    )
}


def test_every_layout_has_an_example_here():
    assert sorted(EXAMPLES) == LAYOUTS


def test_no_two_layouts_are_asked_at_the_same_place():
    orders = [registry.find("data.cohorts.layouts", name).order for name in LAYOUTS]
    assert len(set(orders)) == len(orders)


@pytest.fixture(scope="module")
def cohorts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Cohort]:
    return {name: recognise(make(tmp_path_factory.mktemp(name))) for name, make in EXAMPLES.items()}


@pytest.mark.parametrize("name", LAYOUTS)
def test_an_example_is_recognised_as_what_it_is(name, cohorts):
    assert cohorts[name].layout == name


@pytest.mark.parametrize("name", LAYOUTS)
def test_every_case_has_a_name_of_its_own_a_patient_and_files_that_exist(name, cohorts):
    entries = cohorts[name].entries
    assert len({e.id for e in entries}) == len(entries) > 1
    for entry in entries:
        sources = [*entry.images.values(), *([entry.truth] if isinstance(entry.truth, Source) else [])]
        assert entry.patient
        assert all(s.path.exists() for s in sources)


@pytest.mark.parametrize("name", LAYOUTS)
def test_every_case_loads_on_as_many_axes_as_the_set_says(name, cohorts):
    cohort = cohorts[name]
    for entry in cohort.entries:
        case = cohort.load_case(entry)
        assert case.truth is not None
        assert case.grid.dims == cohort.dims
        if isinstance(case.truth, LabelMap):
            assert set(np.unique(case.truth.array)) <= {0, *range(1, len(cohort.labels) + 1)}
            assert case.truth.array.any()


@pytest.mark.parametrize("name", LAYOUTS)
def test_what_is_told_are_sentences_and_sides_are_known(name, cohorts):
    cohort = cohorts[name]
    assert cohort.labels
    assert cohort.patients_source
    assert all(t[0].isupper() or t[0] in "'0123456789abcdefghijklmnopqrstuvwxyz" for t in cohort.messages)
    assert all(t.endswith(".") for t in cohort.messages)
    assert {e.split for e in cohort.entries} <= {None, *SPLITS}


@pytest.mark.parametrize("name", LAYOUTS)
def test_files_that_are_not_data_disturb_nothing(name, tmp_path):
    root = EXAMPLES[name](tmp_path)
    before = recognise(root)
    for folder in [root, *(p for p in root.rglob("*") if p.is_dir())]:
        for junk in (".DS_Store", "Thumbs.db", "README.md", "LICENSE", "._scan0.png", "desktop.ini", ".hidden.csv"):
            (folder / junk).write_text("nothing")
    (root / "__MACOSX").mkdir()
    picture(root / "__MACOSX" / "x.png", 1)
    after = recognise(root)
    assert [(e.id, e.patient, e.split, dict(e.images)) for e in after.entries] == [
        (e.id, e.patient, e.split, dict(e.images)) for e in before.entries
    ]
    assert after.messages == before.messages


@pytest.mark.parametrize("setting", ["truth", "roi"])
@pytest.mark.parametrize("name", LAYOUTS)
def test_a_hint_that_names_nothing_is_refused_by_its_name(name, setting, cohorts):
    with pytest.raises(LayoutError, match=rf"--{setting} 'nowhere'") as reason:
        recognise(cohorts[name].root, Hints(**{setting: "nowhere"}))
    assert "\n" not in str(reason.value)


@pytest.mark.parametrize(
    ("name", "hint"), [("nnunet", "labelsTr"), ("parallel_folders", "masks"), ("dicom_tree", "GTV")]
)
def test_a_hint_that_names_what_is_found_without_it_changes_no_layout(name, hint, cohorts):
    assert recognise(cohorts[name].root, Hints(truth=hint)).layout == name


@pytest.mark.parametrize("name", LAYOUTS)
def test_nothing_there_is_a_miss_that_says_why(name, tmp_path):
    layout = registry.find("data.cohorts.layouts", name)
    (tmp_path / "empty").mkdir()
    (tmp_path / "notes.txt").write_text("words")
    for place in (tmp_path / "empty", tmp_path / "notes.txt", tmp_path):
        found = layout(place, Hints())
        assert isinstance(found, NoMatch)
        assert 0 <= found.closeness <= 1
        assert found.reason.endswith(".")


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_layout_is_left_alone_by_a_task_that_it_does_not_serve(name, tmp_path):
    assert isinstance(
        registry.find("data.cohorts.layouts", name)(EXAMPLES[name](tmp_path), Hints(task="weather")), NoMatch
    )


def test_a_folder_that_is_not_recognised_is_one_line_that_says_what_is_in_it(tmp_path):
    picture(tmp_path / "a.png", 0)
    with pytest.raises(LayoutError, match=r"it holds 1 \.png.*nearest layout") as reason:
        recognise(tmp_path)
    assert "\n" not in str(reason.value)


def test_a_path_that_is_not_there_says_so(tmp_path):
    with pytest.raises(LayoutError, match="does not exist"):
        recognise(tmp_path / "nowhere")

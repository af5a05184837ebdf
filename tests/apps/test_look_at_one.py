"""``look`` at one file or one series tells what it is, and what is wrong with it."""

import numpy as np
import pytest
from command_line import done, medgrad, one_line
from dicom_answers import labels_on, make_series, maker_in
from PIL import Image as Pillow

from medgrad.data import Grid, Image, LabelMap
from medgrad.data.dicom.write.rtstruct import write_rtstruct
from medgrad.data.dicom.write.seg import make_seg, save_dataset
from medgrad.data.formats import write

GRID = Grid.from_shape((6, 5, 4), spacing=(1, 2, 5))


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("things")
    array = np.arange(120, dtype=np.int16).reshape(6, 5, 4)
    write(folder / "scan.nii.gz", Image(array, GRID))
    marked = np.zeros(GRID.shape, np.uint8)
    marked[:2], marked[2, 0] = 1, 3
    write(folder / "marked.nii.gz", LabelMap(marked, GRID))
    write(folder / "scan.mha", Image(array.astype(np.float32), GRID))
    broken = array.astype(np.float32)
    broken[0, 0, 0] = np.nan
    write(folder / "broken.nii.gz", Image(broken, GRID))
    write(folder / "even.nii.gz", Image(np.ones(GRID.shape, np.uint8), GRID))
    np.save(folder / "rows.npy", array[..., 0])
    Pillow.fromarray(np.arange(192, dtype=np.uint8).reshape(8, 8, 3)).save(folder / "colour.png")
    Pillow.fromarray(np.arange(64, dtype=np.uint16).reshape(8, 8)).save(folder / "deep.tif")
    return folder


def looked(path):
    return done("look", path)["file"]


def test_a_volume_tells_its_size_spacing_orientation_and_values(place):
    found = looked(place / "scan.nii.gz")
    assert (found["format"], found["kind"]) == ("NIfTI", "image")
    assert (found["size"], found["spacing_mm"], found["orientation"]) == ([6, 5, 4], [1, 2, 5], "RAS")
    assert (found["channels"], found["modality"]) == (1, None)
    assert (found["values"]["type"], found["values"]["min"], found["values"]["max"]) == ("int16", 0, 119)
    assert found["values"]["p50"] == pytest.approx(59.5)
    assert found["labels"] == found["faults"] == []


def test_labels_are_counted_and_measured(place):
    found = looked(place / "marked.nii.gz")
    assert [(v["value"], v["elements"], v["volume_ml"]) for v in found["labels"]] == [
        (1, 40, pytest.approx(0.4)),
        (3, 4, pytest.approx(0.04)),
    ]


@pytest.mark.parametrize(
    ("name", "form", "size"),
    [
        ("scan.mha", "MetaImage or NRRD", [6, 5, 4]),
        ("rows.npy", "NumPy", [6, 5]),
        ("colour.png", "picture", [8, 8]),
        ("deep.tif", "TIFF", [8, 8]),
    ],
)
def test_every_format_is_looked_at(place, name, form, size):
    found = looked(place / name)
    assert (found["format"], found["size"]) == (form, size)
    assert found["channels"] == (3 if name == "colour.png" else 1)


@pytest.mark.parametrize(("name", "kind"), [("broken.nii.gz", "non-finite"), ("even.nii.gz", "constant")])
def test_faults_are_those_of_the_survey(place, name, kind):
    assert [f["kind"] for f in looked(place / name)["faults"]] == [kind]


def test_the_words_say_the_same(place):
    text = medgrad("look", place / "marked.nii.gz").out
    assert "volume of 6 x 5 x 4" in text
    assert "label 3: 4 elements, 0.04 ml" in text
    assert "no faults" in text
    assert text.count("\n") < 8


def test_a_series_tells_who_when_and_with_what(tmp_path):
    make_series(tmp_path / "ct")
    found = looked(tmp_path / "ct")
    assert (found["format"], found["modality"], found["size"]) == ("DICOM", "ct", [9, 8, 5])
    assert found["about"]["patient"] == "p"
    assert found["about"]["study_date"] == "20240102"
    assert "A^B" not in str(found)


def test_segments_and_contours_are_named(tmp_path):
    source, image = make_series(tmp_path / "ct")
    labels = labels_on(image.grid)
    save_dataset(make_seg(labels, source, made_by=maker_in(tmp_path)), tmp_path / "seg.dcm")
    write_rtstruct(tmp_path / "rs.dcm", labels, source, made_by=maker_in(tmp_path))
    seg, regions = looked(tmp_path / "seg.dcm"), looked(tmp_path / "rs.dcm")
    assert [v["name"] for v in seg["labels"]] == list(labels.names.values())
    assert [v["elements"] for v in seg["labels"]] == [int((labels.array == n).sum()) for n in labels.names]
    assert (regions["kind"], [v["name"] for v in regions["labels"]]) == ("regions", list(labels.names.values()))


def test_several_series_without_a_truth_are_listed(tmp_path):
    import pydicom

    for name in ("a", "b"):
        make_series(tmp_path / name)
        uid = pydicom.uid.generate_uid()
        for path in (tmp_path / name).iterdir():
            data = pydicom.dcmread(path)
            data.SeriesInstanceUID, data.SeriesDescription = uid, f"series {name}"
            data.save_as(path)
    found = done("look", tmp_path)
    assert {(s["modality"], s["description"], s["pictures"]) for s in found["series"]} == {
        ("CT", "series a", 5),
        ("CT", "series b", 5),
    }
    assert found["text"].count("5 pictures, patient p, 20240102") == 2


def test_a_folder_of_one_image_is_that_image(place, tmp_path):
    (tmp_path / "one.nii.gz").write_bytes((place / "scan.nii.gz").read_bytes())
    assert looked(tmp_path)["size"] == [6, 5, 4]


def test_what_cannot_be_read_is_told(tmp_path):
    (tmp_path / "cut.nii.gz").write_bytes(b"\x1f\x8b nothing")
    one_line(medgrad("look", tmp_path / "cut.nii.gz"), "cut.nii.gz", "copied whole")
    (tmp_path / "words.md").write_text("words")
    one_line(medgrad("look", tmp_path / "words.md"), "words.md", "not in a format that is known")


def test_a_set_of_one_patient_can_be_looked_at(tmp_path):
    rng = np.random.default_rng(0)
    for number in range(4):
        Pillow.fromarray(rng.integers(0, 255, (16, 16), dtype=np.uint8)).save(tmp_path / f"s{number}.png")
    rows = [f"s{number}.png,{'ill' if number % 2 else 'well'},p1" for number in range(4)]
    (tmp_path / "list.csv").write_text("\n".join(["file,class,patient", *rows]))
    found = done("look", tmp_path)
    assert found["look"]["fingerprint"]["patients"] == 1
    assert any("cannot be split" in sentence for sentence in found["told"])

"""``medgrad process``: what it writes, what it says of it, and what it refuses in one line."""

import hashlib
import json

import numpy as np
import pytest
from command_line import done, medgrad, one_line

import medgrad as package
from medgrad.data import Grid, Image, LabelMap
from medgrad.data.formats import read, write

TURNED = ((0.0, -1.5, 0.0, 40.0), (-1.0, 0.0, 0.0, 30.0), (0.0, 0.0, 3.0, -60.0), (0.0, 0.0, 0.0, 1.0))
GRID = Grid((20, 16, 12), TURNED)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder, rng = tmp_path_factory.mktemp("scans"), np.random.default_rng(0)
    for number in range(2):
        array = np.rint(rng.normal(40, 20, GRID.shape)).astype(np.int16)
        write(folder / f"scan_{number}.nii.gz", Image(array, GRID))
    flat = rng.integers(0, 255, (30, 24), dtype=np.uint8)
    write(folder / "slide.png", Image(flat, Grid.from_shape(flat.shape)))
    return folder


def test_each_image_is_written_in_its_own_format_type_and_place(folder, tmp_path):
    found = done("process", "smooth", folder, "-o", tmp_path / "out", "--set", "fwhm=5")
    assert len(found["images"]) == 3
    record = json.loads((tmp_path / "out" / "process.json").read_text())
    assert record["steps"] == [{"name": "smooth", "fwhm": 5}]
    assert [one["type"] for one in record["images"]] == [{"before": t, "after": t} for t in ("int16", "int16", "uint8")]
    digest = hashlib.sha256((folder / "scan_0.nii.gz").read_bytes()).hexdigest()
    assert digest in [one["input_sha256"] for one in record["images"]]
    for name in ("scan_0.nii.gz", "slide.png"):
        before, after = read(folder / name), read(tmp_path / "out" / name)
        assert after.grid.is_close(before.grid)
        assert after.array.dtype == before.array.dtype
        assert after.array.std() < 0.7 * before.array.std()


def test_inside_a_mask_alone(folder, tmp_path):
    inside = np.zeros(GRID.shape, np.uint8)
    inside[4:10, 4:10, 3:9] = 1
    mask = write(tmp_path / "mask.nii.gz", LabelMap(inside, GRID))
    scan = folder / "scan_0.nii.gz"
    package.process("smooth", str(scan), out=str(tmp_path / "out"), roi=str(mask))
    before, after = read(scan).array, read(tmp_path / "out" / "scan_0.nii.gz").array
    np.testing.assert_array_equal(after[inside == 0], before[inside == 0])
    assert (after[inside == 1] != before[inside == 1]).any()


def test_a_file_that_cannot_be_read_stops_no_other(folder, tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.nii.gz").write_bytes((folder / "scan_1.nii.gz").read_bytes()[:2000])
    (tmp_path / "in" / "b.nii.gz").write_bytes((folder / "scan_0.nii.gz").read_bytes())
    (tmp_path / "in" / "c.png").write_bytes(b"no picture")
    (tmp_path / "in" / "notes.txt").write_text("no image")
    found = package.process("smooth", tmp_path / "in", out=tmp_path / "out")
    assert ["failure" in one for one in found["images"]] == [True, False, True]
    one_line(medgrad("process", "smooth", tmp_path / "in" / "a.nii.gz", "-o", tmp_path / "no"), "a.nii.gz")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("smoth",), ("'smoth'", "Did you mean 'smooth'?")),
        (("smooth", "--set", "fwmh=3"), ("'fwmh=3'", "Did you mean 'fwhm'?")),
        (("smooth", "--set", "fwhm=-1"), ("'fwhm'", "0 to 100 mm", "-1")),
        (("smooth", "--set", "fwhm=wide"), ("'fwhm'", "a number")),
        (("smooth", "--set", "fwhm"), ("NAME=VALUE",)),
        (("smooth,smooth", "--set", "fwhm=3"), ("several steps have it",)),
        (("smooth", "--roi", "gone.nii"), ("'gone.nii' does not exist",)),
    ],
    ids=lambda v: " ".join(v),
)
def test_what_is_wrong_is_told_before_anything_is_read(folder, tmp_path, words, said, monkeypatch):
    monkeypatch.setattr("medgrad.inference.pipeline.process_images.read", lambda _: pytest.fail("it was read"))
    steps, *options = words
    one_line(medgrad("process", steps, folder, "-o", tmp_path / "out", *options), *said)
    assert not (tmp_path / "out").exists()


def test_a_mask_on_another_grid_is_refused(folder, tmp_path):
    mask = write(tmp_path / "mask.nii.gz", LabelMap(np.ones((5, 5, 5), np.uint8), Grid.from_shape((5, 5, 5))))
    one_line(
        medgrad("process", "smooth", folder / "scan_0.nii.gz", "-o", tmp_path / "out", "--roi", mask), "mask.nii.gz"
    )


def test_two_inputs_of_one_name_do_not_replace_each_other(folder, tmp_path):
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "scan_0.nii.gz").write_bytes((folder / "scan_1.nii.gz").read_bytes())
    words = folder / "scan_0.nii.gz", tmp_path / "other"
    one_line(medgrad("process", "smooth", *words, "-o", tmp_path / "out"), "'scan_0.nii.gz'", "two folders")
    assert not (tmp_path / "out").exists()


def test_a_table_is_filled_as_a_whole_and_keeps_what_it_has(tmp_path):
    rows = ["id;width;count;class"] + [f"p{i};{i / 4};{i};{'ab'[i % 2]}" for i in range(12)]
    rows[4], rows[7] = "p3;;3;b", "p6;1.50;NA;"
    (tmp_path / "features.csv").write_text("\n".join(rows) + "\n")
    found = done("process", "fill", tmp_path / "features.csv", "-o", tmp_path / "out", "--set", "neighbours=2")
    made = (tmp_path / "out" / "features.csv").read_text().splitlines()
    assert [i for i, (a, b) in enumerate(zip(made, rows, strict=True)) if a != b] == [4, 7]
    assert (made[4], made[7]) == ("p3;0.75;3;b", "p6;1.50;6;")
    (image,) = found["images"]
    assert image["chosen"][0]["table"] == [{"filled": 2, "columns": "width, count", "method": "nearest"}]
    assert "'class'" in image["messages"][-1]


@pytest.mark.parametrize(
    ("text", "words", "said"),
    [
        ("a,b\n1,\n2,\n", ("fill",), "'b'"),
        ("a,b\n1,2\n2,\n", ("smooth",), "'smooth' takes images"),
        ("a,b\n1,2\n2,\n", ("fill", "--set", "method=harmonic"), "nearest"),
    ],
)
def test_a_table_that_cannot_be_processed_is_told(tmp_path, text, words, said):
    (tmp_path / "t.csv").write_text(text)
    one_line(medgrad("process", words[0], tmp_path / "t.csv", "-o", tmp_path / "out", *words[1:]), said)

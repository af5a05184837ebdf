"""Tables of images and MedMNIST's archives."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pillow

from medgrad.data.cohorts.layouts import Hints, recognise
from medgrad.errors import FormatError, LayoutError


def scans(root: Path, n: int = 6, folder: str = "images") -> Path:
    (root / folder).mkdir(parents=True)
    for i in range(n):
        array = np.random.default_rng(i).integers(0, 256, (16, 16), dtype=np.uint8)
        Pillow.fromarray(array).save(root / folder / f"s{i}.png")
    return root


def table(root: Path, text: str, name: str = "list.csv") -> Path:
    (root / name).write_text(text)
    return root / name


@pytest.mark.parametrize(
    "cell", ["s{}.png", "s{}", "images/s{}.png", "./images/s{}.png", "/data/of/others/images/s{}.png"]
)
def test_a_file_is_found_however_the_table_writes_it(tmp_path, cell):
    rows = "\n".join(f"{cell.format(i)},{'a' if i % 2 else 'b'}" for i in range(6))
    path = table(scans(tmp_path), f"image,diagnosis\n{rows}\n")
    cohort = recognise(path)
    assert [e.images["image"].path.name for e in cohort.entries] == [f"s{i}.png" for i in range(6)]


def test_columns_of_patients_and_sides_are_used(tmp_path):
    sides = ["train", "train", "valid", "Test", "train", "val"]
    rows = "\n".join(f"s{i}.png;{'ab'[i % 2]};P{i // 2};{sides[i]}" for i in range(6))
    cohort = recognise(table(scans(tmp_path), f"file;label;patient_id;my_split\n{rows}\n"))
    assert [e.patient for e in cohort.entries] == ["P0", "P0", "P1", "P1", "P2", "P2"]
    assert [e.split for e in cohort.entries] == ["train", "train", "val", "test", "train", "val"]
    assert "patient_id" in cohort.patients_source


def test_several_columns_of_0_and_1_are_classes_that_may_hold_together(tmp_path):
    rows = "\n".join(f"s{i}.png,{i % 2},{int(i > 2)},{i}" for i in range(6))
    cohort = recognise(table(scans(tmp_path), f"file,oedema,mass,age\n{rows}\n"))
    assert (cohort.labels, cohort.exclusive) == (("oedema", "mass"), False)
    assert cohort.entries[5].truth.values.tolist() == [1, 1]


def test_columns_of_0_and_1_of_which_just_one_holds_are_classes_that_exclude_each_other(tmp_path):
    rows = "\n".join(f"s{i}.png,{i % 2},{1 - i % 2}" for i in range(6))
    cohort = recognise(table(scans(tmp_path), f"file,mel,nev\n{rows}\n"))
    assert cohort.exclusive
    assert cohort.entries[1].truth.top_class == "mel"


def test_lists_with_bars_are_classes_that_may_hold_together(tmp_path):
    words = ["Mass|Oedema", "No Finding", "Mass", "Oedema", "No Finding", "Mass"]
    rows = "\n".join(f"s{i}.png,{w}" for i, w in enumerate(words))
    cohort = recognise(table(scans(tmp_path), f"Image Index,Finding Labels\n{rows}\n"))
    assert (cohort.labels, cohort.exclusive) == (("Mass", "Oedema"), False)
    assert cohort.entries[1].truth.values.tolist() == [0, 0]


def test_a_column_of_masks_makes_it_segmentation(tmp_path):
    scans(tmp_path)
    (tmp_path / "drawn").mkdir()
    for i in range(6):
        Pillow.fromarray(np.eye(16, dtype=np.uint8) * 255).save(tmp_path / "drawn" / f"m{i}.png")
    rows = "\n".join(f"images/s{i}.png,drawn/m{i}.png" for i in range(6))
    cohort = recognise(table(tmp_path, f"image,mask\n{rows}\n"))
    assert (cohort.task, cohort.label_values) == ("segmentation", (255,))
    assert cohort.load_case(cohort.entries[0]).truth.array.sum() == 16


def test_rows_whose_file_is_not_there_are_told(tmp_path):
    rows = "\n".join(f"s{i}.png,{'ab'[i % 2]}" for i in range(8))
    cohort = recognise(table(scans(tmp_path), f"file,label\n{rows}\n"))
    assert len(cohort.entries) == 6
    assert any("2 row(s)" in t and "'s6.png'" in t for t in cohort.messages)


def test_two_rows_that_disagree_are_refused(tmp_path):
    with pytest.raises(LayoutError, match=r"says two things of 's0\.png'"):
        recognise(table(scans(tmp_path), "file,label\ns0.png,a\ns0.png,b\ns1.png,b\n"))


def test_a_row_without_a_class_stands_on_no_side(tmp_path):
    cohort = recognise(table(scans(tmp_path), "file,label,split\ns0.png,a,train\ns1.png,,train\ns2.png,b,val\n"))
    assert [(e.truth is None, e.split) for e in cohort.entries] == [(False, "train"), (True, None), (False, "val")]


def test_a_measurement_is_not_taken_for_a_class(tmp_path):
    rows = "\n".join(f"s{i % 6}.png,{i / 7}" for i in range(300))
    with pytest.raises(LayoutError, match="too many to be classes"):
        recognise(table(scans(tmp_path), f"file,label\n{rows}\n"))


def test_a_name_that_climbs_out_of_the_folder_is_not_followed(tmp_path):
    scans(tmp_path / "outside")
    (tmp_path / "set").mkdir()
    with pytest.raises(LayoutError, match=r"no file that the column .file. of"):
        recognise(table(tmp_path / "set", "file,label\n../outside/images/s0.png,a\n../outside/images/s1.png,b\n"))


def test_tables_for_the_sides_are_put_together(tmp_path):
    scans(tmp_path)
    table(tmp_path, "file,label\ns0.png,a\ns1.png,b\ns2.png,a\n", "train.csv")
    table(tmp_path, "file,label\ns3.png,a\ns4.png,b\n", "test.csv")
    cohort = recognise(tmp_path)
    assert [e.split for e in cohort.entries] == ["train"] * 3 + ["test"] * 2


@pytest.mark.parametrize("text", ["\xff\xfe\x00", 'a,"b\n', "file,file\ns0.png,x\n", ""])
def test_a_broken_table_is_one_line(tmp_path, text):
    scans(tmp_path)
    (tmp_path / "list.csv").write_bytes(text.encode("latin-1"))
    with pytest.raises(LayoutError) as reason:
        recognise(tmp_path / "list.csv")
    assert "\n" not in str(reason.value)


def archive(path: Path, **parts: np.ndarray) -> Path:
    np.savez_compressed(path, **parts)
    return path


def rows(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 255, shape, dtype=np.uint8)


@pytest.mark.parametrize(("shape", "dims", "channels"), [((28, 28), 2, 1), ((28, 28, 3), 2, 3), ((12, 12, 12), 3, 1)])
def test_grey_colour_and_deep_rows_are_told_apart(tmp_path, shape, dims, channels):
    path = archive(tmp_path / "a.npz", train_images=rows(4, *shape), train_labels=np.array([0, 1, 2, 1]))
    cohort = recognise(path)
    image = cohort.load_case(cohort.entries[2]).images["image"]
    assert (cohort.dims, image.grid.dims, image.channels) == (dims, dims, channels)
    assert cohort.labels == ("0", "1", "2")
    assert cohort.entries[2].truth.top_class == "2"


def test_several_columns_of_labels_may_hold_together(tmp_path):
    labels = np.array([[0, 1, 1], [1, 0, 0]])
    cohort = recognise(archive(tmp_path / "a.npz", train_images=rows(2, 8, 8), train_labels=labels))
    assert not cohort.exclusive
    assert cohort.entries[0].truth.values.tolist() == [0, 1, 1]


def test_an_archive_is_its_own_split(tmp_path):
    parts = {f"{s}_{k}": v for s, n in (("train", 4), ("val", 2), ("test", 3))
             for k, v in (("images", rows(n, 8, 8)), ("labels", np.arange(n)[:, None] % 2))}  # fmt: skip
    cohort = recognise(archive(tmp_path / "a.npz", **parts))
    assert [len(cohort.in_splits(s).entries) for s in ("train", "val", "test")] == [4, 2, 3]
    row = cohort.in_splits("val").entries[1]
    assert (cohort.load_case(row).images["image"].array == parts["val_images"][1]).all()


def test_several_archives_in_a_folder_are_named(tmp_path):
    for name in ("a.npz", "b.npz"):
        archive(tmp_path / name, train_images=rows(2, 8, 8), train_labels=np.array([0, 1]))
    with pytest.raises(LayoutError, match=r"2 sets: a\.npz, b\.npz"):
        recognise(tmp_path)


@pytest.mark.parametrize(
    ("labels", "why"),
    [
        (np.array([0, 1, 1]), "2 rows in train_images, but 3"),
        (np.array([0.5, 1]), "whole numbers"),
        (np.array([-1, 1]), "whole numbers from 0"),
        (np.array([[0, 2], [1, 1]]), "each must be 0 or 1"),
        (np.array([0, 10**9]), "too many classes"),
    ],
)
def test_labels_that_cannot_be_are_refused(tmp_path, labels, why):
    path = archive(tmp_path / "a.npz", train_images=rows(2, 8, 8), train_labels=labels)
    with pytest.raises(FormatError, match=why):
        recognise(path)


def test_an_archive_that_is_cut_off_is_one_line(tmp_path):
    path = archive(tmp_path / "a.npz", train_images=rows(50, 28, 28), train_labels=np.arange(50) % 2)
    path.write_bytes(path.read_bytes()[:2_000])
    with pytest.raises((LayoutError, FormatError)) as reason:
        recognise(path, Hints())
    assert "\n" not in str(reason.value)

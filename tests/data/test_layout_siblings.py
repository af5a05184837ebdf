"""Folders of images and masks side by side: pairing by name, the region, labels, and doubts."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pillow

from medgrad.data.cohorts.layouts import Hints, recognise
from medgrad.data.cohorts.layouts._files import natural_sort_key
from medgrad.data.cohorts.layouts.parallel_folders import match_keys
from medgrad.data.formats import write
from medgrad.data.grid import Grid
from medgrad.data.types import Image, LabelMap
from medgrad.errors import FormatError, LayoutError


def save(path: Path, array: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Pillow.fromarray(array).save(path)


def noise(path: Path, seed: int, size: int = 32) -> None:
    save(path, np.random.default_rng(seed).integers(0, 256, (size, size), dtype=np.uint8))


def square(path: Path, values: int = 255, low: int = 8, high: int = 16, size: int = 32) -> None:
    array = np.zeros((size, size), np.uint8)
    array[low:high, low:high] = values
    save(path, array)


def pairs(root: Path, n: int = 5) -> Path:
    for i in range(n):
        noise(root / "images" / f"{i}.png", i)
        square(root / "masks" / f"{i}.png")
    return root


@pytest.mark.parametrize(
    ("images", "masks"),
    [
        (["a_1", "a_2"], ["a_1", "a_2"]),
        (["img12", "img7"], ["mask12", "mask7"]),
        (["21_training", "22_training"], ["21_manual1", "22_manual1"]),
        (["ISIC_001", "ISIC_002"], ["ISIC_001_segmentation", "ISIC_002_segmentation"]),
        (["volume-0", "volume-11"], ["segmentation-0", "segmentation-11"]),
        (["case_00_0000", "case_01_0000"], ["case_00", "case_01"]),
        (["p1_img_a", "p1_img_b"], ["p1_gt_a", "p1_gt_b"]),
    ],
)
def test_names_pair_up_without_the_words_that_differ_by_folder(images, masks):
    left, right = ({(None, n): Path(n) for n in names} for names in (images, masks))
    found = match_keys(left, right)
    assert [found[None, i][1] for i in images] == masks


def test_names_with_nothing_in_common_do_not_pair_up(tmp_path):
    for i in range(4):
        noise(tmp_path / "images" / f"{'abcd'[i]}.png", i)
        square(tmp_path / "masks" / f"{'wxyz'[i]}.png")
    with pytest.raises(LayoutError, match="do not pair up by name"):
        recognise(tmp_path)


def test_a_mask_of_0_and_255_is_one_label_named_for_its_folder(tmp_path):
    for i in range(3):
        noise(tmp_path / "images" / f"{i}.png", i)
        square(tmp_path / "vessel" / f"{i}.png")
    cohort = recognise(tmp_path)
    assert (cohort.labels, cohort.label_values, cohort.dims) == (("vessel",), (255,), 2)
    assert cohort.load_case(cohort.entries[0]).truth.array.sum() == 64


def test_every_value_in_any_file_is_a_label(tmp_path):
    for i in range(7):
        noise(tmp_path / "images" / f"{i}.png", i)
        square(tmp_path / "labels" / f"{i}.png", values=4 if i == 6 else 2)
    cohort = recognise(tmp_path)
    assert (cohort.labels, cohort.label_values) == (("2", "4"), (2, 4))
    assert cohort.load_case(cohort.entries[6]).truth.array.max() == 2


def test_things_numbered_one_by_one_become_one_label_and_that_is_told(tmp_path):
    for i in range(6):
        noise(tmp_path / "images" / f"{i}.png", i)
        array = np.zeros((32, 32), np.uint16)
        for k in range(6 + 3 * i):
            array[4 * (k // 8) : 4 * (k // 8) + 2, 4 * (k % 8) : 4 * (k % 8) + 2] = k + 1
        save(tmp_path / "labels" / f"{i}.png", array)
    cohort = recognise(tmp_path)
    assert (cohort.labels, cohort.label_values) == (("foreground",), ())
    assert any("number single things" in t for t in cohort.messages)
    assert np.unique(cohort.load_case(cohort.entries[0]).truth.array).tolist() == [0, 1]


def test_organs_that_all_files_have_are_not_taken_for_things_numbered_one_by_one(tmp_path):
    for i in range(5):
        noise(tmp_path / "images" / f"{i}.png", i)
        array = np.zeros((32, 32), np.uint8)
        for k in range(9):
            array[3 * k : 3 * k + 2, i : i + 9] = k + 1
        save(tmp_path / "labels" / f"{i}.png", array)
    assert recognise(tmp_path).label_values == tuple(range(1, 10))


def test_masks_blurred_by_jpeg_are_cut_at_their_middle(tmp_path):
    for i in range(4):
        noise(tmp_path / "images" / f"{i}.jpg", i, size=64)
        square(tmp_path / "masks" / f"{i}.jpg", size=64, low=13, high=45)
    cohort = recognise(tmp_path)
    assert (cohort.label_values, cohort.threshold) == ((), 127)
    assert cohort.load_case(cohort.entries[0]).truth.array.sum() == pytest.approx(32 * 32, rel=0.02)


def with_region(root: Path, inner: str, outer: str) -> Path:
    for i in range(4):
        noise(root / "images" / f"{i}.png", i)
        square(root / inner / f"{i}.png")
        square(root / outer / f"{i}.png", low=2, high=30)
    return root


@pytest.mark.parametrize("outer", ["fov", "other"])
def test_a_mask_that_holds_the_other_is_the_region_and_that_is_told(tmp_path, outer):
    cohort = recognise(with_region(tmp_path, "vessel", outer))
    assert cohort.labels == ("vessel",)
    assert any(repr(outer) in t and "region" in t for t in cohort.messages)
    assert cohort.load_case(cohort.entries[0]).roi.array.astype(bool).sum() == 28 * 28


def two_masks(root: Path) -> Path:
    for i in range(4):
        noise(root / "images" / f"{i}.png", i)
        square(root / "disc" / f"{i}.png", low=2, high=10)
        square(root / "lesion" / f"{i}.png", low=8, high=20)
    return root


def test_two_masks_are_a_doubt_that_names_both(tmp_path):
    with pytest.raises(LayoutError, match=r"disc.*lesion.*--truth") as reason:
        recognise(two_masks(tmp_path))
    assert "\n" not in str(reason.value)


def test_a_hint_settles_which_mask_is_the_truth(tmp_path):
    cohort = recognise(two_masks(tmp_path), Hints(truth="disc"))
    assert cohort.labels == ("disc",)
    assert cohort.entries[0].roi is None


def test_a_hint_settles_which_mask_is_the_region(tmp_path):
    cohort = recognise(two_masks(tmp_path), Hints(truth="disc", roi="lesion"))
    assert cohort.entries[0].roi.path.parent.name == "lesion"


def test_a_hint_that_fits_nothing_names_what_there_is(tmp_path):
    with pytest.raises(LayoutError, match=r"--truth 'cup' fits none of .*disc"):
        recognise(two_masks(tmp_path), Hints(truth="cup"))


def test_a_split_file_with_parts_of_ids_is_kept(tmp_path):
    for i in range(6):
        noise(tmp_path / "images" / f"brain_{i:03d}.png", i)
        square(tmp_path / "labels" / f"brain_{i:03d}.png")
    (tmp_path / "split.json").write_text(json.dumps({"train": ["000", "001", "004"], "val": ["002", "003"]}))
    cohort = recognise(tmp_path)
    assert {e.id[-3:]: e.split for e in cohort.entries} == {
        "000": "train", "001": "train", "002": "val", "003": "val", "004": "train", "005": None,
    }  # fmt: skip
    assert any("'brain_005'" in t for t in cohort.messages)


def test_an_id_in_the_split_that_is_not_there_is_told(tmp_path):
    pairs(tmp_path)
    (tmp_path / "train.txt").write_text("0\n1\n2\n17\n")
    (tmp_path / "val.txt").write_text("3.png\n4.png\n")
    cohort = recognise(tmp_path)
    assert [e.split for e in cohort.entries] == ["train"] * 3 + ["val"] * 2
    assert any("'17'" in t and "not here" in t for t in cohort.messages)


def test_an_id_on_two_sides_is_refused(tmp_path):
    pairs(tmp_path)
    (tmp_path / "split.json").write_text('{"train": ["0", "1"], "val": ["1"]}')
    with pytest.raises(LayoutError, match=r"split\.json.*'1' into both train and val"):
        recognise(tmp_path)


@pytest.mark.parametrize("order", ["{side}/{kind}", "{kind}/{side}", "{side}_{kind}"])
def test_folders_for_the_sides_give_the_split(tmp_path, order):
    for i in range(6):
        side = "train" if i < 4 else "val"
        noise(tmp_path / order.format(side=side, kind="images") / f"{i}.png", i)
        square(tmp_path / order.format(side=side, kind="masks") / f"{i}.png")
    cohort = recognise(tmp_path)
    assert [e.split for e in cohort.entries] == ["train"] * 4 + ["val"] * 2


def test_the_same_name_on_two_sides_is_two_cases(tmp_path):
    for side in ("train", "test"):
        for i in range(3):
            noise(tmp_path / side / "images" / f"{i}.png", i + 7 * len(side))
            square(tmp_path / side / "masks" / f"{i}.png")
    assert len({e.id for e in recognise(tmp_path).entries}) == 6


def test_an_image_without_a_mask_is_told_and_stands_on_no_side(tmp_path):
    pairs(tmp_path, 6)
    (tmp_path / "masks" / "3.png").unlink()
    cohort = recognise(tmp_path)
    assert [e.id for e in cohort.entries if e.truth is None] == ["3"]
    assert any("'3'" in t for t in cohort.messages)


def test_folders_of_two_sequences_become_two_images_of_a_case(tmp_path):
    for i in range(3):
        for folder in ("t1", "flair"):
            array = np.random.default_rng(i).normal(size=(6, 6, 6)).astype(np.float32)
            write(tmp_path / folder / f"s{i}.nii.gz", Image(array, Grid.from_shape((6, 6, 6))))
        write(
            tmp_path / "seg" / f"s{i}.nii.gz",
            LabelMap(np.eye(6, dtype=np.uint8)[None].repeat(6, 0), Grid.from_shape((6,) * 3)),
        )
    cohort = recognise(tmp_path)
    assert set(cohort.entries[0].images) == {"t1", "flair"}
    assert cohort.load_case(cohort.entries[0]).images["flair"].modality == "mr"


def test_volumes_of_one_slice_are_pictures(tmp_path):
    for i in range(3):
        array = np.random.default_rng(i).normal(size=(12, 10, 1)).astype(np.float32)
        write(tmp_path / "images" / f"{i}.nii.gz", Image(array, Grid.from_shape(array.shape, spacing=(0.5, 0.7, 5))))
        write(
            tmp_path / "labels" / f"{i}.nii.gz",
            LabelMap((array > 0).astype(np.uint8), Grid.from_shape(array.shape, spacing=(0.5, 0.7, 5))),
        )
    cohort = recognise(tmp_path)
    case = cohort.load_case(cohort.entries[0])
    assert cohort.dims == 2
    assert case.grid.shape == case.truth.array.shape == (12, 10)
    assert case.grid.spacing == pytest.approx((0.5, 0.7))


def test_a_mask_of_another_shape_is_refused_by_name(tmp_path):
    pairs(tmp_path)
    square(tmp_path / "masks" / "2.png", size=40)
    cohort = recognise(tmp_path)
    with pytest.raises(FormatError, match=r"2\.png.*has the shape \(40, 40\), but its image has \(32, 32\)"):
        cohort.load_case(cohort.entries[2])


def test_a_mask_that_lies_elsewhere_in_the_body_is_refused(tmp_path):
    for i in range(2):
        array = np.zeros((6, 6, 6), np.float32) + np.arange(6)
        write(tmp_path / "images" / f"{i}.nii.gz", Image(array, Grid.from_shape(array.shape)))
        place = Grid.from_shape(array.shape, origin=(0, 0, 3 * i))
        write(tmp_path / "labels" / f"{i}.nii.gz", LabelMap((array > 3).astype(np.uint8), place))
    cohort = recognise(tmp_path)
    assert cohort.load_case(cohort.entries[0]).truth.array.any()
    with pytest.raises(FormatError, match="different places"):
        cohort.load_case(cohort.entries[1])


def test_a_table_beside_says_whose_each_case_is(tmp_path):
    pairs(tmp_path, 4)
    (tmp_path / "info.csv").write_text("image_id,Patient ID\n0,ann\n1,ann\n2,ben\n3,cid\n")
    cohort = recognise(tmp_path)
    assert [e.patient for e in cohort.entries] == ["ann", "ann", "ben", "cid"]
    assert "info.csv" in cohort.patients_source


def test_numbers_sort_as_people_sort_them():
    assert sorted(["a10", "a9", "b1", "10", "9"], key=natural_sort_key) == ["9", "10", "a9", "a10", "b1"]


def test_links_are_followed_and_one_that_leads_back_does_no_harm(tmp_path):
    pairs(tmp_path / "far")
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "images").symlink_to(tmp_path / "far" / "images")
    (tmp_path / "set" / "masks").symlink_to(tmp_path / "far" / "masks")
    (tmp_path / "set" / "back").symlink_to(tmp_path / "set")
    assert len(recognise(tmp_path / "set").entries) == 5


def test_a_mask_file_that_is_damaged_is_told_and_does_not_stop_the_rest(tmp_path):
    pairs(tmp_path)
    (tmp_path / "masks" / "1.png").write_bytes(b"\x89PNG\r\n\x1a\n nothing more")
    cohort = recognise(tmp_path)
    assert len(cohort.entries) == 5
    assert any("1 label file(s) cannot be read: '1'" in t for t in cohort.messages)
    with pytest.raises(FormatError, match=r"1\.png"):
        cohort.load_case(cohort.entries[1])

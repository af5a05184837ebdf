"""nnU-Net and MSD, folders of cases, folders of classes."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pillow

from medgrad.data.cohorts.layouts import Hints, recognise
from medgrad.data.formats import write
from medgrad.data.grid import Grid
from medgrad.data.types import Image, LabelMap
from medgrad.errors import FormatError, LayoutError

SHAPE = (6, 6, 6)


def volume(path: Path, seed: int = 0) -> None:
    write(path, Image(np.random.default_rng(seed).normal(size=SHAPE).astype(np.float32), Grid.from_shape(SHAPE)))


def labels(path: Path, *values: int) -> None:
    array = np.zeros(SHAPE, np.uint8)
    for k, value in enumerate(values):
        array[k, 2:4, 2:4] = value
    write(path, LabelMap(array, Grid.from_shape(SHAPE)))


def picture(path: Path, seed: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Pillow.fromarray(np.random.default_rng(seed).integers(0, 256, (16, 16), dtype=np.uint8)).save(path)


def drawn(path: Path, part: int = 8) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    array = np.zeros((16, 16), np.uint8)
    array[:part, :part] = 255
    Pillow.fromarray(array).save(path)


V2 = {"channel_names": {"0": "T1", "1": "FLAIR"}, "labels": {"background": 0, "oedema": 1, "core": 3}}
MSD = {"modality": {"0": "CT"}, "labels": {"0": "background", "1": "liver", "2": "cancer"}}


def nnunet(root: Path, channels: int = 2) -> Path:
    for i in range(3):
        for c in range(channels):
            volume(root / "imagesTr" / f"b_{i}_{c:04d}.nii.gz", i)
        labels(root / "labelsTr" / f"b_{i}.nii.gz", 1, 3)
    (root / "dataset.json").write_text(json.dumps(V2))
    return root


def test_nnunet_names_its_labels_and_channels(tmp_path):
    cohort = recognise(nnunet(tmp_path))
    assert (cohort.labels, cohort.label_values) == (("oedema", "core"), (1, 3))
    assert list(cohort.entries[0].images) == ["T1", "FLAIR"]
    case = cohort.load_case(cohort.entries[0])
    assert case.images["FLAIR"].modality == "mr"
    assert np.unique(case.truth.array).tolist() == [0, 1, 2]
    assert case.truth.names == {1: "oedema", 2: "core"}


def test_msd_writes_labels_the_other_way_round(tmp_path):
    for i in range(3):
        volume(tmp_path / "imagesTr" / f"liver_{i}.nii.gz", i)
        labels(tmp_path / "labelsTr" / f"liver_{i}.nii.gz", 1, 2)
    (tmp_path / "dataset.json").write_text(json.dumps(MSD))
    cohort = recognise(tmp_path)
    assert cohort.labels == ("liver", "cancer")
    assert cohort.load_case(cohort.entries[0]).images["image"].modality == "ct"


def test_images_for_the_test_without_labels_stand_on_no_side(tmp_path):
    nnunet(tmp_path)
    for c in range(2):
        volume(tmp_path / "imagesTs" / f"b_9_{c:04d}.nii.gz")
    cohort = recognise(tmp_path)
    assert [(e.id, e.split) for e in cohort.entries if e.truth is None] == [("b_9", None)]
    assert any("'b_9'" in t for t in cohort.messages)


def test_images_for_the_test_with_labels_are_the_test(tmp_path):
    nnunet(tmp_path)
    for c in range(2):
        volume(tmp_path / "imagesTs" / f"b_9_{c:04d}.nii.gz")
    labels(tmp_path / "labelsTs" / "b_9.nii.gz", 1)
    assert [e.id for e in recognise(tmp_path).in_splits("test").entries] == ["b_9"]


def test_a_case_that_lacks_a_channel_is_told_by_name(tmp_path):
    nnunet(tmp_path)
    (tmp_path / "imagesTr" / "b_1_0001.nii.gz").unlink()
    cohort = recognise(tmp_path)
    assert [e.id for e in cohort.entries] == ["b_0", "b_2"]
    assert any("'b_1'" in t and "channel" in t for t in cohort.messages)


def test_the_first_of_nnunets_folds_is_its_split(tmp_path):
    nnunet(tmp_path)
    (tmp_path / "splits_final.json").write_text(
        json.dumps([{"train": ["b_0", "b_2"], "val": ["b_1"]}, {"train": ["b_1"], "val": ["b_0", "b_2"]}])
    )
    assert [e.split for e in recognise(tmp_path).entries] == ["train", "val", "train"]


def test_a_label_that_dataset_json_does_not_name_is_refused_with_its_file(tmp_path):
    nnunet(tmp_path)
    labels(tmp_path / "labelsTr" / "b_1.nii.gz", 1, 7)
    cohort = recognise(tmp_path)
    with pytest.raises(FormatError, match=r"b_1\.nii\.gz.*\[7\].*\[1, 3\]"):
        cohort.load_case(cohort.entries[1])


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("{", "is not JSON"),
        ("[]", "not an object"),
        ('{"labels": {"a": "b"}}', "is no label"),
        ('{"labels": {"background": 0}}', "names no label"),
        ('{"labels": {"background": 0, "x": 1, "ignore": 2}}', "ignore"),
        ('{"labels": {"x": -3}}', "is no label"),
        ("[" * 100_000, "is not JSON"),
    ],
)
def test_a_wrong_dataset_json_is_one_line_that_names_it(tmp_path, text, why):
    nnunet(tmp_path)
    (tmp_path / "dataset.json").write_text(text)
    with pytest.raises(LayoutError, match=why) as reason:
        recognise(tmp_path)
    assert "dataset.json" in str(reason.value)
    assert "\n" not in str(reason.value)


def test_regions_of_labels_are_taken_apart(tmp_path):
    nnunet(tmp_path)
    about = {**V2, "labels": {"background": 0, "whole": [1, 3], "core": 3}}
    (tmp_path / "dataset.json").write_text(json.dumps(about))
    cohort = recognise(tmp_path)
    assert cohort.label_values == (1, 3)
    assert cohort.labels == ("1", "core")


def test_a_folder_a_case_with_any_names_that_repeat(tmp_path):
    for i in range(4):
        volume(tmp_path / f"case{i}" / "scan.nii.gz", i)
        labels(tmp_path / f"case{i}" / "tumour.nii.gz", 1)
    cohort = recognise(tmp_path)
    assert (cohort.layout, cohort.labels) == ("same_folder", ("tumour",))
    assert [e.id for e in cohort.entries] == [f"case{i}" for i in range(4)]


def test_a_folder_a_patient_with_several_dates_is_a_case_a_date(tmp_path):
    for i in range(4):
        for date in ("20190101", "20200303"):
            volume(tmp_path / f"patient{i}" / f"{date}_flair.nii.gz", i)
            volume(tmp_path / f"patient{i}" / f"{date}_t1.nii.gz", i)
            labels(tmp_path / f"patient{i}" / f"{date}_seg.nii.gz", 1)
    cohort = recognise(tmp_path)
    assert len(cohort.entries) == 8
    assert cohort.patients == tuple(f"patient{i}" for i in range(4))
    assert set(cohort.entries[0].images) == {"flair", "t1"}


def test_dates_may_be_folders(tmp_path):
    for i in range(4):
        for date in ("2019", "2020"):
            volume(tmp_path / f"p{i:02d}" / date / "ct.nii.gz", i)
            labels(tmp_path / f"p{i:02d}" / date / "seg.nii.gz", 1)
    cohort = recognise(tmp_path)
    assert [e.id for e in cohort.entries][:2] == ["p00/2019", "p00/2020"]
    assert len(cohort.patients) == 4
    assert cohort.modalities == {"image": "ct"}


@pytest.mark.parametrize(("image", "truth"), [("s{}.png", "s{}_mask.png"), ("volume-{}.png", "segmentation-{}.png")])
def test_pairs_in_one_folder(tmp_path, image, truth):
    for i in range(5):
        picture(tmp_path / image.format(i), i)
        drawn(tmp_path / truth.format(i))
    cohort = recognise(tmp_path)
    assert len(cohort.entries) == 5
    assert all(e.images["image"].path.name == image.format(i) for i, e in enumerate(cohort.entries))
    assert all(e.truth.path.name == truth.format(i) for i, e in enumerate(cohort.entries))


def test_class_folders_with_sides_above_them(tmp_path):
    for side, n in (("train", 4), ("val", 2), ("test", 3)):
        for name in ("benign", "malignant"):
            for i in range(n):
                picture(tmp_path / side / name / f"{name}_{side}_{i}.png", i)
    cohort = recognise(tmp_path)
    assert (cohort.layout, cohort.labels) == ("class_folders", ("benign", "malignant"))
    assert [len(cohort.in_splits(s).entries) for s in ("train", "val", "test")] == [8, 4, 6]
    assert {e.truth.top_class for e in cohort.entries if "benign" in e.id} == {"benign"}


def test_the_same_file_name_in_two_classes_is_two_cases(tmp_path):
    for name in ("0", "1"):
        for i in range(4):
            picture(tmp_path / name / f"{i}.png", i + 10 * int(name))
    cohort = recognise(tmp_path)
    assert cohort.layout == "class_folders"
    assert len({e.id for e in cohort.entries}) == 8


def test_folders_named_for_patients_are_not_classes(tmp_path):
    for p in range(3):
        for i in range(4):
            picture(tmp_path / f"patient{p}" / f"{i}.png", i)
    with pytest.raises(LayoutError, match="not laid out"):
        recognise(tmp_path)


def test_masks_in_class_folders_win_unless_the_task_says_otherwise(tmp_path):
    for name in ("benign", "malignant"):
        for i in range(4):
            picture(tmp_path / name / f"{name} ({i}).png", i)
            drawn(tmp_path / name / f"{name} ({i})_mask.png")
    assert recognise(tmp_path).task == "segmentation"
    cohort = recognise(tmp_path, Hints(task="classification"))
    assert (cohort.layout, len(cohort.entries)) == ("class_folders", 8)


def test_patients_are_read_from_the_names_in_class_folders(tmp_path):
    for p in range(4):
        for i in range(3):
            picture(tmp_path / ("ill" if p % 2 else "well") / f"p{p:02d}_slice_{i}.png", i)
    cohort = recognise(tmp_path)
    assert len(cohort.patients) == 4
    assert "'p01' in 'p01_slice_0'" in cohort.patients_source


def test_several_masks_of_one_image_are_laid_over_each_other_and_told(tmp_path):
    for i in range(5):
        picture(tmp_path / "benign" / f"benign ({i}).png", i)
        drawn(tmp_path / "benign" / f"benign ({i})_mask.png", 4)
    drawn(tmp_path / "benign" / "benign (2)_mask_1.png", 6)
    cohort = recognise(tmp_path)
    sums = [int(cohort.load_case(e).truth.array.sum()) for e in cohort.entries]
    assert sums == [16, 16, 36, 16, 16]
    assert any("1 case(s) have several masks" in t for t in cohort.messages)


def test_a_folder_a_case_with_a_mask_for_each_nucleus(tmp_path):
    for i in range(4):
        picture(tmp_path / f"ab{i}cd" / "images" / f"ab{i}cd.png", i)
        for k in range(3):
            path = tmp_path / f"ab{i}cd" / "masks" / f"f00{k}x{i}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            array = np.zeros((16, 16), np.uint8)
            array[5 * k : 5 * k + 3, 2:5] = 255
            Pillow.fromarray(array).save(path)
    cohort = recognise(tmp_path)
    assert [int(cohort.load_case(e).truth.array.sum()) for e in cohort.entries] == [27] * 4


def test_the_one_folder_that_unpacking_leaves_is_entered(tmp_path):
    nnunet(tmp_path / "download" / "Task01")
    (tmp_path / "download" / "__MACOSX").mkdir()
    assert recognise(tmp_path).layout == "nnunet"

"""Looking at a set: what it is, and each fault that was put in is found."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pillow

from medgrad.data.cohorts.layouts import recognise
from medgrad.data.formats import write
from medgrad.data.grid import Grid
from medgrad.data.types import Image, LabelMap
from medgrad.errors import LeakError
from medgrad.survey.dataset import check_leaks, look

SHAPE = (12, 14, 10)


def volumes(root: Path, n: int = 5, spacing: tuple[float, float, float] = (1, 1, 3)) -> Path:
    for i in range(n):
        array = np.random.default_rng(i).normal(100, 30, SHAPE).astype(np.float32)
        write(root / "images" / f"{i}.nii.gz", Image(array, Grid.from_shape(SHAPE, spacing=spacing)))
        labels = np.zeros(SHAPE, np.uint8)
        labels[2:4, 2:4, 2:4], labels[6:9, 6:9, 6:9], labels[0, 0, 0] = 1, 2, 1
        write(root / "labels" / f"{i}.nii.gz", LabelMap(labels, Grid.from_shape(SHAPE, spacing=spacing)))
    return root


def kinds(found) -> set[tuple[str, str]]:
    return {(f.case, f.kind) for f in found.issues}


def test_a_sound_set_has_no_faults_and_a_true_fingerprint(tmp_path):
    found = look(recognise(volumes(tmp_path)))
    print_ = found.statistics
    assert found.issues == ()
    assert (print_["cases"], print_["patients"], print_["dims"]) == (5, 5, 3)
    assert print_["sizes"]["median"] == list(SHAPE)
    assert print_["spacings_mm"]["median"] == [1, 1, 3]
    assert print_["orientations"] == {"RAS": 5}
    assert print_["labels"]["1"]["pieces_a_case"] == {"median": 2, "max": 2}
    assert print_["labels"]["2"]["piece_size"] == {"min": 81, "median": 81, "max": 81}  # 27 voxels of 3 mm3
    assert print_["foreground"] == pytest.approx((9 + 27) / (12 * 14 * 10), rel=1e-5)
    assert print_["intensity"]["image"]["p50"] == pytest.approx(100, abs=5)


def test_everything_goes_into_json(tmp_path):
    json.dumps(look(recognise(volumes(tmp_path))).as_dict(), allow_nan=False)


def test_each_fault_that_was_put_in_is_found(tmp_path):
    volumes(tmp_path, 12)
    images, labels = tmp_path / "images", tmp_path / "labels"
    grid = Grid.from_shape(SHAPE, spacing=(1, 1, 3))
    array = np.random.default_rng(9).normal(size=SHAPE).astype(np.float32)
    holed = array.copy()
    holed[1, 2, 3] = np.nan
    write(images / "1.nii.gz", Image(holed, grid))
    write(images / "2.nii.gz", Image(np.ones(SHAPE, np.float32), grid))
    write(labels / "3.nii.gz", LabelMap(np.zeros(SHAPE, np.uint8), grid))
    write(labels / "4.nii.gz", LabelMap(np.ones((3, 3, 3), np.uint8), Grid.from_shape((3, 3, 3))))
    (images / "5.nii.gz").write_bytes(b"\x1f\x8b nothing")
    far = Grid.from_shape(SHAPE, spacing=(1, 1, 30))
    write(images / "6.nii.gz", Image(array, far))
    write(labels / "6.nii.gz", LabelMap(np.ones(SHAPE, np.uint8), far))
    turned = Grid(SHAPE, ((-1, 0, 0, 0), (0, -1, 0, 0), (0, 0, 3, 0), (0, 0, 0, 1)))
    write(images / "7.nii.gz", Image(array + 1, turned))
    write(labels / "7.nii.gz", LabelMap(np.ones(SHAPE, np.uint8), turned))
    found = kinds(look(recognise(tmp_path)))
    assert found >= {
        ("1", "non-finite"), ("2", "constant"), ("3", "empty"), ("4", "grid"), ("5", "unreadable"), ("6", "spacing"),
        ("", "orientation"),
    }  # fmt: skip
    assert {case for case, _ in found} == {"1", "2", "3", "4", "5", "6", ""}


def test_labels_that_the_set_does_not_name_and_labels_that_nobody_has(tmp_path):
    volumes(tmp_path / "v", 3)
    (tmp_path / "v" / "images").rename(tmp_path / "v" / "imagesTr")
    (tmp_path / "v" / "labels").rename(tmp_path / "v" / "labelsTr")
    (tmp_path / "v" / "dataset.json").write_text('{"labels": {"background": 0, "liver": 1, "vein": 3}}')
    found = look(recognise(tmp_path / "v"))
    assert {("0", "labels"), ("", "never seen")} <= kinds(found)
    assert any("'vein'" in f.sentence for f in found.issues)


def test_a_class_that_nobody_trains_on_is_told(tmp_path):
    for i in range(9):
        name = ("a", "b", "c")[i % 3]
        path = tmp_path / ("val" if name == "c" else "train") / name / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Pillow.fromarray(np.random.default_rng(i).integers(0, 256, (20, 20), dtype=np.uint8)).save(path)
    assert ("", "never trained") in kinds(look(recognise(tmp_path)))


def copies(root: Path, sides: bool) -> Path:
    for i in range(12):
        path = root / ("val" if i % 3 == 0 else "train") / ("a", "b")[i % 2] / f"{i}.png"
        path = path if sides else root / ("a", "b")[i % 2] / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        seed = 0 if i == 4 else i
        Pillow.fromarray(np.random.default_rng(seed).integers(0, 256, (20, 20), dtype=np.uint8)).save(path)
    return root


def test_a_split_that_leaks_is_refused_unless_it_is_allowed(tmp_path):
    found = look(recognise(copies(tmp_path, sides=True)))
    with pytest.raises(LeakError, match=r"'0' \(val\).*'4' \(train\)|'4' \(train\).*'0' \(val\)"):
        check_leaks(found)
    check_leaks(found, allow=True)
    assert found.as_dict()["n_leaks"] == 1


def test_without_a_split_copies_are_told_as_pairs_to_keep_together(tmp_path):
    found = look(recognise(copies(tmp_path, sides=False)))
    assert found.leaks == ()
    assert [set(p) for p in found.inseparable_pairs] == [{"0", "4"}]


@pytest.mark.parametrize(
    ("make", "modality"),
    [
        (lambda r: r.normal(0, 60, SHAPE).astype(np.int16) - 1000 * (r.random(SHAPE) > 0.5), "ct"),
        (lambda r: r.uniform(0, 900, SHAPE).astype(np.float32), "mr"),
        (lambda r: r.integers(0, 255, SHAPE, dtype=np.uint8), None),
    ],
)
def test_a_modality_is_guessed_only_where_the_values_speak(tmp_path, make, modality):
    for i in range(3):
        array = make(np.random.default_rng(i))
        array = np.asarray(array, array.dtype if array.dtype != np.int64 else np.int16)
        array.flat[::7] = 900 if array.dtype != np.uint8 else 90
        write(tmp_path / "images" / f"{i}.nii.gz", Image(array, Grid.from_shape(SHAPE)))
        write(tmp_path / "labels" / f"{i}.nii.gz", LabelMap((array > 50).astype(np.uint8), Grid.from_shape(SHAPE)))
    found = look(recognise(tmp_path))
    assert found.statistics["modality"] == modality
    assert any("taken for" in t for t in found.messages) == (modality is not None)


def test_progress_counts_every_case(tmp_path):
    said = []
    look(recognise(volumes(tmp_path)), on_progress=lambda done, whole: said.append((done, whole)))
    assert said == [(i + 1, 5) for i in range(5)]


def shapes(root: Path) -> Path:
    for i in range(6):
        array = np.random.default_rng(i).integers(0, 256, (32, 32), dtype=np.uint8)
        numbered = np.zeros((32, 32), np.uint16)
        for k in range(6 + 3 * i):
            numbered[4 * (k // 8) : 4 * (k // 8) + 2, 4 * (k % 8) : 4 * (k % 8) + 2 + k % 2] = k + 1
        for folder, content in (("images", array), ("labels", numbered)):
            (root / folder).mkdir(parents=True, exist_ok=True)
            Pillow.fromarray(content).save(root / folder / f"{i}.png")
    return root


def test_things_numbered_one_by_one_are_counted_one_by_one_even_where_they_touch(tmp_path):
    found = look(recognise(shapes(tmp_path))).statistics["labels"]["foreground"]
    assert found["pieces_a_case"] == {"median": 13.5, "max": 21}
    assert found["piece_size"] == {"min": 4, "median": 4, "max": 6}


def test_what_is_drawn_outside_the_region_is_told(tmp_path):
    for i in range(3):
        drawn, region = np.zeros((32, 32), np.uint8), np.zeros((32, 32), np.uint8)
        region[4:28, 4:28] = 255
        drawn[10:14, 10:14] = 255
        if i == 2:
            drawn[0:2, 0:2] = 255
        contents = {"images": np.random.default_rng(i).integers(0, 256, (32, 32), dtype=np.uint8)}
        for folder, content in {**contents, "vessel": drawn, "fov": region}.items():
            (tmp_path / folder).mkdir(exist_ok=True)
            Pillow.fromarray(content).save(tmp_path / folder / f"{i}.png")
    found = look(recognise(tmp_path))
    assert [(f.case, f.sentence) for f in found.issues if f.kind == "region"] == [
        ("2", "20% of its mask lie outside the region that counts.")
    ]


def test_a_folder_with_nothing_readable_is_listed_case_by_case(tmp_path):
    volumes(tmp_path, 3)
    cohort = recognise(tmp_path)
    for path in (tmp_path / "images").iterdir():
        path.write_bytes(b"")
    found = look(cohort)
    assert [f.kind for f in found.issues] == ["unreadable"] * 3
    assert found.statistics["cases"] == 3
    json.dumps(found.as_dict(), allow_nan=False)

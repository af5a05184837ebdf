"""Files that list the sides of a split, and patients read from names."""

import json
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medgrad.data.cohorts.cohort import Cohort, Entry, Source
from medgrad.data.cohorts.patients import ONE_PATIENT_PER_CASE, assign_patients, guess_patients
from medgrad.data.cohorts.split import apply_split, read_split
from medgrad.data.cohorts.split_files import strip_image_suffix
from medgrad.errors import LayoutError


def cohort(*ids: str, patients: dict[str, str] | None = None) -> Cohort:
    entries = tuple(Entry(i, {"image": Source(Path(i))}, patient=(patients or {}).get(i, i)) for i in ids)
    return Cohort(Path("set"), "parallel_folders", "segmentation", entries)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("s.json", json.dumps({"train": ["a", "b"], "validation": ["c.nii.gz"]})),
        ("s.json", json.dumps([{"train": ["a", "b"], "val": ["c"]}, {"train": ["c"], "val": ["a", "b"]}])),
        ("s.json", json.dumps({"a": "train", "b": "training", "c": "val"})),
        ("s.json", json.dumps({"training": [{"image": "./a.nii.gz"}, {"image": "b.nii.gz"}], "val": [{"image": "c"}]})),
        ("s.csv", "id,split\na,train\nb,train\nc,val\n"),
        ("s.csv", "\ufeffsplit;image\ntrain;a.png\ntrain;b.png\nval;c.png\n"),
        ("s.tsv", "case\tset\na\tTrain\nb\tTrain\nc\tVal\n"),
        ("s.txt", "a train\nb train\n# nobody\nc val\n"),
    ],
)
def test_every_way_to_write_a_split_reads_the_same(tmp_path, name, text):
    (tmp_path / name).write_text(text, encoding="utf-8")
    assert read_split(tmp_path / name) == {"train": ("a", "b"), "val": ("c",)}


@pytest.mark.parametrize(
    ("name", "text", "why"),
    [
        ("s.json", "{", "is not JSON"),
        ("s.json", "3", "holds no split"),
        ("s.json", "{}", "names no case"),
        ("s.json", '{"train": ["a"], "val": ["a"]}', "both train and val"),
        ("s.csv", "id,age\na,3\n", "needs an 'id' and a 'split' column"),
        ("s.csv", "", "columns"),
        ("s.txt", "a\nb\n", "names no side"),
    ],
)
def test_a_wrong_split_file_is_one_line_that_names_it(tmp_path, name, text, why):
    (tmp_path / name).write_text(text)
    with pytest.raises(LayoutError, match=why) as reason:
        read_split(tmp_path / name)
    assert name in str(reason.value)
    assert "\n" not in str(reason.value)


def test_a_split_file_that_is_not_there_is_told(tmp_path):
    with pytest.raises(LayoutError, match="is not a file"):
        read_split(tmp_path / "no.json")


def test_patterns_select_cases():
    parted = apply_split(cohort("a_1", "a_2", "b_1"), {"train": ["a_*"], "val": ["b_*"]})
    assert [e.split for e in parted.entries] == ["train", "train", "val"]


def test_whole_words_of_an_id_are_enough_and_parts_of_words_are_not():
    parted = apply_split(cohort("brain_004", "brain_014"), {"train": ["004"], "val": ["014"]})
    assert [e.split for e in parted.entries] == ["train", "val"]
    with pytest.raises(LayoutError, match=r"names '14'.*'brain_004'"):
        apply_split(cohort("brain_004", "brain_014"), {"val": ["14"]})


def test_a_patient_names_all_their_cases():
    whole = cohort("p1_l", "p1_r", "p2_l", patients={"p1_l": "p1", "p1_r": "p1", "p2_l": "p2"})
    assert [e.split for e in apply_split(whole, {"train": ["p1"], "val": ["p2"]}).entries] == ["train", "train", "val"]


def test_a_name_that_fits_two_patients_is_refused():
    with pytest.raises(LayoutError, match=r"'1' fits 2 cases, such as 'a_1' and 'b_1'"):
        apply_split(cohort("a_1", "b_1"), {"train": ["1"]})


def test_two_names_that_put_one_case_on_two_sides_are_refused():
    with pytest.raises(LayoutError, match="both train and val"):
        apply_split(cohort("a_1", "b_2"), {"train": ["a_1"], "val": ["1"]})


def test_a_persons_split_takes_the_place_of_the_sets_own():
    whole = apply_split(cohort("a", "b", "c"), {"train": ["a", "b"], "val": ["c"]})
    assert [e.split for e in apply_split(whole, {"train": ["c"], "val": ["a"]}).entries] == ["val", None, "train"]


@given(st.text(max_size=30))
def test_any_text_is_a_split_or_one_line(tmp_path_factory, text):
    path = tmp_path_factory.mktemp("t") / "s.csv"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    with suppress(LayoutError):
        assert read_split(path)


def test_endings_and_dots_are_no_part_of_an_id():
    assert [strip_image_suffix(n) for n in ("./a/b.nii.gz", "x.png", "case.1.2", "a\\b.JPG")] == [
        "a/b",
        "x",
        "case.1.2",
        "a/b",
    ]


@pytest.mark.parametrize(
    ("names", "patients"),
    [
        (["sub-01_ses-01_T1w", "sub-01_ses-02_T1w", "sub-02_ses-01_T1w"], ["sub-01", "sub-01", "sub-02"]),
        (["case_0001_date1", "case_0001_date2", "case_0002_date1"], ["case_0001", "case_0001", "case_0002"]),
        (["patient01_frame01", "patient01_frame12", "patient02_frame01"], ["patient01", "patient01", "patient02"]),
        (["P001-L-CC", "P001-R-MLO", "P002-L-CC"], ["P001", "P001", "P002"]),
        (["12_slice_003", "12_slice_004", "13_slice_003"], ["12", "12", "13"]),
        (["21_left", "21_right", "22_left"], ["21", "21", "22"]),
        (["TCGA_CS_4941_19960909_1", "TCGA_CS_4941_19960909_2", "TCGA_DU_5849_19950405_1"],
         ["TCGA_CS_4941", "TCGA_CS_4941", "TCGA_DU_5849"]),
        (["BraTS-GLI-00001-000", "BraTS-GLI-00001-001", "BraTS-GLI-00002-000"],
         ["BraTS-GLI-00001", "BraTS-GLI-00001", "BraTS-GLI-00002"]),
        (["p01/s03", "p01/s04", "p02/s03"], ["p01", "p01", "p02"]),
    ],
)  # fmt: skip
def test_patients_are_read_from_plain_names_with_an_example(names, patients):
    found, how = guess_patients(names)
    assert found == patients
    assert how == f"patient = {patients[0]!r} in {names[0]!r}"


@pytest.mark.parametrize(
    "names",
    [
        ["hippocampus_001", "hippocampus_002", "hippocampus_003"],
        ["benign_1", "benign_2", "malignant_1"],
        ["benign (1)", "benign (2)", "malignant (1)"],
        ["21", "22", "23"],
        ["00ae65c1c663", "0280fa8f60f6", "03f583ec5018"],
        ["patient1_a", "patient1_b", "other_c"],
        ["patient1_a", "patient2_a", "patient3_a"],
        ["12_s03", "13_s03", "14_s04"],
        ["batch1/a", "batch1/b", "batch2/c", "batch3/d", "batch4/e", "batch5/f"],
        ["image_slice_1", "image_slice_2"],
    ],
)
def test_a_guess_that_is_not_plain_is_not_made(names):
    assert guess_patients(names) == (None, ONE_PATIENT_PER_CASE)


def test_a_column_with_holes_is_not_used():
    found = assign_patients(cohort("a", "b"), {"a": "x"}, known_source="a column")
    assert [e.patient for e in found.entries] == ["a", "b"]
    assert "not for every case" in found.patients_source


def test_a_folder_a_patient_is_taken_where_there_are_several():
    names = [f"{p:04d}/{s}" for p in range(5) for s in "ab"]
    found, how = guess_patients(names)
    assert found == [n.split("/")[0] for n in names]
    assert how == "patient = '0000' in '0000/a'"

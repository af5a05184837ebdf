"""Tables of features: a row a case, a column a number."""

from pathlib import Path

import numpy as np
import pytest

from medgrad.data import Source
from medgrad.data.cohorts.layouts import Hints, NoMatch, recognise
from medgrad.data.cohorts.layouts.feature_table import feature_table
from medgrad.data.formats import read
from medgrad.data.formats.csv import format_row_and_columns, list_named_rows, parse_column_indices
from medgrad.errors import FormatError, LayoutError


def table(root: Path, text: str, name: str = "radiomics.csv") -> Path:
    root.mkdir(parents=True, exist_ok=True)
    (root / name).write_text(text)
    return root / name


def lines(n: int = 8, head: str = "id,area,texture,diagnosis", row: str = "p{i},{a},{t},{d}") -> str:
    rows = [row.format(i=i, a=10 + i, t=round(0.1 * i * i, 3), d="ill" if i % 2 else "well") for i in range(n)]
    return "\n".join([head, *rows]) + "\n"


def test_a_row_is_a_line_of_its_numbers(tmp_path):
    cohort = recognise(table(tmp_path, lines()))
    assert (cohort.layout, cohort.task, cohort.dims, cohort.labels) == (
        "feature_table",
        "classification",
        1,
        ("ill", "well"),
    )
    case = cohort.load_case(cohort.entries[3])
    image = case.images["features"]
    assert (case.id, case.truth.top_class) == ("p3", "ill")
    assert image.array.tolist() == [13.0, 0.9]
    assert image.tags["columns"] == ("area", "texture")
    assert not image.grid.has_spacing


def test_neither_the_class_nor_the_name_nor_the_patient_nor_the_side_is_a_feature(tmp_path):
    text = lines(head="id,patient,area,outcome,split,texture", row="{i},{i},{a},{i}%2,train,{t}").replace("%2", "")
    text = "\n".join(
        text.splitlines()[:1]
        + [f"{i},{i // 2},{10 + i},{i % 2},{'val' if i > 5 else 'train'},{i * i}" for i in range(8)]
    )
    cohort = recognise(table(tmp_path, text))
    assert cohort.load_case(cohort.entries[5]).images["features"].tags["columns"] == ("area", "texture")
    assert [e.patient for e in cohort.entries] == list("00112233")
    assert [e.split for e in cohort.entries] == ["train"] * 6 + ["val"] * 2
    assert cohort.labels == ("0", "1")


def test_a_column_that_counts_the_rows_is_no_feature(tmp_path):
    text = "\n".join([",area,label", *[f"{i},{i * 3},{'ab'[i % 2]}" for i in range(8)]])
    assert recognise(table(tmp_path, text)).load_case(recognise(tmp_path).entries[0]).images[
        "features"
    ].array.tolist() == [0.0]
    text = text.replace(",area", "index,area", 1)
    cohort = recognise(table(tmp_path, text))
    assert cohort.load_case(cohort.entries[2]).images["features"].tags["columns"] == ("area",)
    assert any("'index'" in t for t in cohort.messages)


def test_columns_of_words_and_empty_ones_are_told_and_not_used(tmp_path):
    text = "\n".join(["sex,area,label,Unnamed: 32", *[f"{'fm'[i % 2]},{i},{'ab'[i % 2]}," for i in range(8)]])
    cohort = recognise(table(tmp_path, text))
    assert cohort.load_case(cohort.entries[0]).images["features"].tags["columns"] == ("area",)
    assert any("'sex'" in t and "'Unnamed: 32'" in t for t in cohort.messages)


def test_rows_with_gaps_are_left_out_with_a_word_that_names_them_and_the_column(tmp_path):
    text = lines().replace("p3,13,0.9", "p3,13,NA").replace("p6,16,3.6", "p6,,3.6")
    cohort = recognise(table(tmp_path, text))
    assert "p3" not in {e.id for e in cohort.entries}
    assert len(cohort.entries) == 6
    assert any("2 row(s)" in t and "'texture'" in t and "'area'" in t and "'p3', 'p6'" in t for t in cohort.messages)


def test_too_many_gaps_are_refused_with_the_columns_that_have_them(tmp_path):
    text = "\n".join(["area,texture,label", *[f"{i},{'' if i < 6 else i},{'ab'[i % 2]}" for i in range(8)]])
    with pytest.raises(LayoutError, match=r"6 of 8 rows .* 'texture'"):
        recognise(table(tmp_path, text))


def test_infinity_is_a_gap(tmp_path):
    cohort = recognise(table(tmp_path, lines().replace("p3,13", "p3,inf")))
    assert len(cohort.entries) == 8 or any("'area'" in t for t in cohort.messages)


def test_a_table_that_names_files_is_not_a_table_of_features(tmp_path):
    text = "\n".join(["scan,age,label", *[f"s{i}.nii.gz,{i},{'ab'[i % 2]}" for i in range(8)]])
    found = feature_table(table(tmp_path, text), Hints())
    assert isinstance(found, NoMatch)
    assert "'scan'" in found.reason
    with pytest.raises(LayoutError):
        recognise(tmp_path)


def test_a_folder_with_other_files_is_not_taken_for_its_table(tmp_path):
    path = table(tmp_path, lines())
    np.save(tmp_path / "scan.npy", np.zeros((4, 4)))
    with pytest.raises(LayoutError):
        recognise(tmp_path)
    assert recognise(path).layout == "feature_table"


def test_the_class_may_be_named(tmp_path):
    text = lines(head="id,area,texture,verdict")
    assert recognise(table(tmp_path, text)).labels == ("ill", "well")
    text = "\n".join(["a,b,group", *[f"{i},{i * i},{i % 2}" for i in range(8)]])
    with pytest.raises(LayoutError, match="--truth"):
        recognise(table(tmp_path, text))
    assert recognise(tmp_path / "radiomics.csv", Hints(truth="group")).labels == ("0", "1")


def test_a_measurement_is_not_taken_for_a_class(tmp_path):
    text = "\n".join(["area,level", *[f"{i},{i / 7}" for i in range(40)]])
    with pytest.raises(LayoutError, match="too many to be classes"):
        recognise(table(tmp_path, text))


def test_tables_for_the_sides_are_put_together_and_must_have_the_same_columns(tmp_path):
    table(tmp_path, lines(6), "train.csv")
    table(tmp_path, lines(10).replace("p", "q"), "test.csv")
    cohort = recognise(tmp_path)
    assert [e.split for e in cohort.entries] == ["train"] * 6 + ["test"] * 10
    assert cohort.layout == "feature_table"
    table(tmp_path, lines().replace("texture", "shape").replace("p", "q"), "test.csv")
    with pytest.raises(LayoutError, match="differ in the columns"):
        recognise(tmp_path)


def test_a_list_beside_it_is_its_split(tmp_path):
    table(tmp_path, lines())
    table(tmp_path, "\n".join(["id,split", *[f"p{i},{'val' if i < 2 else 'train'}" for i in range(8)]]), "split.csv")
    assert [e.split for e in recognise(tmp_path).entries] == ["val"] * 2 + ["train"] * 6


@pytest.mark.parametrize("places", [[0], [1, 2, 3], [0, 2, 3, 7, 8, 9]])
def test_columns_are_named_in_short(places):
    row, _, told = format_row_and_columns(5, places).partition(":")
    assert (row, parse_column_indices(told)) == ("5", places)


def test_a_row_without_named_columns_is_all_its_numbers(tmp_path):
    path = table(tmp_path, lines())
    assert read(Source(path, "2")).tags["columns"] == ("area", "texture")
    assert [name for name, _ in list_named_rows(path)] == [f"p{i}" for i in range(8)]


@pytest.mark.parametrize("item", ["8", "x", "-1", "", "2:99"])
def test_a_row_or_column_that_is_not_there_is_one_line(item, tmp_path):
    with pytest.raises(FormatError) as reason:
        read(Source(table(tmp_path, lines()), item))
    assert "\n" not in str(reason.value)

"""Each file of a run has one reader: what it gives, and what a damaged file is to those who read it."""

import json

import pytest

from medgrad.data.run_files import read_cases, read_record, read_steps
from medgrad.report.read_run import read_run


@pytest.mark.parametrize(("read", "empty"), [(read_record, {}), (read_steps, []), (read_cases, [])])
def test_a_missing_file_is_empty(read, empty, tmp_path):
    assert read(tmp_path / "missing") == empty


def test_a_record_has_none_for_numbers_that_json_lacks(tmp_path):
    (tmp_path / "run.json").write_text('{"seconds": NaN, "most": [Infinity, 2], "who": "é"}', encoding="utf-8")
    assert read_record(tmp_path / "run.json") == {"seconds": None, "most": [None, 2], "who": "é"}


@pytest.mark.parametrize("content", [b"[1]", b"null", b'{"steps": 8', b"\xff\xfe", b""])
def test_a_record_that_is_no_object_is_refused(content, tmp_path):
    (tmp_path / "run.json").write_bytes(content)
    with pytest.raises(ValueError, match=r"."):
        read_record(tmp_path / "run.json")


def test_lines_that_are_no_step_are_left_out(tmp_path):
    rows = [{"step": 0, "loss": {"dice": 0.5}}, {"step": 1, "valid": {"dice/mean": 0.25}}]
    lines = [
        json.dumps(rows[0]),
        "",
        '{"loss": {}}',
        "[1, 2]",
        '{"step": "two"}',
        json.dumps(rows[1]),
        '{"step": 2, "lo',
    ]
    (tmp_path / "steps.jsonl").write_bytes("\n".join(lines).encode() + b"\xff")
    assert read_steps(tmp_path / "steps.jsonl") == rows


def test_rows_of_cases_are_text_with_what_is_missing_and_too_much(tmp_path):
    (tmp_path / "cases.csv").write_text('case,patient,dice\n"a, b",p,0.50\nc,q\nd,r,,7\n', encoding="utf-8")
    assert read_cases(tmp_path / "cases.csv") == [
        {"case": "a, b", "patient": "p", "dice": "0.50"},
        {"case": "c", "patient": "q", "dice": None},
        {"case": "d", "patient": "r", "dice": "", None: ["7"]},
    ]


def test_a_table_that_csv_cannot_read_is_a_damaged_file_to_the_report(tmp_path):
    (tmp_path / "cases.csv").write_text("case,patient,failed\na,p," + "x" * 200_000, encoding="utf-8")
    with pytest.raises(ValueError, match="field larger than field limit"):
        read_cases(tmp_path / "cases.csv")
    assert any("cases.csv" in sentence for sentence in read_run(tmp_path).unreadable)

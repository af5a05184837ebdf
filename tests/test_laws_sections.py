"""Laws that every section of a run's page keeps."""

import re
from dataclasses import fields, replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from medgrad import registry
from medgrad.report.page import page_sections, run_page, section_or_error
from medgrad.report.read_run import Picture, RunFiles

SECTIONS = registry.names("report.sections")
HOSTILE = "</section><script>alert(1)</script>\"'<b>"
FIGURE = {"value": 0.8, "low": 0.7, "high": 0.9, "n": 3}
RUN = RunFiles(
    Path("run"),
    recipe=f"name = '{HOSTILE}'",
    run_facts={"machine": HOSTILE, "command": [HOSTILE], "healed": [{"step": 1, "sentence": HOSTILE, "remedy": "."}]},
    cohort={
        "root": HOSTILE,
        "labels": [HOSTILE],
        "look": {"faults": [HOSTILE], "leaks": [HOSTILE]},
        "cases": [{"id": HOSTILE, "patient": HOSTILE, "split": s, "hash": HOSTILE} for s in ("train", HOSTILE)],
    },
    evaluation={
        "split": HOSTILE,
        "headline": ["dice/mean", HOSTILE],
        "metrics": {"dice/mean": FIGURE, f"dice/{HOSTILE}": FIGURE, HOSTILE: FIGURE},
        "confusion": {"names": [HOSTILE], "counts": [[3]]},
        "calibration": {"temperature": 1.5, "bins": [{"confidence": 0.5, "frequency": 0.4, "n": 3}]},
    },
    steps=tuple({"step": n, "loss": {HOSTILE: 1 / n}, "valid": {HOSTILE: 0.5}} for n in range(1, 9)),
    cases=tuple({"case": HOSTILE, "patient": HOSTILE, "failed": HOSTILE, "dice/mean": f"0.{n}"} for n in range(1, 5)),
    pictures=(Picture(HOSTILE, np.zeros((4, 4), np.uint8), (1.0, 1.0), (HOSTILE,), np.eye(4, dtype=np.uint8)),),
    unreadable=(HOSTILE,),
)
"""A run whose every text would be markup if it were not escaped."""

DAMAGED = [{"metrics": 5, "cases": "x", "look": [1], "confusion": {"names": 3}, "calibration": {"bins": 3}, "best": 1}]
DAMAGED += [{"metrics": {"dice/mean": "high"}, "headline": 3, "cases": [1], "labels": 7, "healed": 3, "split": [1]}]


def section(name):
    return registry.find("report.sections", name)


class Tags(HTMLParser):
    """Follows the tags of a section."""

    def __init__(self):
        super().__init__()
        self.open, self.seen, self.ids = [], [], []

    def handle_starttag(self, tag, attrs):
        self.open += [tag] if tag != "meta" else []
        self.handle_startendtag(tag, attrs)

    def handle_startendtag(self, tag, attrs):
        self.seen.append(tag)
        self.ids += [value for key, value in attrs if key == "id"]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


@pytest.mark.parametrize("name", SECTIONS)
def test_an_empty_run_has_no_section(name):
    assert section(name).make(RunFiles(Path("run"))) == ""


@pytest.mark.parametrize("name", SECTIONS)
def test_a_section_has_a_heading_of_one_line(name):
    assert section(name).heading.strip() == section(name).heading != ""
    assert "\n" not in section(name).heading


@pytest.mark.parametrize("name", SECTIONS)
def test_an_anchor_can_stand_in_a_link(name):
    assert re.fullmatch(r"[a-z][a-z0-9_]*", name)


def test_anchors_are_those_of_one_section_each():
    page = Tags()
    page.feed(run_page(RUN))
    assert len(page.ids) == len(set(page.ids))
    assert set(page.ids) == {name for name, _, _ in page_sections(RUN)}


def test_no_two_sections_have_the_same_place():
    assert len({section(name).order for name in SECTIONS}) == len(SECTIONS)


@pytest.mark.parametrize("name", SECTIONS)
def test_nothing_from_a_file_becomes_markup(name):
    tags = Tags()
    tags.feed(section(name).make(RUN))
    assert tags.open == []
    assert not {"script", "b", "iframe", "img", "link"} & set(tags.seen)


@pytest.mark.parametrize("name", SECTIONS)
def test_a_damaged_file_costs_no_more_than_the_section(name):
    for file in ("run_facts", "cohort", "evaluation", "pruning", "steps", "cases"):
        for damaged in DAMAGED:
            found = replace(RUN, **{file: ({"step": 1, **damaged},) if file in ("steps", "cases") else damaged})
            assert isinstance(section_or_error(section(name).heading, section(name).make, found), str)


@pytest.mark.parametrize("name", SECTIONS)
def test_a_section_leaves_the_run_as_it_is(name):
    before = {f.name: repr(getattr(RUN, f.name)) for f in fields(RUN)}
    section(name).make(RUN)
    assert before == {f.name: repr(getattr(RUN, f.name)) for f in fields(RUN)}

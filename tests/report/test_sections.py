"""A section of the page is one file: what is added to the folder stands on the page."""

import sys

import pytest

from medgrad import registry
from medgrad.report import sections
from medgrad.report.page import page_sections, run_page
from medgrad.report.read_run import read_run

NOTES = '''
"""What was noted down beside a run."""

from ..html import escape_text
from ..read_run import RunFiles
from ._section import Section


def notes_section(run_files: RunFiles) -> str:
    """Return the notes."""
    path = run_files.folder / "notes.txt"
    return f"<p>{escape_text(path.read_text())}</p>" if path.exists() else ""


THIS = Section("Notes", notes_section, order=35)
'''


@pytest.fixture
def add_section(tmp_path):
    """Add a file to the folder of the sections."""
    folder = tmp_path / "sections"
    folder.mkdir()
    sections.__path__.append(str(folder))

    def add(name, text):
        (folder / f"{name}.py").write_text(text)
        registry._list_modules.cache_clear()

    yield add
    sections.__path__.remove(str(folder))
    registry._list_modules.cache_clear()
    for path in folder.glob("*.py"):
        sys.modules.pop(f"{sections.__name__}.{path.stem}", None)


def test_a_new_file_stands_on_the_page_in_its_place(add_section, segmentation_run):
    before = run_page(read_run(segmentation_run))
    add_section("notes", NOTES)
    assert run_page(read_run(segmentation_run)) == before
    (segmentation_run / "notes.txt").write_text("Scanned <twice>.")
    page = run_page(read_run(segmentation_run))
    assert '<li><a href="#notes">Notes</a></li>' in page
    assert '<h2 id="notes">Notes</h2><p>Scanned &lt;twice&gt;.</p></section>' in page
    assert page.index('id="cases"') < page.index('id="notes"') < page.index('id="pictures"')


def test_a_section_that_cannot_be_drawn_costs_itself_alone(add_section, segmentation_run):
    before = page_sections(read_run(segmentation_run))
    add_section("notes", NOTES.replace('path = run_files.folder / "notes.txt"', 'path = run_files.cohort["nothing"]'))
    found = page_sections(read_run(segmentation_run))
    assert [part for part in found if part[0] != "notes"] == before
    assert "Notes could not be drawn" in {name: inside for name, _, inside in found}["notes"]


def test_sections_stand_in_one_order(segmentation_run):
    order = ["figures", "cases", "pictures", "failures", "data", "split", "training", "recipe", "machine", "terms"]
    assert [name for name, _, _ in page_sections(read_run(segmentation_run))] == order

"""A new task and a new optimiser are one file each: the laws and the whole journey hold them, nothing else touched."""

import filecmp
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest
from tiny_set import make_folder

HERE = Path(__file__).parent
ROOT = HERE.parent
PAGE = ROOT / "docs" / "why" / "one-file.md"
BLOCK = re.compile(r'^```\w+ title="([^"]+)"\n(.*?)^```$', re.MULTILINE | re.DOTALL)

LAWS = [
    f.name for f in sorted(HERE.glob("test_laws_*.py")) if re.search(r'"(tasks|descent\.optimisers)"', f.read_text())
]
"""The laws that are held over the listing of a room to which the page adds."""

WHOLE = """
import contextlib, io, json, pathlib, sys
import pytest
import medgrad
from medgrad.apps.cli import main

def verb(*words):
    sys.argv = ["medgrad", *words, "--json"]
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        try:
            main()
        except SystemExit as end:
            assert not end.code, words
    return json.loads(out.getvalue())

found = {
    "where": medgrad.__file__,
    "fit": verb("fit", "data", "-o", "run", "--steps", "20", "--recipe", "burden.toml"),
    "evaluate": verb("evaluate", "run", "data", "-o", "judged"),
    "predict": verb("predict", "run", "data/images/case_00.nii.gz", "-o", "answers"),
    "compare": verb("compare", "judged", "judged", "-o", "compared"),
}
pathlib.Path("found.json").write_text(json.dumps(found))
chosen = ("-k", "burden or signs or test_floors")
sys.exit(pytest.main(["tests", "-q", "-p", "no:cacheprovider", *chosen, "--junitxml", "laws.xml"]))
"""
"""The journey and then the laws, in one process: what takes longest is to load torch."""


def files_of_the_page():
    return dict(BLOCK.findall(PAGE.read_text()))


@pytest.fixture(scope="module")
def house(tmp_path_factory):
    """A copy of the package and its laws, with the page's two files added."""
    folder = tmp_path_factory.mktemp("house")
    source = folder / "src" / "medgrad"
    shutil.copytree(ROOT / "src" / "medgrad", source)
    (folder / "tests").mkdir()
    for name in (*LAWS, "test_floors.py", "tiny_set.py", "conftest.py"):
        shutil.copy(HERE / name, folder / "tests")
    shutil.copy(ROOT / "pyproject.toml", folder)
    (folder / "docs" / "why").mkdir(parents=True)
    shutil.copy(ROOT / "docs" / "why" / "floors.md", folder / "docs" / "why")
    for name, text in files_of_the_page().items():
        (source / name if name.endswith(".py") else folder / name).write_text(text)
    return folder


def run(house, *command):
    variables = os.environ | {"PYTHONPATH": str(house / "src"), "OMP_NUM_THREADS": "1"}
    words = [sys.executable, *command]
    return subprocess.run(words, cwd=house, env=variables, capture_output=True, text=True, check=False)


def differences(ours, theirs):
    found = [f"+{name}" for name in theirs.right_only] + [f"-{name}" for name in theirs.left_only]
    found += [f"~{name}" for name in theirs.diff_files]
    return found + [d for name, sub in theirs.subdirs.items() for d in differences(ours, sub)]


def test_the_page_adds_two_files_and_changes_none(house):
    compared = filecmp.dircmp(ROOT / "src" / "medgrad", house / "src" / "medgrad", ignore=["__pycache__"])
    assert sorted(differences(house, compared)) == ["+burden.py", "+signs.py"]


@pytest.fixture(scope="module")
def ended(house):
    """The new files after the whole journey and every law that runs on them."""
    make_folder(house / "data")
    return run(house, "-c", WHOLE)


@pytest.fixture(scope="module")
def outcomes(house, ended):
    """Every law that ran on the new files, and how it ended."""
    assert (house / "laws.xml").exists(), ended.stdout[-3000:] + ended.stderr[-3000:]
    found = {}
    for case in ElementTree.parse(house / "laws.xml").iter("testcase"):
        words = {child.tag for child in case if child.tag in ("failure", "error", "skipped")}
        found[case.get("name")] = words.pop() if words else "passed"
    return found, ended.stdout


def laws_in(file, holder):
    """Count the laws that a file holds, by their names."""
    text = (HERE / file).read_text()
    text = text[text.index(holder) :] if holder else text
    body = re.split(r"\n(?=\S)", text, maxsplit=1)[0] if holder else text
    return re.findall(r"^ *def (test_\w+)\(", body, re.MULTILINE)


def test_every_law_of_tasks_holds_the_new_task(outcomes):
    found, told = outcomes
    laws = laws_in("test_laws_tasks.py", "")
    assert len(laws) > 12
    for law in laws:
        for dims in (2, 3):
            assert found.get(f"{law}[burden-{dims}D]") == "passed", told[-3000:]


def test_every_law_of_optimisers_holds_the_new_optimiser(outcomes):
    found, told = outcomes
    laws = laws_in("test_laws_descent.py", "class TestOptimisers")
    assert len(laws) > 5
    for law in laws:
        assert found.get(f"{law}[signs]") == "passed", told[-3000:]


def test_the_floors_hold_with_the_new_files(outcomes):
    found, told = outcomes
    assert found.get("test_every_room_imports_only_from_below") == "passed", told[-3000:]
    assert set(found.values()) == {"passed"}, told[-3000:]


@pytest.mark.slow
def test_a_new_file_that_breaks_the_contract_is_caught(house, tmp_path):
    """The laws are no formality: a task whose answer leaks from the truth's side, an optimiser that climbs."""
    broken = tmp_path / "house"
    shutil.copytree(house, broken, ignore=shutil.ignore_patterns("__pycache__", "run", "judged", "answers"))
    task, optimiser = (broken / "src/medgrad" / name for name in ("tasks/burden.py", "descent/optimisers/signs.py"))
    task.write_text(task.read_text().replace('return {"agreement": 0.0}', 'return {"agreement": 1.0}'))
    optimiser.write_text(optimiser.read_text().replace("p.sub_(p.grad.sign()", "p.add_(p.grad.sign()"))
    ended = run(
        broken, "-m", "pytest", "tests", "-q", "-p", "no:cacheprovider",
        "-k", "(burden and failed_case) or (signs and (downhill or descends))",
    )  # fmt: skip
    assert re.search(r"\b4 failed", ended.stdout), ended.stdout[-2000:]


@pytest.fixture(scope="module")
def travelled(house, ended):
    """What the verbs said of the new task."""
    assert (house / "found.json").exists(), ended.stderr[-3000:]
    return json.loads((house / "found.json").read_text())


def test_the_new_task_is_learned_with_the_new_optimiser(house, travelled):
    assert Path(travelled["where"]).is_relative_to(house)
    recipe = (house / "run" / "recipe.toml").read_text()
    assert 'kind = "burden"' in recipe
    assert 'name = "signs"' in recipe
    figure = travelled["fit"]["metrics"]["agreement"]
    assert figure["low"] <= figure["value"] <= figure["high"]
    assert figure["value"] > 0.8
    assert (house / "run" / "report.html").exists()


def test_the_new_task_is_judged_answered_and_compared(house, travelled):
    assert travelled["evaluate"]["metrics"]["agreement"]["n"] == 8
    assert Path(house / travelled["predict"]["answers"][0]["written"][0]).exists()
    assert [row["name"] for row in travelled["compare"]["table"]] == ["agreement"]
    assert (house / travelled["compare"]["report"]).exists()

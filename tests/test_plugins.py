"""Each new part is one file: the laws and the whole journey hold it, with nothing else touched.

A task and an optimiser come from the page that explains it; tasks on images, visits, tokens and graphs, an answer kind,
a sampler, a section, a preparation, and two networks against each other lie in ``tests/plugins``, as in the package.
"""

import filecmp
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from tiny_set import make_folder

from medgrad.data import Grid, Image
from medgrad.data.formats import read, write

HERE = Path(__file__).parent
ROOT = HERE.parent
PAGE = ROOT / "docs" / "why" / "one-file.md"
BLOCK = re.compile(r'^```\w+ title="([^"]+)"\n(.*?)^```$', re.MULTILINE | re.DOTALL)

PARTS = HERE / "plugins"
NAMES = sorted(path.stem for path in PARTS.rglob("*.py"))
LAWS = [f"test_laws_{room}.py" for room in ("tasks", "descent", "gradients", "models", "answers", "prepare")]
LAWS += ["test_laws_samplers.py", "test_laws_sections.py"]
"""The laws that are held over the listing of a room to which a part is added."""

WHOLE = """
import contextlib, io, json, pathlib, sys
import pytest
import medgrad
from medgrad import registry
from medgrad.apps.cli import main
from medgrad.data import Source
from medgrad.data.cohorts import Cohort, Entry
from medgrad.data.formats import write
from medgrad.engine.training.fit import fit

def verb(*words):
    sys.argv = ["medgrad", *words, "--json"]
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        try:
            main()
        except SystemExit as end:
            assert not end.code, words
    return json.loads(out.getvalue())

def learned(kind):
    "Train on the examples of a task, of which only what is an image lies in files."
    task, folder, entries = registry.find("tasks", kind)(dims=2), pathlib.Path(kind), []
    for case in map(task.example, range(24)):
        files = {n: Source(write(folder / f"{case.id} {n}.nii.gz", image)) for n, image in case.images.items()}
        entries.append(Entry(case.id, files, case.truth, case.patient, arrays=case.arrays))
    cohort = Cohort(folder, "examples", kind, tuple(entries), task.labels, dims=2, truth=task.truth)
    return fit(cohort, folder / "run", steps=60).evaluation.metrics

FORCED = "--force-target", "--no-baselines", "--layers", "0"
found = {
    "where": medgrad.__file__,
    "fit": verb("fit", "data", "-o", "run", "--steps", "20", "--recipe", "burden.toml"),
    "evaluate": verb("evaluate", "run", "data", "-o", "judged"),
    "predict": verb("predict", "run", "data/images/case_00.nii.gz", "-o", "answers"),
    "compare": verb("compare", "judged", "judged", "-o", "compared"),
    "restore": {
        "fit": verb("fit", "ct", "-o", "ct_run", "--task", "restore", "--truth", "full", "--recipe", "restore.toml"),
        "evaluate": verb("evaluate", "ct_run", "ct", "-o", "ct_judged", "--truth", "full"),
        "predict": verb("predict", "ct_run", "ct/low/case_0.nii.gz", "-o", "ct_answers"),
        "export": verb("export", "ct_run", "--to", "onnx", "-o", "ct_artefact"),
        "prune": verb("prune", "ct_run", "--target", "flops=0.6", "--steps", "8", *FORCED, "-o", "ct_pruned"),
    },
    **{kind: learned(kind) for kind in ("patient_visits", "tokens", "cell_graph")},
}
pathlib.Path("found.json").write_text(json.dumps(found))
chosen = ("-k", "burden or signs or test_floors or " + " or ".join(NAMES))
sys.exit(pytest.main(["tests", "-q", "-p", "no:cacheprovider", *chosen, "--junitxml", "laws.xml"]))
"""
"""The journeys and then the laws, in one process: what takes longest is to load torch."""

WITHOUT_TORCH = """
import sys
sys.modules["torch"] = None
sys.argv = ["medgrad", "predict", "ct_artefact", "ct/low/case_0.nii.gz", "-o", "ct_answers_without"]
from medgrad.apps.cli import main
main()
"""

RESTORE = """
augment = []

[model]
name = "unet"
channels = [8, 16]
strides = [[2, 2, 2]]

[[prepare]]
name = "reorient"
to = "RAS"

[[prepare]]
name = "rank_values"

[sampler]
name = "in_turn"

[training]
steps = 60
batch = 2
patch = [16, 16, 8]
threads = 1
"""


def make_ct(folder, cases=6):
    """Noisy and clean volumes in HU, turned and shifted in the scanner, as whole numbers."""
    rng, n = np.random.default_rng(0), (20, 18, 10)
    matrix = ((0.0, -1.5, 0.0, 40.0), (-1.5, 0.0, 0.0, 30.0), (0.0, 0.0, 3.0, -60.0), (0.0, 0.0, 0.0, 1.0))
    for number in range(cases):
        off = (np.indices(n) - np.array(n).reshape(3, 1, 1, 1) / 2) / np.array([8, 7, 4]).reshape(3, 1, 1, 1)
        clean = np.where((off**2).sum(0) < 1, 40.0, -1000.0)
        clean[6 + number % 3 : 10 + number % 3, 6:10, 3:6] = 400
        noisy = clean + rng.normal(0, 60, n)
        for name, values in (("low", noisy), ("full", clean)):
            image = Image(np.rint(values).astype(np.int16), Grid(n, matrix))
            write(folder / name / f"case_{number}.nii.gz", image)
    return folder


def files_of_the_page():
    return dict(BLOCK.findall(PAGE.read_text()))


@pytest.fixture(scope="module")
def house(tmp_path_factory):
    """A copy of the package and its laws, with the files added."""
    folder = tmp_path_factory.mktemp("house")
    source = folder / "src" / "medgrad"
    shutil.copytree(ROOT / "src" / "medgrad", source)
    (folder / "tests").mkdir()
    for name in (*LAWS, "test_floors.py", "tiny_set.py", "conftest.py"):
        shutil.copy(HERE / name, folder / "tests")
    shutil.copytree(PARTS, source, dirs_exist_ok=True)
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


def test_each_part_adds_one_file_and_changes_none(house):
    compared = filecmp.dircmp(ROOT / "src" / "medgrad", house / "src" / "medgrad", ignore=["__pycache__"])
    assert sorted(differences(house, compared)) == sorted(f"+{name}.py" for name in ("burden", "signs", *NAMES))


@pytest.fixture(scope="module")
def ended(house):
    """The new files after the whole journey and every law that runs on them."""
    make_folder(house / "data")
    make_ct(house / "ct")
    (house / "restore.toml").write_text(RESTORE)
    return run(house, "-c", f"NAMES = {NAMES}\n{WHOLE}")


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


@pytest.mark.parametrize("task", ["restore", "patient_visits", "tokens", "cell_graph"])
def test_every_law_of_tasks_holds_images_visits_tokens_and_graphs(outcomes, task):
    found, told = outcomes
    for law in laws_in("test_laws_tasks.py", ""):
        for dims in (2, 3):
            assert found.get(f"{law}[{task}-{dims}D]") == "passed", told[-3000:]


@pytest.mark.parametrize(
    ("part", "laws", "own"),
    [
        ("opposed", "gradients", 2),
        ("opposed_pair", "models", 0),
        ("quantity", "answers", 0),
        ("in_turn", "samplers", 0),
        ("patient_counts", "sections", 0),
        ("rank_values", "prepare", 0),
    ],
)
def test_every_law_of_its_room_holds_a_part(outcomes, part, laws, own):
    """Those of gradients that speak of the task's loss alone do not speak of one with an objective of its own."""
    found, told = outcomes
    held = [how for name, how in found.items() if re.search(rf"\[{part}[\]-]", name)]
    assert len(held) > 2, told[-3000:]
    assert held.count("passed") >= len(held) - own - (laws == "gradients"), told[-3000:]
    assert set(held) <= {"passed", "skipped"}, told[-3000:]


def test_every_law_of_optimisers_holds_the_new_optimiser(outcomes):
    found, told = outcomes
    laws = laws_in("test_laws_descent.py", "class TestOptimisers")
    assert len(laws) > 5
    for law in laws:
        assert found.get(f"{law}[signs]") == "passed", told[-3000:]


def test_the_floors_hold_with_the_new_files(outcomes):
    found, told = outcomes
    assert found.get("test_every_room_imports_only_from_below") == "passed", told[-3000:]
    assert set(found.values()) <= {"passed", "skipped"}, told[-3000:]


@pytest.mark.slow
def test_a_new_file_that_breaks_the_contract_is_caught(house, tmp_path):
    """The laws are no formality: a task whose answer leaks from the truth's side, an optimiser that climbs."""
    broken = tmp_path / "house"
    for part in ("src", "tests", "docs"):
        shutil.copytree(house / part, broken / part, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(house / "pyproject.toml", broken)
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


def test_an_image_is_answered_in_hu_on_the_grid_that_it_came_with(house, travelled):
    shown, clean = (read(house / "ct" / side / "case_0.nii.gz") for side in ("low", "full"))
    answer = read(Path(house / travelled["restore"]["predict"]["answers"][0]["written"][0]))
    assert answer.grid.is_close(clean.grid)
    noise, left = (np.median(np.abs(image.array.astype(float) - clean.array)) for image in (shown, answer))
    assert left < 0.5 * noise
    assert answer.array.min() < -700
    assert answer.array.max() > 200


def test_images_are_judged_pruned_and_drawn(house, travelled):
    found = travelled["restore"]
    assert found["evaluate"]["metrics"]["explained"]["value"] > 0.8
    assert found["evaluate"]["metrics"]["explained"]["n"] == 6
    assert found["prune"]["left"]["flops"] <= 0.6
    page = (house / "ct_judged" / "report.html").read_text()
    assert page.count("data:image/png") >= 6
    assert 'id="patient_counts"' in page


def test_an_image_is_answered_without_torch(house, travelled):
    ended = run(house, "-c", WITHOUT_TORCH)
    assert ended.returncode == 0, ended.stderr[-2000:]
    said, without = (read(house / folder / "case_0.nii.gz") for folder in ("ct_answers", "ct_answers_without"))
    assert travelled["restore"]["export"]
    assert without.grid.is_close(said.grid)
    assert np.abs(without.array - said.array).mean() < 5


@pytest.mark.parametrize("kind", ["patient_visits", "tokens", "cell_graph"])
def test_visits_tokens_and_graphs_are_learned_and_judged(travelled, kind):
    figure = travelled[kind]["auroc"]
    assert figure["value"] > 0.8
    assert figure["n"] >= 2

"""What the documents show is run: every python block, every medgrad command, every docstring's example."""

import ast
import doctest
import importlib
import json
import os
import pkgutil
import re
import runpy
import shlex
import shutil
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import replace
from io import BytesIO, StringIO
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image as Pillow
from tiny_set import make_folder

import medgrad
from medgrad import registry
from medgrad.apps.cli import main
from medgrad.errors import PackageNotInstalled

ROOT = Path(__file__).parents[1]
PAGES = sorted(
    [ROOT / "README.md", *(p for p in (ROOT / "docs").rglob("*.md") if not {"reference", "benchmarks"} & set(p.parts))]
)
AT_ROOT = [ROOT / name for name in ("CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md")]
BLOCK = re.compile(r'^```(\w+)(?: title="([^"]+)")?\n(.*?)^```$', re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\[[^\]]*\]\(([^)#]+)(#[^)]*)?\)")


def name_of(page):
    return page.relative_to(ROOT).as_posix()


def blocks(page):
    """Give kind, title and text of every block of a page, in order."""
    return [(m.group(1), m.group(2), m.group(3)) for m in BLOCK.finditer(page.read_text())]


@pytest.fixture(scope="module")
def ground(tmp_path_factory):
    """The folders that the pages speak of, made small."""
    folder = tmp_path_factory.mktemp("ground")
    make_folder(folder / "scans")
    make_folder(folder / "held-out", cases=4)
    (folder / "scans" / "recipe.toml").unlink()
    (folder / "held-out" / "recipe.toml").unlink()
    (folder / "new").mkdir()
    for number in (0, 1):
        whole = (folder / "scans" / "images" / f"case_0{number}.nii.gz").read_bytes()
        (folder / "new" / f"case_2{number}.nii.gz").write_bytes(whole)
    for number in range(12):
        array = np.random.default_rng(number).integers(0, 90, (24, 24), dtype=np.uint8)
        array[4:12, 4:12] += np.uint8(120 * (number % 2))
        place = folder / "pictures" / ("malignant" if number % 2 else "benign") / f"scan_{number:02d}.png"
        for path in [place, *([folder / "new-pictures" / place.name] if number < 2 else [])]:
            path.parent.mkdir(parents=True, exist_ok=True)
            Pillow.fromarray(array).save(path)
    sides = [f"case_{n:02d},{'val' if n < 2 else 'train'}" for n in range(8)]
    (folder / "split.csv").write_text("\n".join(["id,split", *sides]) + "\n")
    return folder


@pytest.fixture
def small(monkeypatch):
    """Plans as they are, but for small networks, a few steps and few timings: what is shown is what runs."""
    from medgrad.compress import prune
    from medgrad.engine.race import race
    from medgrad.engine.training import fit, timing
    from medgrad.engine.training import lr_finder as find_rate
    from medgrad.engine.training import plan as planning

    plan, effort, field = fit.plan, prune.SearchBudget, race.prepare_race

    def tiny(*words, **settings):
        recipe = plan(*words, **settings)
        model = dict(recipe.model)
        levels = 2 if model["name"] == "unet" else len(model["channels"])
        model["channels"] = tuple(4 * 2**level for level in range(levels))
        if "strides" in model:
            model["strides"] = model["strides"][: levels - 1]
        return replace(recipe, model=model).with_training(steps=2, validations=1, batch=2)

    monkeypatch.setattr(fit, "plan", tiny)
    monkeypatch.setattr(race, "plan", tiny)
    monkeypatch.setattr(planning, "plan", tiny)
    monkeypatch.setitem(find_rate.find_rate.__kwdefaults__, "steps", 12)
    monkeypatch.setattr(prune, "SearchBudget", lambda _, *words: effort(6, *words))
    monkeypatch.setattr(timing, "TIMED_STEPS", 1)
    monkeypatch.setattr(race, "TIMING_ROUNDS", 1)
    monkeypatch.setattr(race, "N_VALIDATIONS", 2)
    monkeypatch.setattr(
        race, "prepare_race", lambda *words: replace(field(*words), run_seconds=0.0)
    )  # the fewest steps
    monkeypatch.setitem(race.race.__wrapped__.__kwdefaults__, "rates", (1.0,))
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def run_command(line):
    out, err, before = StringIO(), StringIO(), sys.argv
    sys.argv = shlex.split(line)
    try:
        with redirect_stdout(out), redirect_stderr(err):
            main()
    except SystemExit as end:
        if end.code and "is not installed. Type: pip install" in err.getvalue():
            pytest.skip(err.getvalue().strip().splitlines()[-1])
        if end.code:
            pytest.fail(f"{line}: {err.getvalue()[-500:]}")
    finally:
        sys.argv = before


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_what_a_page_shows_runs(page, ground, small, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for folder in ground.iterdir():
        (tmp_path / folder.name).symlink_to(folder)
    space = {"__name__": "__page__"}
    for kind, title, text in blocks(page):
        if kind == "python" and title is None:
            with redirect_stdout(StringIO()):
                exec(compile(text, name_of(page), "exec"), space)
        elif kind == "toml" and title:
            (tmp_path / title).write_text(text)
        elif kind == "sh":
            for line in text.splitlines():
                if line.startswith("medgrad "):
                    run_command(line)
                else:
                    assert line.split()[0] in ("pip", "make", "git", "cd"), (
                        f"{name_of(page)} shows {line!r}, which is not run"
                    )


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_the_blocks_of_a_page_are_of_kinds_that_are_tested(page):
    assert {kind for kind, _, _ in blocks(page)} <= {"python", "sh", "toml", "text"}
    assert page.read_text().count("```") == 2 * len(blocks(page))


@pytest.mark.parametrize("page", [*PAGES, *AT_ROOT], ids=name_of)
def test_the_links_of_a_page_lead_somewhere(page):
    for match in LINK.finditer(page.read_text()):
        if not match.group(1).startswith(("http://", "https://")):
            assert (page.parent / match.group(1)).exists(), match.group(1)


def test_the_table_of_verbs_is_complete():
    listed = set(re.findall(r"^\| `(\w+)", (ROOT / "README.md").read_text(), re.MULTILINE))
    assert listed == set(registry.names("apps.verbs"))


def test_the_table_of_layouts_is_complete():
    text = (ROOT / "docs" / "guides" / "data-layouts.md").read_text()
    assert set(re.findall(r"^\| (\w+) \|", text, re.MULTILINE)) - {"layout"} == set(
        registry.names("data.cohorts.layouts")
    )


def test_the_picture_is_small():
    for picture in (ROOT / "docs" / "pictures").iterdir():
        assert picture.stat().st_size < 300_000


MODULES = [m.name for m in pkgutil.walk_packages(medgrad.__path__, "medgrad.") if not m.name.endswith("_main")]


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_of_a_module_run(name):
    if name == "medgrad.__main__":
        pytest.skip("it is the command line itself")
    try:
        module = importlib.import_module(name)
    except PackageNotInstalled as reason:
        pytest.skip(str(reason))
    runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE)
    for shown in doctest.DocTestFinder(exclude_empty=True).find(module):
        if shown.examples:  # to run none takes as long as to look at every source file that was ever read
            runner.run(shown)
    assert runner.summarize().failed == 0


def test_the_example_of_two_optimisers_runs(capsys, small):
    space = runpy.run_path(str(ROOT / "examples" / "compare_optimisers.py"))
    first, last = (space["losses"]("adamw", rate=3e-3)[i] for i in (0, -1))
    assert last < first


def test_the_example_judges_masks_of_another_model(ground, capsys, tmp_path):
    space = runpy.run_path(str(ROOT / "examples" / "judge_another_model.py"))
    truths = ground / "held-out" / "labels"
    for path in sorted(truths.iterdir())[1:]:
        (tmp_path / path.name).write_bytes(path.read_bytes())
    space["main"](str(truths), str(tmp_path))
    assert re.search(r"dice/mean +0\.750 .* n = 4", capsys.readouterr().out)


def run_cell(text, space):
    """Run a cell of a notebook, and give the value of its last line where that is an expression."""
    tree = ast.parse(text)
    last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, "notebook", "exec"), space)
    return eval(compile(ast.Expression(last.value), "notebook", "eval"), space) if last else None


def cells():
    """Give the text of every cell of the notebook that holds code."""
    notebook = json.loads((ROOT / "examples" / "notebook.ipynb").read_text())
    return ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code"]


def test_the_notebook_is_of_ten_lines_of_public_names():
    assert len([line for text in cells() for line in text.splitlines() if line.strip()]) == 10
    assert set(re.findall(r"\bmedgrad\.(\w+)", "\n".join(cells()))) <= set(medgrad.__all__)


def test_the_notebook_ends_in_a_drawn_answer(ground, small, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("scans", "new"):
        (tmp_path / name).symlink_to(ground / name)
    space = {"__name__": "__main__"}
    with redirect_stdout(StringIO()):
        shown = [run_cell(text, space) for text in cells()]
    pictures = [value._repr_png_() for value in shown if hasattr(value, "_repr_png_")]
    assert len(pictures) == 3
    assert [Pillow.open(BytesIO(picture)).format for picture in pictures] == ["PNG"] * 3
    assert isinstance(shown[-1], medgrad.LabelMap)
    assert "<td>Dice" in shown[-2]._repr_html_()


def test_ipython_shows_a_value_as_a_picture():
    formatters = pytest.importorskip("IPython.core.formatters", reason="IPython is not installed")
    found, _ = formatters.DisplayFormatter().format(medgrad.tasks.Segmentation(dims=2).example().truth)
    assert found["image/png"]


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    folder = tmp_path_factory.mktemp("reference")
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(StringIO()):
        patch.setattr(sys, "argv", ["make_reference.py", str(folder)])
        runpy.run_path(str(ROOT / "docs" / "make_reference.py"), run_name="__main__")
    return folder


def rooms():
    """Every folder whose files end in THIS."""
    source, found = ROOT / "src" / "medgrad", {}
    for path in sorted(source.rglob("*.py")):
        if path.name.startswith("_"):
            continue
        if re.search(r"^THIS\b.* = ", path.read_text(), re.MULTILINE):
            found.setdefault(".".join(path.relative_to(source).parts[:-1]), []).append(path.stem)
    return found


ROOMS = rooms()


@pytest.mark.parametrize("room", ROOMS)
def test_the_reference_names_every_file_of_every_room(room, reference):
    text = (reference / f"{room.rpartition('.')[2]}.md").read_text()
    assert re.findall(r"^## (\w+)$", text, re.MULTILINE) == sorted(ROOMS[room])


def test_the_reference_tells_settings_with_their_defaults(reference):
    assert "| `rate` | `0.001` |" in (reference / "optimisers.md").read_text()
    assert "| `minutes` | `20.0` |" in (reference / "verbs.md").read_text()


@pytest.fixture(scope="module")
def site(reference, tmp_path_factory):
    """The site as `make docs` builds it, and what was printed meanwhile."""
    pytest.importorskip("mkdocs", reason="mkdocs is not installed: make docs installs it")
    pytest.importorskip("material", reason="mkdocs-material is not installed: make docs installs it")
    here = tmp_path_factory.mktemp("site")
    shutil.copytree(ROOT / "docs", here / "docs", ignore=shutil.ignore_patterns("reference", "__pycache__"))
    shutil.copytree(reference, here / "docs" / "reference")
    for path in [ROOT / "mkdocs.yml", ROOT / "README.md", *AT_ROOT]:
        shutil.copy(path, here)
    words = [sys.executable, "-m", "mkdocs", "build", "--strict"]
    quiet = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(words, cwd=here, env=quiet, capture_output=True, text=True, check=False)
    return here / "build" / "site", done


def test_the_site_builds_without_a_warning(site):
    folder, done = site
    assert done.returncode == 0, done.stderr[-2000:]
    assert all(line.startswith("INFO ") for line in (done.stdout + done.stderr).splitlines())
    assert (folder / "index.html").exists()


def test_the_site_holds_every_page(site, reference):
    folder, _ = site
    wanted = {p.relative_to(ROOT / "docs").with_suffix(".html").as_posix() for p in PAGES if p.name != "README.md"}
    wanted |= {f"reference/{p.stem}.html" for p in reference.iterdir()} | {f"{p.stem.lower()}.html" for p in AT_ROOT}
    assert wanted - {p.relative_to(folder).as_posix() for p in folder.rglob("*.html")} == set()


def test_no_page_of_the_site_loads_anything_from_elsewhere(site):
    folder, _ = site
    loads = re.compile(r"<(?:script|link|img|iframe|source)\b[^>]*?(?:src|href)=[\"']?((?:https?:)?//[^\"' >]+)")
    assert {found for page in folder.rglob("*.html") for found in loads.findall(page.read_text())} == set()


def test_the_citation_names_this_version_and_licence():
    text = (ROOT / "CITATION.cff").read_text()
    told = dict(re.findall(r"^([\w-]+): (.+)$", text, re.MULTILINE))
    assert (told["cff-version"], told["title"], told["license"]) == ("1.2.0", "medgrad", "Apache-2.0")
    assert told["version"] == medgrad.__version__
    assert (ROOT / "LICENSE").read_text().split()[:3] == ["Apache", "License", "Version"]

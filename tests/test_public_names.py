"""What ``import medgrad`` offers: names that load when touched, and that an editor and mypy know."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import medgrad
from medgrad import registry

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "medgrad"


def typed_imports(path):
    """Give module and name of every import that only a type checker sees, as the module is written there."""
    (block,) = (n for n in ast.parse(path.read_text()).body if isinstance(n, ast.If))
    return {alias.name: node.module for node in block.body if isinstance(node, ast.ImportFrom) for alias in node.names}


@pytest.mark.parametrize("name", medgrad.__all__)
def test_each_public_name_is_there(name):
    assert getattr(medgrad, name) is not None
    assert name in dir(medgrad)


def test_a_type_checker_sees_the_names_that_are_there():
    assert typed_imports(SOURCE / "__init__.py") == medgrad.PUBLIC | dict.fromkeys(medgrad.MODULES)


@pytest.mark.parametrize("room", ["models", "tasks", "losses"])
def test_a_type_checker_sees_the_classes_of_a_room_in_their_files(room):
    assert typed_imports(SOURCE / room / "__init__.py").items() <= registry.class_files(room).items()


def test_a_name_that_is_not_public_is_no_attribute():
    with pytest.raises(AttributeError, match="module 'medgrad' has no attribute 'open_rum'"):
        medgrad.open_rum  # noqa: B018


@pytest.mark.slow
def test_types_are_told_and_a_misspelt_name_is_too(tmp_path):
    (tmp_path / "mine.py").write_text(
        "import medgrad\n"
        "reveal_type(medgrad.open_run)\n"
        "reveal_type(medgrad.models.UNet(1, 2, 3))\n"
        "medgrad.open_rum\n"
        "medgrad.models.Unet\n"
    )
    words = [sys.executable, "-m", "mypy", "--follow-imports=silent", "--cache-dir", str(ROOT / ".mypy_cache")]
    done = subprocess.run(
        [*words, "--config-file", str(ROOT / "pyproject.toml"), str(tmp_path / "mine.py")],
        cwd=ROOT, capture_output=True, text=True, check=False, env={"MYPYPATH": str(ROOT / "src"), "PATH": ""},
    )  # fmt: skip
    assert "medgrad.engine.evaluation.opened_run.OpenedRun" in done.stdout
    assert 'Revealed type is "medgrad.models.unet.UNet"' in done.stdout
    assert 'Module has no attribute "open_rum"' in done.stdout
    assert 'Module has no attribute "Unet"' in done.stdout


def python_blocks(page):
    return re.findall(r"^```python.*?\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL)


def imported(text):
    """Give the whole name of everything that a text imports."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


GUIDES = sorted((ROOT / "docs" / "guides").glob("*.md"))


@pytest.mark.parametrize("page", GUIDES, ids=lambda page: page.stem)
def test_no_guide_imports_what_is_private(page):
    every = [name for text in python_blocks(page) for name in imported(text)]
    assert [n for n in every if any(w.startswith("_") and not w.startswith("__") for w in n.split("."))] == []


def test_the_guide_for_python_needs_the_public_names_alone():
    texts = python_blocks(ROOT / "docs" / "guides" / "python.md")
    assert {name for text in texts for name in imported(text)} == {"medgrad"}
    rooms = set(re.findall(r"\bmedgrad\.(\w+)", "\n".join(texts)))
    assert rooms <= set(medgrad.__all__)

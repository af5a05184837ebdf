"""What is imported is declared: the core by ``dependencies``, the rest by the extra that its error message names."""

import ast
import re
import sys
import tomllib
from pathlib import Path

import pytest
from test_floors import statements

from medgrad import registry

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]
DISTRIBUTION = {
    "PIL": "pillow", "gdcm": "python-gdcm", "jpeg_ls": "pyjpegls", "mlflow": "mlflow-skinny", "rle": "pylibjpeg-rle",
}  # fmt: skip
"""Distributions that are not called as the module that they bring."""


def named(wanted):
    """Give the names of requirements, without versions, in small letters."""
    return {re.split(r"[\[<>=]", w)[0].lower() for w in wanted}


def distribution(module):
    top = module.split(".")[0]
    return DISTRIBUTION.get(top, top).lower()


@pytest.fixture(scope="module")
def found():
    """Give what is imported from outside, and module and extra of each ``require_package``, with file and line."""
    imports, needs = [], []
    for file in sorted((ROOT / "src").rglob("*.py")):
        text = file.read_text()
        for node in statements(ast.parse(text)):
            place = f"{file.name}:{getattr(node, 'lineno', 0)}"
            if isinstance(node, ast.Import):
                imports += [(a.name, place) for a in node.names]
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                imports.append((node.module, place))
        needs += [
            (*m.groups(), file.name) for m in re.finditer(r'\brequire_package\(\s*"([\w.]+)",\s*extra="(\w+)"', text)
        ]
    return imports, needs


def test_every_module_that_is_imported_outright_is_a_dependency(found):
    imports, _ = found
    core = named(PROJECT["dependencies"]) | {"medgrad"}
    outside = [(m, at) for m, at in imports if m.split(".")[0] not in sys.stdlib_module_names]
    assert len(outside) > 100
    assert [(m, at) for m, at in outside if distribution(m) not in core] == []


def test_every_dependency_is_imported_or_decodes_what_pydicom_asks_of_it(found):
    imports, _ = found
    used = {distribution(m) for m, _ in imports}
    assert named(PROJECT["dependencies"]) - used == {"pylibjpeg", "pylibjpeg-openjpeg"}


def test_every_optional_module_is_brought_by_the_extra_that_is_named(found):
    _, needs = found
    # "json" is the example of the docstring of need
    assert len(needs) > 15
    wrong = [(m, e, at) for m, e, at in needs if m != "json" and distribution(m) not in named(EXTRAS.get(e, ()))]
    assert wrong == []


def test_every_extra_for_users_has_a_door_and_is_in_all(found):
    _, needs = found
    offered = set(EXTRAS) - {"all", "test", "bench", "docs", "torch"}
    assert EXTRAS["torch"] == []
    engines = {
        registry.find("inference.artefact.backends", name).extra
        for name in registry.names("inference.artefact.backends")
    }
    assert offered | {"torch"} == {extra for _, extra, _ in needs} | engines
    (whole,) = EXTRAS["all"]
    assert set(whole.removeprefix("medgrad[").rstrip("]").split(",")) == offered

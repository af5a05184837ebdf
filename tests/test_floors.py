"""A room imports only from the floors below its own: never sideways, never up."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

FLOORS = [
    {"version", "errors", "registry"},
    {"data"},
    {"prepare", "metrics", "quantify", "trust"},
    {"boxes", "similarity", "regularity", "runtime"},
    {"augment", "models", "losses", "transforms"},
    {"tasks"},
    {"descent"},
    {"engine"},
    {"explain", "compress", "export", "privacy", "words", "relations"},
    {"report", "apps"},
]
FLOOR = {room: level for level, rooms in enumerate(FLOORS) for room in rooms}
NO_TORCH = {"version", "errors", "registry", "data", "prepare", "metrics", "quantify", "trust", "runtime"}
ROOT = Path(__file__).parents[1] / "src" / "medgrad"


def statements(tree: ast.AST) -> Iterator[ast.AST]:
    """Give the statements of a module, those within others too, without the expressions that they hold."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, (ast.stmt, ast.excepthandler, ast.match_case)):
            yield node
            yield from statements(node)


def imported_rooms(tree: ast.AST, depth: int) -> list[tuple[int, str]]:
    """Give line and room of each import that leaves a file's own room; ``depth`` is the file's depth below the root."""
    found = []
    for node in statements(tree):
        if isinstance(node, ast.ImportFrom) and node.level == depth:
            names = [node.module.split(".")[0]] if node.module else [a.name for a in node.names]
            found += [(node.lineno, name) for name in names]
        if isinstance(node, ast.ImportFrom) and node.level == 0 and (node.module or "").startswith("medgrad."):
            found.append((node.lineno, str(node.module).split(".")[1]))
    return found


def breaches(root: Path) -> list[str]:
    bad = []
    for file in sorted(root.rglob("*.py")):
        parts = file.relative_to(root).parts
        room = parts[0]
        if len(parts) == 1:
            continue
        for line, other in imported_rooms(ast.parse(file.read_text()), len(parts)):
            same_top = FLOOR.get(room) == len(FLOORS) - 1 == FLOOR.get(other)
            if other != room and not same_top and FLOOR.get(other, 99) >= FLOOR[room]:
                bad.append(f"{file.relative_to(root)}:{line} imports {other}")
    return bad


def test_every_room_imports_only_from_below():
    assert breaches(ROOT) == []


def test_every_room_has_a_floor():
    rooms = {p.name for p in ROOT.iterdir() if p.is_dir() and (p / "__init__.py").exists()}
    assert rooms <= set(FLOOR)


def test_a_breach_is_told_with_file_and_line(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "x.py").write_text("import os\nfrom ..engine import train\n")
    assert breaches(tmp_path) == ["data/x.py:2 imports engine"]


@pytest.mark.parametrize("room", sorted(NO_TORCH))
def test_the_lowest_floors_import_no_torch_at_their_doors(room):
    files = sorted((ROOT / room).rglob("*.py")) if (ROOT / room).is_dir() else [ROOT / f"{room}.py"]
    for file in files:
        for node in ast.parse(file.read_text()).body:
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) and node.level == 0 else []
            assert not [n for n in names if n.split(".")[0] == "torch"], f"{file}:{node.lineno}"


def test_importing_medgrad_brings_neither_torch_nor_numpy():
    code = "import sys, medgrad; sys.exit(bool({'torch', 'numpy', 'scipy'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_no_file_is_longer_than_400_lines():
    long = [f"{f.name}: {n}" for f in ROOT.rglob("*.py") if (n := len(f.read_text().splitlines())) > 400]
    assert long == []

"""A room imports only from the floors below its own: never sideways, never up."""

import ast
import re
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path

import pytest

FLOORS = [
    {"version", "errors", "registry"},
    {"data", "machine", "trust"},
    {"metrics", "prepare"},
    {"answers", "survey"},
    {"inference", "report"},
    {"models"},
    {"augment", "losses"},
    {"tasks"},
    {"descent"},
    {"engine"},
    {"compress", "explain", "export", "privacy", "registration"},
    {"apps"},
]
FLOOR = {room: level for level, rooms in enumerate(FLOORS) for room in rooms}
NO_TORCH = {room for rooms in FLOORS[:5] for room in rooms}
ROOT = Path(__file__).parents[1] / "src" / "medgrad"
PAGE = Path(__file__).parents[1] / "docs" / "why" / "floors.md"


def statements(tree: ast.AST) -> Iterator[ast.AST]:
    """Give the statements of a module, those within others too, without the expressions that they hold."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, (ast.stmt, ast.excepthandler, ast.match_case)):
            yield node
            yield from statements(node)


def imported_names(path: Path, root: Path) -> Iterator[tuple[int, list[str]]]:
    """Give line and whole name, from the package's root on, of each thing of the package that a file imports."""
    here = list(path.relative_to(root).parts[:-1]) if path.is_relative_to(root) else []
    for node in statements(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            words = (node.module or "").split(".") if node.module else []
            if node.level:
                words = [*here[: len(here) - node.level + 1], *words]
            elif words[0] != "medgrad":
                continue
            for name in node.names:
                yield node.lineno, [*(words if node.level else words[1:]), name.name]


def strangers(paths: Iterable[Path], root: Path) -> list[str]:
    """Give the imports of what begins with a line in another room."""
    return [
        f"{path}:{line} imports {'.'.join(name)}"
        for path in paths
        for line, name in imported_names(path, root)
        if any(word.startswith("_") and not word.startswith("__") for word in name)
        and not (path.is_relative_to(root) and path.relative_to(root).parts[0] == name[0])
    ]


def imported_files(path: Path, root: Path) -> Iterator[tuple[int, Path]]:
    """Give line and file of each import of the package's own, those within functions too."""
    for line, name in imported_names(path, root):
        place, last = root.joinpath(*name[:-1]), name[-1]
        every = (place / f"{last}.py", place / last / "__init__.py", place.with_suffix(".py"))
        yield line, next((p for p in every if p.exists()), place / "__init__.py")


@cache
def arrows(root: Path) -> list[tuple[Path, int, Path]]:
    """Give file, line and imported file of every import within the package, relative to its root."""
    return [
        (file.relative_to(root), line, other.relative_to(root))
        for file in sorted(root.rglob("*.py"))
        for line, other in imported_files(file, root)
    ]


def breaches(root: Path) -> list[str]:
    bad = []
    for file, line, other in arrows(root):
        room, into = file.parts[0], other.parts[0].removesuffix(".py")
        if len(file.parts) > 1 and into != room and FLOOR.get(into, 99) >= FLOOR[room]:
            bad.append(f"{file}:{line} imports {into}")
    return bad


def circles(graph: Mapping[Path, set[Path]]) -> list[list[str]]:
    """Give the groups of nodes that lead to one another."""
    reached = {node: beyond(graph, node) for node in graph}
    found = {tuple(sorted(str(n) for n in graph if n in reached[m] and m in reached.get(n, ()))) for m in graph}
    return [list(group) for group in sorted(found) if group]


def beyond(graph: Mapping[Path, set[Path]], node: Path) -> set[Path]:
    """Give all that a node leads to."""
    seen, open_ = set[Path](), [node]
    while open_:
        for other in graph.get(open_.pop(), set()) - seen:
            seen.add(other)
            open_.append(other)
    return seen


def graph_of(pairs: Iterable[tuple[Path, Path]]) -> dict[Path, set[Path]]:
    graph = defaultdict[Path, set[Path]](set)
    for one, other in pairs:
        if one != other:
            graph[one].add(other)
    return graph


def test_every_room_imports_only_from_below():
    assert breaches(ROOT) == []


def test_no_files_import_one_another():
    assert circles(graph_of((file, other) for file, _, other in arrows(ROOT))) == []


def test_no_folders_import_one_another():
    folders = ((file.parent, other.parent) for file, _, other in arrows(ROOT) if len(file.parts) > 1)
    assert circles(graph_of(pair for pair in folders if pair[0] != Path())) == []


def test_no_room_imports_what_is_private_to_another():
    assert strangers(sorted(ROOT.rglob("*.py")), ROOT) == []


def test_examples_and_guides_import_public_names_alone(tmp_path):
    pages = [PAGE.parents[2] / "README.md", *PAGE.parents[1].rglob("*.md")]
    for number, page in enumerate(page for page in pages if page.exists() and page.parent.name != "reference"):
        for count, block in enumerate(re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL)):
            (tmp_path / f"{page.stem}_{number}_{count}.py").write_text(block)
    examples = (PAGE.parents[2] / "examples").glob("*.py")
    assert strangers([*sorted(tmp_path.glob("*.py")), *examples], ROOT) == []


def test_a_private_import_is_told_with_file_and_line(tmp_path):
    (tmp_path / "tasks").mkdir()
    (tmp_path / "tasks" / "x.py").write_text("from ..prepare._step import Step\nfrom ._task import Task\n")
    assert strangers([tmp_path / "tasks" / "x.py"], tmp_path) == [
        f"{tmp_path / 'tasks' / 'x.py'}:1 imports prepare._step.Step"
    ]


def test_a_circle_is_found():
    one, two, three = Path("a"), Path("b"), Path("c")
    assert circles({one: {two}, two: {three}, three: {two}}) == [["b", "c"]]


def test_no_room_holds_more_than_three_tenths_of_the_lines():
    lines = {f: len(f.read_text().splitlines()) for f in ROOT.rglob("*.py")}
    each = Counter[str]()
    for file, count in lines.items():
        each[file.relative_to(ROOT).parts[0]] += count
    room, most = each.most_common(1)[0]
    assert most <= 0.3 * sum(lines.values()), room


def picture() -> str:
    """Draw the floors that stand, the highest first, each room with its caption."""
    lines = []
    for level in reversed(range(1, len(FLOORS))):
        rooms = sorted(room for room in FLOORS[level] if (ROOT / room / "__init__.py").exists())
        for room in rooms:
            caption = (ast.get_docstring(ast.parse((ROOT / room / "__init__.py").read_text())) or "").splitlines()[0]
            number = f"{level:2}" if room == rooms[0] else "  "
            lines.append(f"{number}  {room:<13} {caption.replace('``', '')}")
    return "```text\n" + "\n".join(lines) + "\n```"


def drawn(page: str) -> str:
    """Give the page with the picture in the place of its first block."""
    begin = page.index("```text")
    return page[:begin] + picture() + page[page.index("```", begin + 3) + 3 :]


def test_the_page_shows_the_floors():
    assert drawn(PAGE.read_text()) == PAGE.read_text()


def test_captions_carry_no_numbers_of_floors():
    captions = {p: ast.get_docstring(ast.parse(p.read_text())) or "" for p in ROOT.rglob("__init__.py")}
    assert [p for p, caption in captions.items() if not caption or "Floor" in caption] == []


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
    files = [f for room in ("src", "tests", "benchmarks") for f in (ROOT.parents[1] / room).rglob("*.py")]
    long = [f"{f.name}: {n}" for f in files if (n := len(f.read_text().splitlines())) > 400]
    assert long == []


if __name__ == "__main__":
    PAGE.write_text(drawn(PAGE.read_text()))

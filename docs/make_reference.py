"""Make docs/reference out of docstrings and folder listings, so that it cannot fall behind."""

from __future__ import annotations

import inspect
import sys
from dataclasses import MISSING
from importlib import import_module
from pathlib import Path
from typing import Any

from medgrad import registry

ROOMS = {
    "apps.verbs": "Verbs",
    "tasks": "Tasks",
    "answers": "Kinds of answer",
    "models": "Models",
    "losses": "Losses",
    "losses.similarity": "Measures of similarity",
    "losses.regularisers": "Measures of smoothness",
    "models.transforms": "Transforms",
    "augment": "Augmentations",
    "prepare": "Preparation",
    "descent.optimisers": "Optimisers",
    "descent.gradients": "Ways of making gradients",
    "descent.schedules": "Schedules",
    "descent.samplers": "Samplers",
    "descent.solvers": "Solvers",
    "descent.stopping": "Rules of stopping",
    "compress.criteria": "Criteria of pruning",
    "metrics": "Metrics",
    "report.sections": "Sections of the report",
    "data.formats": "Formats",
    "data.cohorts.layouts": "Layouts",
    "engine.training.trackers": "Trackers",
    "export": "Targets of export",
    "inference.artefact.backends": "Engines",
}


def is_room(room: str, name: str) -> bool:
    """Tell whether a file of a folder is a part that is found by name, and not a helper beside them."""
    return hasattr(import_module(f"medgrad.{room}.{name}"), "THIS")


def parts(room: str) -> list[str]:
    """List the parts of a room."""
    return [name for name in registry.names(room) if is_room(room, name)]


def page(room: str) -> str:
    """Write the page of one room: what it is, then each of its files."""
    about = inspect.getdoc(import_module(f"medgrad.{room}")) or ""
    return "\n".join([f"# {ROOMS[room]}", "", f"`medgrad.{room}`. {about}", "", *[part(room, n) for n in parts(room)]])


def part(room: str, name: str) -> str:
    """Write what one file offers: its first words, its settings with their defaults, and its docstring."""
    module = import_module(f"medgrad.{room}.{name}")
    thing = module.THIS
    lines = [f"## {name}", "", inspect.getdoc(module) or "", ""]
    settings = {k: v for k, v in registry.keyword_defaults(thing).items() if k != "progress"} if callable(thing) else {}
    if settings:
        lines += [
            "| setting | default |",
            "| --- | --- |",
            *[f"| `{k}` | {shown(v)} |" for k, v in settings.items()],
            "",
        ]
    said = inspect.getdoc(thing) if inspect.isclass(thing) or inspect.isfunction(thing) else None
    if said and said != inspect.getdoc(module) and not said.startswith(f"{getattr(thing, '__name__', '')}("):
        lines += [fenced(said), ""]
    if room == "metrics":
        lines += [
            f"- `{word}` ({figure.better} is better): {figure.definition}" for word, figure in thing.figures.items()
        ]
        lines.append("")
    if room == "data.formats":
        does = [w for w in ("read", "read_labels", "write") if getattr(thing, w) is not None]
        endings = ", ".join(f"`{s}`" for s in thing.suffixes) or "told by its content"
        lines += [f"Endings: {endings}. Offers: {', '.join(does)}.", ""]
    return "\n".join(lines)


def shown(value: Any) -> str:
    """Write a default as it would be typed."""
    if value is MISSING or "factory" in str(value):
        return "empty"
    return f"`{value.as_posix() if isinstance(value, Path) else value!r}`".replace("|", "\\|")


def fenced(said: str) -> str:
    """Keep the examples of a docstring from being taken for quotations."""
    text, _, example = said.partition("\n>>> ")
    return f"{text.rstrip()}\n\n```python\n>>> {example}\n```" if example else said


def make(folder: Path) -> list[Path]:
    """Write a page a room, and one that lists them."""
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for room in ROOMS:
        path = folder / f"{room.rpartition('.')[2]}.md"
        path.write_text(page(room).rstrip() + "\n", encoding="utf-8")
        written.append(path)
    lines = [f"- [{title}]({room.rpartition('.')[2]}.md): {', '.join(parts(room))}" for room, title in ROOMS.items()]
    index = folder / "index.md"
    index.write_text("\n".join(["# Reference", "", *lines]) + "\n", encoding="utf-8")
    return [*written, index]


if __name__ == "__main__":
    made = make(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "reference")
    print(f"{len(made)} pages in {made[0].parent}")

"""Pages of the repository's root become pages of the site, and a folder in the menu stands for all of its pages."""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[1]
PAGES = {
    "README.md": "index.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
}
"""Pages of the root, and what they are called in the site."""
LINK = re.compile(r"\]\(([^)#:]+)(#[^)]*)?\)")


def on_config(config: Any) -> None:
    """Where the menu names a folder, put in every page of it, its index first."""
    config.nav = [{title: pages_of(entry, config.docs_dir)} for item in config.nav for title, entry in item.items()]


def on_files(files: Files, *, config: Any) -> None:
    """Add the pages of the root."""
    for name, place in PAGES.items():
        files.append(File.generated(config, place, content=(ROOT / name).read_text(encoding="utf-8")))


def on_page_markdown(markdown: str, *, page: Any, **_: Any) -> str:
    """Turn each link between pages to where they lie in the site."""
    place = page.file.src_uri
    return LINK.sub(lambda link: f"]({target(link[1], place)}{link[2] or ''})", markdown)


def pages_of(entry: Any, docs: str) -> Any:
    """Give the pages of a folder; what is no folder stays as it is."""
    if not isinstance(entry, str) or not entry.endswith("/"):
        return entry
    found = sorted((Path(docs) / entry).glob("*.md"), key=lambda p: (p.stem not in ("index", "README"), p.stem))
    return [f"{entry}{path.name}" for path in found]


def target(link: str, place: str) -> str:
    """Give where a link of a page leads in the site: in the repository it is relative to where the page lies there."""
    folder = "" if place in PAGES.values() else posixpath.join("docs", posixpath.dirname(place))
    there = posixpath.normpath(posixpath.join(folder, link))
    return posixpath.relpath(PAGES.get(there, there.removeprefix("docs/")), posixpath.dirname(place) or ".")

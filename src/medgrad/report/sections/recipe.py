"""The recipe of a run."""

from __future__ import annotations

from ..html import escape_text
from ..read_run import RunFiles
from ._section import Section


def recipe_section(run_files: RunFiles) -> str:
    """Return the recipe as it stands in its file."""
    recipe = run_files.recipe.strip()
    return f"<pre>{escape_text(recipe)}</pre>" if recipe else ""


THIS = Section("Recipe", recipe_section, order=120)

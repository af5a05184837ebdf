"""What a section of a run's page is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ..read_run import RunFiles


@dataclass(frozen=True)
class Section:
    """A section of a run's page: its heading, its content, and its place among the sections.

    ``make`` gives the content as HTML, or nothing where the run has nothing to show; whatever comes from a file is
    escaped. What it raises over a damaged file costs this section alone. Sections stand by their ``order``.
    """

    heading: str
    make: Callable[[RunFiles], str]
    order: int

"""Experiment trackers, one per file: ``THIS(folder)`` returns a function that logs the figures of a step.

``THIS.needs`` names the package that it needs and the extra that installs it.
"""

from collections.abc import Callable, Mapping
from pathlib import Path

LogFigures = Callable[[int, Mapping[str, float]], None]
MakeTracker = Callable[[Path], LogFigures]

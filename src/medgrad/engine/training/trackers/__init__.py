"""One tracker a file: ``THIS(folder)`` gives a function that takes a step's number and its figures.

``THIS.needs`` names the package that it needs and the extra that brings it.
"""

from collections.abc import Callable, Mapping
from pathlib import Path

Track = Callable[[int, Mapping[str, float]], None]
Tracker = Callable[[Path], Track]

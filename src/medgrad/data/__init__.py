"""Floor 0: what a patient's data is. Arrays that know where they lie in the body; no torch."""

from .case import Case
from .cohort import Cohort, Entry
from .grid import Grid
from .source import Source
from .types import Boxes, Deformation, Drawn, Image, LabelMap, Landmarks, Pair, Scores, Truth, join

__all__ = [
    "Boxes",
    "Case",
    "Cohort",
    "Deformation",
    "Drawn",
    "Entry",
    "Grid",
    "Image",
    "LabelMap",
    "Landmarks",
    "Pair",
    "Scores",
    "Source",
    "Truth",
    "join",
]

"""What a patient's data is: images and answers on grids, files, cohorts. No torch."""

from .case import Case
from .grid import Grid
from .source import Source
from .types import Boxes, Deformation, Drawn, Image, LabelMap, Landmarks, Pair, Scores, Truth, join

__all__ = [
    "Boxes",
    "Case",
    "Deformation",
    "Drawn",
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

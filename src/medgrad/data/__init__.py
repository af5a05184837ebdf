"""Patient data without torch: images, labels and other answers on grids, file formats, and cohorts of cases."""

from .case import Case
from .grid import Grid
from .source import Source
from .types import (
    AnomalyMap,
    Boxes,
    Deformation,
    Image,
    LabelMap,
    Landmarks,
    Pair,
    ProbabilityMaps,
    Scores,
    SyntheticImage,
    Truth,
    UnplacedBoxes,
    concatenate_answers,
)

__all__ = [
    "AnomalyMap",
    "Boxes",
    "Case",
    "Deformation",
    "Grid",
    "Image",
    "LabelMap",
    "Landmarks",
    "Pair",
    "ProbabilityMaps",
    "Scores",
    "Source",
    "SyntheticImage",
    "Truth",
    "UnplacedBoxes",
    "concatenate_answers",
]

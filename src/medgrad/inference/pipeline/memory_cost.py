"""The memory that a predictor takes for a window, measured on one that is made up."""

from __future__ import annotations

import numpy as np

from ...answers import kind_named
from ...data import Case, Grid, Image
from ..predictor import Predictor
from .memory_estimate import MemoryCost
from .memory_limit import peak_memory


def memory_cost(predictor: Predictor) -> MemoryCost:
    """Measure what a window takes, by answering about one that is made up."""
    names = predictor.images or ("image",)
    channels = max(1, predictor.channels // len(names))
    shape = predictor.patch if channels == 1 else (*predictor.patch, channels)
    images = {name: Image(np.zeros(shape, np.float32), Grid.from_shape(predictor.patch)) for name in names}
    case = Case("made up", images)
    predictor.predict(case)  # what is only made once
    window = peak_memory(lambda: predictor.predict(case))
    classes = predictor.classes
    element = kind_named(predictor.kind).element_bytes(classes) or 0
    return MemoryCost(window, predictor.patch, classes, element, tuple(predictor.steps))

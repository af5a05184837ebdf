"""The memory that a predictor takes for a window, measured on one that is made up."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ...answers import kind_named
from ...data import Case, Grid, Image
from ..predictor import Predictor
from .memory_estimate import MemoryCost
from .memory_limit import peak_memory


def memory_cost(predictor: Predictor) -> MemoryCost:
    """Measure what a window takes, by answering about one that is made up."""
    names = predictor.images or ("image",)
    kept = names[:1] if any(step.joins_images for step in predictor.steps) else names
    channels = max(1, predictor.channels // len(kept))
    shape = predictor.patch if channels == 1 else (*predictor.patch, channels)
    image = Image(np.zeros(shape, np.float32), Grid.from_shape(predictor.patch))
    tags = {} if kept == names else {"fused": names}
    images = {name: replace(image, array=image.array.copy(), tags=tags) for name in kept}
    case = Case("made up", images)
    predictor.predict(case)  # what is only made once
    window = peak_memory(lambda: predictor.predict(case))
    classes = predictor.classes
    element = kind_named(predictor.kind).element_bytes(classes) or 0
    return MemoryCost(window, predictor.patch, classes, element, tuple(predictor.steps))

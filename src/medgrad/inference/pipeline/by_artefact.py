"""How an artefact answers part by part, and the memory that it takes."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...data import Case
from ...prepare import prepare, restore
from ..artefact.artefact import Artefact
from ..artefact.infer import Ask, answer_prepared, mirrored
from ..sliding_window import without_truth
from .memory_estimate import MemoryCost
from .memory_limit import peak_memory, prepare_lean
from .pipeline import Predictor


def in_parts(artefact: Artefact, ask: Ask, *, lean: bool = False) -> Predictor:
    """Tell how an artefact answers, part by part."""

    def ready(box: list[Case]) -> tuple[Case, Any]:
        box[0] = without_truth(box[0])
        return prepare_lean(box, artefact.steps) if lean else prepare(box.pop(), artefact.steps)

    def say(case: Case, sums: int) -> Any:
        return answer_prepared(artefact, ask, case, sums=sums)

    def back(said: Any, grids: Any) -> Any:
        return restore(said, artefact.steps, grids)

    return Predictor(ready, say, back, lambda: taken_by(artefact, ask))


def taken_by(artefact: Artefact, ask: Ask) -> MemoryCost:
    """Measure what a window takes, by showing one that is made up in numpy."""
    made_up = np.zeros((1, artefact.about["planes"], *artefact.patch), np.float32)
    ask(made_up)  # what is only made once
    window = peak_memory(lambda: mirrored(ask, made_up, artefact.about["flips"]))
    channels = 1 + len(artefact.task["labels"]) if artefact.reading == "logits" else 0
    copies = 3 * 4 * channels * int(np.prod(artefact.patch))
    return MemoryCost(window + copies, artefact.patch, channels, 1 if channels <= 256 else 4, tuple(artefact.steps))

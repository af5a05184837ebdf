"""Scores: the probability of each class of a whole image."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy import special

from ..data import Grid, Scores
from ..data.atomic_files import write_text
from ._kind import Agreement, AnswerKind, Destination, Settings, largest_difference


class ClassScores(AnswerKind):
    """Decoded from calibrated probabilities (classes,)."""

    type = Scores
    outputs = ("probabilities",)
    formats = ("json",)
    settings = ("labels", "exclusive")

    def example(self, grid: Grid, seed: int = 0) -> Scores:
        del grid
        return Scores(np.random.default_rng(seed).dirichlet((1, 1, 1)), ("well", "ill", "unsure"))

    def join(self, values: Sequence[Scores], windows: Sequence[Grid], grid: Grid, settings: Settings) -> Scores:
        del windows, grid, settings
        return Scores(np.mean([v.values for v in values], axis=0), values[0].names, values[0].exclusive)

    def decode(self, outputs: Sequence[Any], grid: Grid, settings: Settings) -> Scores:
        del grid  # an opinion on a whole image has no place
        values = np.asarray(outputs[0], np.float64)
        exclusive = bool(settings["exclusive"])
        return Scores(values / values.sum() if exclusive else values, tuple(settings["labels"]), exclusive)

    def write(self, value: Scores, to: Destination) -> list[Path]:
        write_text(to.path(".json"), json.dumps(self.summary(value), indent=1) + "\n")
        return [to.path(".json")]

    def element_bytes(self, classes: int) -> int | None:
        return 1

    def summary(self, value: Scores) -> dict[str, Any]:
        values = {n: round(float(v), 6) for n, v in zip(value.names, value.values, strict=True)}
        return {"probabilities": values} | ({"answer": value.top_class} if value.exclusive else {})

    def quality(self, value: Scores, truth: Any) -> float | None:
        if not isinstance(truth, Scores):
            return None
        return float(np.where(truth.values > 0.5, value.values, 1 - value.values).mean())

    def caption(self, value: Scores, truth: Any) -> str:
        known = f", truth {truth.top_class}" if isinstance(truth, Scores) else ""
        return f"said {value.top_class} {value.values.max():.2f}{known}"

    def compare(self, pairs: Sequence[tuple[Scores, Scores]]) -> Agreement:
        largest = largest_difference([(a.values, b.values) for a, b in pairs])
        return Agreement(largest, len(pairs), {"largest_difference": largest})


def class_probabilities(
    logits: Any, *, exclusive: bool, temperature: float = 1.0, shift: Any = 0.0, functions: Any = special
) -> Any:
    """Give the calibrated probabilities (..., classes) of logits: ``shift`` is added, then all are divided.

    ``functions`` is ``scipy.special`` for arrays of numpy, ``torch.special`` for tensors.

    >>> class_probabilities(np.array([0.0, np.log(3)]), exclusive=True).round(2).tolist()
    [0.25, 0.75]
    """
    scaled = (logits + shift) / temperature
    return functions.softmax(scaled, -1) if exclusive else functions.expit(scaled)


THIS = ClassScores()

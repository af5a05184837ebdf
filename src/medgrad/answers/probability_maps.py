"""Probability maps: the probability of every label in every element."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..data import Grid, LabelMap, ProbabilityMaps, Source, concatenate_answers
from ..prepare import Memo, Step
from ..prepare.crop import crop_box
from ._dicom import MAP_FORMATS, check_highdicom, check_series, uncoded_notes, write_probabilities
from ._kind import Agreement, AnswerKind, Destination, Settings, largest_difference
from .label_map import label_type, volumes


class Probabilities(AnswerKind):
    """Decoded from logits (classes, *shape) by softmax; the background is what is left to 1."""

    type = ProbabilityMaps
    outputs = ("logits",)
    formats = MAP_FORMATS
    settings = ("labels",)

    def example(self, grid: Grid, seed: int = 0) -> ProbabilityMaps:
        values = np.random.default_rng(seed).dirichlet((1, 1, 1), grid.shape).astype(np.float32)
        return ProbabilityMaps(values[..., 1:], grid, "other", {"labels": ("liver", "tumour")})

    def crop(self, value: ProbabilityMaps, start: Sequence[int], shape: Sequence[int]) -> ProbabilityMaps:
        cropped: ProbabilityMaps = crop_box(value, start, shape)
        return cropped

    def join(
        self, values: Sequence[ProbabilityMaps], windows: Sequence[Grid], grid: Grid, settings: Settings
    ) -> ProbabilityMaps:
        del windows, settings
        whole: ProbabilityMaps = concatenate_answers(values, grid)
        return whole

    def undo(self, value: ProbabilityMaps, step: Step, memo: Memo) -> ProbabilityMaps:
        back = step.undo_grid(value, memo)
        return back if isinstance(back, ProbabilityMaps) else ProbabilityMaps(back.array, back.grid, tags=back.tags)

    def decode(self, outputs: Sequence[Any], grid: Grid, settings: Settings) -> ProbabilityMaps:
        logits = outputs[0]
        if not isinstance(logits, np.ndarray):
            logits = logits.float().softmax(0)[1:].cpu().numpy()
        else:
            shares = np.exp(logits - logits.max(axis=0), dtype=np.float32)
            shares /= shares.sum(axis=0)
            logits = shares[1:]
        return ProbabilityMaps(np.moveaxis(logits, 0, -1), grid, "other", {"labels": tuple(settings["labels"])})

    def write(self, value: ProbabilityMaps, to: Destination) -> list[Path]:
        return write_probabilities(value, to)

    def check_format(self, file_format: str, source: Source) -> None:
        super().check_format(file_format, source)
        check_series(source, file_format)
        check_highdicom(file_format)

    def notes(self, value: ProbabilityMaps, written: Sequence[Path]) -> tuple[str, ...]:
        return uncoded_notes(written, value.tags["labels"])

    def summary(self, value: ProbabilityMaps) -> dict[str, Any]:
        return volumes(most_likely(value))

    def compare(self, pairs: Sequence[tuple[ProbabilityMaps, ProbabilityMaps]]) -> Agreement:
        largest = largest_difference([(a.array, b.array) for a, b in pairs])
        return Agreement(largest, len(pairs), {"largest_difference": largest})


def most_likely(maps: ProbabilityMaps) -> LabelMap:
    """Give the most likely label of every element, of probabilities (*shape, labels).

    >>> grid, array = Grid.from_shape((1, 3)), np.array([[[0.2, 0.1], [0.2, 0.5], [0.4, 0.3]]])
    >>> most_likely(ProbabilityMaps(array, grid, None, {"labels": "ab"})).array.tolist()
    [[0, 2, 1]]
    """
    planes = maps.channels_first
    best = planes.argmax(axis=0) + 1
    found = np.where(planes.max(axis=0) > 1 - planes.sum(axis=0), best, 0)
    return LabelMap(found.astype(label_type(len(planes) + 1)), maps.grid, dict(enumerate(maps.tags["labels"], 1)))


THIS = Probabilities()

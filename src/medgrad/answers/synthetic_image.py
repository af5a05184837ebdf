"""Synthetic images: values that no scanner gave, on the grid of the input and in a unit of their own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..data import Grid, Image, Source, SyntheticImage, concatenate_answers
from ..data.display import Plane, eight_bit
from ..prepare import Memo, Step
from ..prepare.crop import crop_box
from ._kind import Agreement, AnswerKind, Destination, Settings, kind_named


class SyntheticImages(AnswerKind):
    """Decoded from values (channels, *shape) by the ``mean`` and the ``deviation`` that the task learned them with.

    What preparation did to the values of the input is not undone: they are not its values.
    """

    type = SyntheticImage
    outputs = ("image",)
    formats = ("nifti", "dicom")
    tolerance = {"float32": 0.001, "int8": 0.05}
    settings = ("mean", "deviation")

    def example(self, grid: Grid, seed: int = 0) -> SyntheticImage:
        return SyntheticImage(np.random.default_rng(seed).normal(40, 100, grid.shape).astype(np.float32), grid)

    def crop(self, value: SyntheticImage, start: Sequence[int], shape: Sequence[int]) -> SyntheticImage:
        cropped: SyntheticImage = crop_box(value, start, shape)
        return cropped

    def join(
        self, values: Sequence[SyntheticImage], windows: Sequence[Grid], grid: Grid, settings: Settings
    ) -> SyntheticImage:
        del windows, settings
        whole: SyntheticImage = concatenate_answers(values, grid)
        return whole

    def undo(self, value: SyntheticImage, step: Step, memo: Memo) -> SyntheticImage:
        back = step.undo_grid(value, memo)
        return back if isinstance(back, SyntheticImage) else SyntheticImage(**vars(back))

    def decode(self, outputs: Sequence[Any], grid: Grid, settings: Settings) -> SyntheticImage:
        values = outputs[0] if isinstance(outputs[0], np.ndarray) else outputs[0].float().cpu().numpy()
        values = values * np.float32(settings["deviation"]) + np.float32(settings["mean"])
        return SyntheticImage(values[0] if len(values) == 1 else np.moveaxis(values, 0, -1), grid)

    def check_format(self, file_format: str, source: Source) -> None:
        kind_named("image").check_format(file_format, source)

    def write(self, value: SyntheticImage, to: Destination) -> list[Path]:
        return kind_named("image").write(value, to)

    def summary(self, value: SyntheticImage) -> dict[str, Any]:
        return kind_named("image").summary(value)

    def drawn(self, value: SyntheticImage, image: Image, plane: Plane) -> Mapping[str, NDArray[Any]]:
        return {"image": eight_bit(value.array, value.grid, plane)}

    def compare(self, pairs: Sequence[tuple[SyntheticImage, SyntheticImage]]) -> Agreement:
        return kind_named("image").compare(pairs)


THIS = SyntheticImages()

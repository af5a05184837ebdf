"""Images: intensities on the grid of the input, in its unit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..data import Grid, Image, Source, concatenate_answers
from ..data.display import Plane, eight_bit, plane_window
from ..data.formats import file_suffix, write
from ..prepare import Memo, Step
from ..prepare.crop import crop_box
from ._dicom import check_series, write_derived
from ._kind import Agreement, AnswerKind, Destination, Settings
from .label_map import SAME_SUFFIX

RESIDUAL_SHARE = 0.25
"""A difference by so much of the window is drawn white, or black."""


class Images(AnswerKind):
    """Decoded from values (channels, *shape), which are brought back to the unit of the input."""

    type = Image
    outputs = ("image",)
    formats = ("nifti", "dicom")
    tolerance = {"float32": 0.001, "int8": 0.05}

    def example(self, grid: Grid, seed: int = 0) -> Image:
        return Image(np.random.default_rng(seed).normal(40, 100, grid.shape).astype(np.float32), grid)

    def crop(self, value: Image, start: Sequence[int], shape: Sequence[int]) -> Image:
        cropped: Image = crop_box(value, start, shape)
        return cropped

    def join(self, values: Sequence[Image], windows: Sequence[Grid], grid: Grid, settings: Settings) -> Image:
        del windows, settings
        whole: Image = concatenate_answers(values, grid)
        return whole

    def undo(self, value: Image, step: Step, memo: Memo) -> Image:
        return step.undo_values(step.undo_grid(value, memo), memo)

    def decode(self, outputs: Sequence[Any], grid: Grid, settings: Settings) -> Image:
        del settings
        values = outputs[0] if isinstance(outputs[0], np.ndarray) else outputs[0].cpu().numpy()
        values = values.astype(np.float32)  # a copy: the memory of windows is used again
        return Image(values[0] if len(values) == 1 else np.moveaxis(values, 0, -1), grid)

    def check_format(self, file_format: str, source: Source) -> None:
        super().check_format(file_format, source)
        if file_format == "dicom":
            check_series(source, file_format)

    def write(self, value: Image, to: Destination) -> list[Path]:
        if to.file_format == "dicom":
            return write_derived(value, to)
        ending = ".nii.gz" if to.file_format == "nifti" else SAME_SUFFIX.get(file_suffix(to.source.path))
        path = to.path(ending or (".nii.gz" if value.grid.dims == 3 else ".png"))
        if path.suffix == ".png":
            low, high = float(value.array.min()), float(value.array.max())
            bits = np.uint8 if low >= 0 and high <= 255 else np.uint16
            value = Image(np.clip(np.rint(value.array), 0, np.iinfo(bits).max).astype(bits), value.grid)
        return [write(path, value)]

    def summary(self, value: Image) -> dict[str, Any]:
        finite = value.array[np.isfinite(value.array)]
        figures = {"mean": finite.mean(), "lowest": finite.min(), "highest": finite.max()} if finite.size else {}
        return {name: float(figure) for name, figure in figures.items()}

    def drawn(self, value: Image, image: Image, plane: Plane) -> Mapping[str, NDArray[Any]]:
        """Give it in the window of the image that it is about, and how it differs: grey where it does not."""
        low, high = plane_window(image.array, image.grid, plane)
        drawn = {"image": eight_bit(value.array, value.grid, plane, (low, high))}
        if value.array.shape == image.array.shape:
            apart, reach = value.array.astype(np.float64) - image.array, RESIDUAL_SHARE * max(high - low, 1e-9)
            drawn["residual"] = eight_bit(apart, value.grid, plane, (-reach, reach))
        return drawn

    def compare(self, pairs: Sequence[tuple[Image, Image]]) -> Agreement:
        """Give the largest difference between two values of one element, as a share of the range of the first image."""
        apart = [float(np.abs(a.array - b.array).max(initial=0)) / max(float(np.ptp(a.array)), 1e-9) for a, b in pairs]
        return Agreement(max(apart), len(pairs), {"largest_difference": max(apart)})


THIS = Images()

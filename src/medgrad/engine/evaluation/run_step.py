"""A trained run as a step that processes images."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ...data import Case, Image
from ...data.checksum import hash_file
from ...errors import SettingError
from ...prepare import Memo, Step, as_type, where_inside
from ...prepare.thin_slices import with_means_of
from .opened_run import OpenedRun, open_run


@dataclass(frozen=True)
class RunStep(Step):
    """Replaces the image of a case by the answer of a run about it, in its unit and its type.

    Values are changed where the case's region is, if it has one. What is not finite stays so, unless the run prepares
    its images by a step that fills what is missing: then nothing else is changed. Slices that a thick one was split
    into still average to it.
    """

    run: str

    @property
    def name(self) -> str:
        return Path(self.run).name

    @property
    def keeps_unit(self) -> bool:
        return True

    @cached_property
    def opened(self) -> OpenedRun:
        """The run with its weights loaded."""
        return open_run(self.run)

    @property
    def weights_sha256(self) -> list[str]:
        """The checksums of its weights, one a fold."""
        return [hash_file(path) for path in self.opened.trained.weight_files]

    def apply(self, case: Case) -> tuple[Case, Memo]:
        return replace(case, images={k: self.answered(case, v) for k, v in case.images.items()}), Memo(case.grid)

    def answered(self, case: Case, image: Image) -> Image:
        """Give an image of a case with the values that the run answers."""
        shown = (self.opened.task.channels or ("image",))[0]
        answer: Image = self.opened.predict_case(Case(case.id, {shown: image}))
        inside = where_inside(case.roi, image.grid)
        filled = [found for step in self.opened.trained.prepare_steps if (found := step.missing(image)) is not None]
        inside = inside & np.logical_or.reduce(filled) if filled else inside & all_finite(image)
        if image.array.ndim > image.grid.dims:
            inside = inside[..., None]
        values = as_type(with_means_of(answer, image), image.array.dtype)
        return replace(image, array=np.where(inside, values, image.array))


def all_finite(image: Image) -> NDArray[np.bool_]:
    """Tell where an image is finite in every channel, (*shape)."""
    finite: NDArray[np.bool_] = np.isfinite(image.channels_first).all(axis=0)
    return finite


def load_run_step(folder: Path | str) -> RunStep:
    """Load a run as a step, or raise if what it answers is no image."""
    step = RunStep(str(folder))
    if step.opened.task.outputs.answer != "image":
        raise SettingError(
            f"{str(folder)!r} answers {step.opened.task.outputs.answer!r} ({step.opened.task.kind}), and process takes "
            "runs that answer an image. Use predict."
        )
    return step

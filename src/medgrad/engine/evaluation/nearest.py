"""Made images beside the training patients that they are nearest to, for the report of a run that generates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ...data import Case, Image
from ...trust.copies import MAX_SHIFT
from ...trust.nearest import Bank
from ..loading.cache import PreparedCase
from ..runs.run import TrainedRun
from .example_pictures import write_picture
from .infer import answer_case
from .memorisation import arrays_of

N_MADE = 8


@dataclass(frozen=True)
class NearestPatients:
    """The patient that each made image is nearest to, of so many, and how near: 1 less the correlation."""

    patients: tuple[str, ...]
    distances: tuple[float, ...]
    n_patients: int

    def as_dict(self) -> dict[str, Any]:
        """Give it as plain values."""
        return asdict(self)


def show_nearest_patients(
    folder: Path, trained: TrainedRun, cases: Sequence[PreparedCase], *, seed: int = 0
) -> NearestPatients | None:
    """Make some images, and write each beside the nearest training image into ``nearest`` of a run's folder.

    Near is told over flips and shifts of a few elements, as copies are. None where the task makes no images.
    """
    if not trained.task.makes_images():
        return None
    made: list[Image] = [
        answer_case(trained, trained.task.noise_case(f"made-{number}", (seed, number))) for number in range(N_MADE)
    ]
    arrays, patients = arrays_of(cases, made[0].array.shape, trained.task.dims)
    if not arrays:
        return None
    bank = Bank([in_space(array, made[0]) for array in arrays], patients, reach=MAX_SHIFT)
    found = [bank.nearest(in_space(image.array, image), 1)[0] for image in made]
    for number, (image, match) in enumerate(zip(made, found, strict=True)):
        flipped = np.flip(arrays[match.index], tuple(a for a, flip in enumerate(match.flips) if flip))
        title = f"made {number}: nearest to {patients[match.index]}, correlation {1 - match.distance:.2f}"
        beside = Case(f"made-{number}", {"image": image}, replace(image, array=flipped))
        write_picture(folder / "nearest" / f"{number}.npz", title, beside, None)
    return NearestPatients(
        tuple(patients[match.index] for match in found),
        tuple(round(match.distance, 4) for match in found),
        len(set(patients)),
    )


def in_space(array: Any, like: Image) -> Any:
    """Give an array with space alone as axes: the mean of its channels."""
    return array if array.ndim == like.grid.dims else array.mean(-1)

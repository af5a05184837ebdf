"""Select and standardise the columns of a row of features."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..data import Case, Grid, Image
from ._step import Memo, Step


@dataclass(frozen=True)
class SelectColumns(Step):
    """Choose columns by their ``names``, then subtract ``means`` and divide by ``deviations``, one a column.

    A column whose deviation is 0 becomes 0. Without names all columns stay, as they are. A column that is absent, or
    has no number in a row, is an error that names it: nothing is guessed.
    """

    names: tuple[str, ...] = ()
    means: tuple[float, ...] = ()
    deviations: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if any(len(v) not in (0, len(self.names)) for v in (self.means, self.deviations)):
            raise ValueError(
                f"{len(self.names)} names of columns need as many means and deviations, but there are "
                f"{len(self.means)} and {len(self.deviations)}."
            )

    def apply(self, case: Case) -> tuple[Case, Memo]:
        if not self.names:
            return case, Memo(case.grid)
        images = {k: self.select_row(v, case.id) for k, v in case.images.items()}
        return replace(case, images=images), Memo(case.grid)

    def select_row(self, image: Image, case: str) -> Image:
        """Choose and scale the columns of one row."""
        known = {name: place for place, name in enumerate(image.tags.get("columns", ()))}
        absent = [n for n in self.names if n not in known]
        if absent or image.grid.dims != 1:
            raise ValueError(
                f"{case!r} has no column {list_first_names(absent or self.names)}. Give a table with the "
                "columns of training."
            )
        values = np.asarray(image.array, np.float64)[[known[n] for n in self.names]]
        gaps = [n for n, v in zip(self.names, values, strict=True) if not np.isfinite(v)]
        if gaps:
            raise ValueError(f"{case!r} has no number in {list_first_names(gaps)}. Fill it in, or leave the row out.")
        if self.means:
            values = values - np.array(self.means)
        if self.deviations:
            wide = np.array(self.deviations)
            values = np.where(wide > 0, values / np.where(wide > 0, wide, 1.0), 0.0)
        return replace(
            image,
            array=values,
            grid=Grid.from_shape(values.shape, has_spacing=False),
            tags={**image.tags, "columns": self.names},
        )


def list_first_names(names: Any) -> str:
    """Name the first few of many."""
    every = list(names)
    return ", ".join(repr(n) for n in every[:3]) + (f" and {len(every) - 3} more" if len(every) > 3 else "")


THIS = SelectColumns

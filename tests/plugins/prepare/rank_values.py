"""Rank normalisation: every value becomes its rank among those of its image, and finds back to its own."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ..data import Case, Image
from ._step import Memo, Step


@dataclass(frozen=True)
class RankValues(Step):
    """Ranks from -1 to 1, by ``bins`` quantiles of the image; undoing needs the quantiles that were seen."""

    bins: int = 64

    def apply(self, case: Case) -> tuple[Case, Memo]:
        shares = np.linspace(-1, 1, self.bins + 1)
        quantiles = {n: np.quantile(i.array, (shares + 1) / 2) for n, i in case.images.items()}

        def ranked(image: Image, values: np.ndarray) -> Image:  # type: ignore[type-arg]
            return replace(image, array=np.interp(image.array, values, shares).astype(np.float32))

        images = {name: ranked(image, quantiles[name]) for name, image in case.images.items()}
        first = next(iter(quantiles.values()), None)
        truth = ranked(case.truth, first) if isinstance(case.truth, Image) and first is not None else case.truth
        return replace(case, images=images, truth=truth), Memo(case.grid, {"quantiles": first, "shares": shares})

    def undo_values(self, image: Image, memo: Memo) -> Image:
        back = np.interp(image.array, memo.values["shares"], memo.values["quantiles"])
        return replace(image, array=back.astype(image.array.dtype))


THIS = RankValues

"""Gibbs ringing of MR: high frequencies were not acquired, and are filled with zeros."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..errors import SettingError
from ._augment import RandomDraw, Targets, apply_to_rows
from ._degradation import Degradation


@dataclass(frozen=True)
class Gibbs(Degradation):
    """``p`` of the samples keep a share of their frequencies along each axis, from ``min_kept`` to ``max_kept``.

    The others are 0, as a scanner fills the matrix, so the image is blurred and rings beside edges. ``axes`` are those
    of k-space, by default all.
    """

    p: float = 0.9
    min_kept: float = 0.5
    max_kept: float = 0.9
    axes: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if not 0 < self.min_kept <= self.max_kept <= 1:
            raise SettingError(
                "'min_kept' and 'max_kept' of gibbs rise from above 0 to at most 1, but they are "
                f"{self.min_kept} and {self.max_kept}."
            )

    def draw(self, rng: np.random.Generator, shape: Sequence[int]) -> RandomDraw:
        is_applied, kept = rng.random() < self.p, rng.uniform(self.min_kept, self.max_kept, len(shape))
        chosen = {axis % len(shape) for axis in self.axes} or set(range(len(shape)))
        along = np.array([axis in chosen for axis in range(len(shape))])
        return {"kept": np.where(along & is_applied, kept, 1).astype(np.float32)}

    def apply(
        self, inputs: Tensor, targets: Targets, drawn: Mapping[str, Tensor], spatial_kinds: Mapping[str, str]
    ) -> tuple[Tensor, Targets]:
        del spatial_kinds

        def truncate(x: Tensor, rows: Tensor) -> Tensor:
            dims = tuple(range(2, x.ndim))
            spectrum = torch.fft.fftn(x.float(), dim=dims)
            for axis, share in enumerate(drawn["kept"][rows].T):
                frequency = torch.fft.fftfreq(x.shape[axis + 2], device=x.device).abs()
                is_kept = frequency <= share[:, None] / 2
                lie = [len(x), 1, *(-1 if d == axis + 2 else 1 for d in dims)]
                spectrum = spectrum * is_kept.reshape(lie)
            return torch.fft.ifftn(spectrum, dim=dims).real.to(x.dtype)

        return apply_to_rows(drawn["kept"].amin(1) < 1, inputs, truncate), targets


THIS = Gibbs

"""Poisson sampling: each patient is in a batch independently, with the same probability."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import numpy as np

from ...errors import SettingError
from ._sampler import CaseDraw, Sampler, SamplerCase, group_by_patient, patient_oversampling


class Poisson(Sampler):
    """Draw each patient independently with probability ``rate`` (0: batch size / patients), by one case at random.

    Privacy amplification by subsampling assumes this. Batches differ in size; ``batch`` is their mean where no
    rate is given. An empty batch is a step as well, so that every step costs the same privacy. Whoever knows the seed
    of a run knows who was drawn: amplification holds as long as the seed is kept secret.
    """

    batches_vary: ClassVar[bool] = True

    def __init__(self, cases: Sequence[SamplerCase], *, rate: float = 0.0) -> None:
        if not 0 <= rate <= 1:
            raise SettingError(f"'rate' in [sampler] is from 0 to 1, but it is {rate}.")
        self.rate = rate
        self.patients = group_by_patient(cases)
        self.ratios = patient_oversampling(cases)

    @property
    def oversampling(self) -> Mapping[str, float]:
        return self.ratios

    def draw(self, step: int, batch_size: int, seed: int) -> list[CaseDraw]:
        n = len(self.patients)
        is_drawn, at = np.random.default_rng((seed, 2, step)).random((2, n))
        chosen = np.flatnonzero(is_drawn < (self.rate or batch_size / n)).tolist()
        return [CaseDraw(self.patients[i][int(at[i] * len(self.patients[i]))], (seed, 1, step, i)) for i in chosen]


THIS = Poisson

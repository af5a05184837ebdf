"""Sampling by patient: every epoch visits each patient once, with one of the patient's cases at random."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from ._sampler import CaseDraw, Sampler, SamplerCase, draw_epochs, group_by_patient, patient_oversampling, shuffle


class ByPatient(Sampler):
    """Every epoch visits each patient once, with one of the patient's cases at random.

    For follow-up data: a patient with many visits counts as much as one with a single visit.
    """

    def __init__(self, cases: Sequence[SamplerCase]) -> None:
        self.patients = group_by_patient(cases)
        self.ratios = patient_oversampling(cases)

    @property
    def oversampling(self) -> Mapping[str, float]:
        return self.ratios

    def draw(self, step: int, batch_size: int, seed: int) -> list[CaseDraw]:
        n = len(self.patients)
        drawn = draw_epochs(step, batch_size, seed, n=n, order=lambda epoch: shuffle(n, seed, epoch))
        return [replace(d, case=self.pick_case(d)) for d in drawn]

    def pick_case(self, drawn: CaseDraw) -> int:
        """Pick one case of a drawn patient."""
        seed, _, *place = drawn.seed
        cases = self.patients[drawn.case]
        return cases[int(np.random.default_rng((seed, 3, *place)).integers(len(cases)))]


THIS = ByPatient

"""Patients in turn: one case of each patient after another, in the order in which they came."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ._sampler import CaseDraw, Sampler, SamplerCase, group_by_patient, patient_oversampling, positions


class InTurn(Sampler):
    """Start at a patient that the seed chooses; a patient's cases take turns from round to round."""

    def __init__(self, cases: Sequence[SamplerCase]) -> None:
        self.patients = group_by_patient(cases)
        self.ratios = patient_oversampling(cases)

    @property
    def oversampling(self) -> Mapping[str, float]:
        return self.ratios

    def draw(self, step: int, batch_size: int, seed: int) -> list[CaseDraw]:
        drawn = []
        for turn, place in positions(step, batch_size, len(self.patients)):
            cases = self.patients[(place + seed) % len(self.patients)]
            drawn.append(CaseDraw(cases[turn % len(cases)], (seed, 1, turn, place)))
        return drawn


THIS = InTurn

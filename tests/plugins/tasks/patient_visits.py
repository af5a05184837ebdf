"""Follow-up: what becomes of a patient, from an image and a row of values of each visit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..data import Case, Grid, Image, Scores
from ..survey.dataset_facts import DatasetFacts
from ._plans import Budget, Tables
from ._task import Sample
from .classification import Classification


class VisitNetwork(nn.Module):
    """Look at each visit alike, add what its row says, and take the mean of the visits that took place."""

    inputs = ("visits", "table", "took_place")

    def __init__(self, columns: int, outputs: int, dims: int, *, width: int = 16) -> None:
        super().__init__()
        conv = {2: nn.Conv2d, 3: nn.Conv3d}[dims]
        self.image = nn.Sequential(conv(1, width, 3, stride=2, padding=1), nn.ReLU(), conv(width, width, 3, stride=2))
        self.row = nn.Linear(2 * columns, width)
        self.head = nn.Sequential(nn.Linear(width, 4 * width), nn.ReLU(), nn.Linear(4 * width, outputs))

    def forward(self, visits: Tensor, table: Tensor, took_place: Tensor) -> Tensor:
        n, count = visits.shape[:2]
        seen = self.image(visits.flatten(0, 1)).flatten(2).mean(2).view(n, count, -1)
        known = table.isfinite()
        rows = torch.cat([table.nan_to_num(), known.float()], dim=2)
        each = (seen + self.row(rows)) * took_place[..., None]
        return self.head(each.sum(1) / took_place.sum(1, keepdim=True).clamp_min(1))


@dataclass(frozen=True)
class PatientVisits(Classification):
    """A case has one image a visit, at most ``visits``, and the array ``table`` (visits, columns) with gaps as nan."""

    visits: int = 3
    columns: int = 2

    def example(self, seed: int = 0) -> Case:
        rng = np.random.default_rng(seed)
        grid, kind, count = Grid.from_shape((16,) * self.dims), seed % len(self.labels), 2 + seed % 2
        images = {}
        for visit in range(count):
            array = rng.normal(0, 0.1, grid.shape)
            array[(slice(2, 5 + kind * 2 * (visit + 1)),) * self.dims] += 1
            images[f"visit {visit}"] = Image(array.astype(np.float32), grid)
        table = rng.normal(kind, 0.3, (count, self.columns)).astype(np.float32)
        table[0, 0] = np.nan
        truth = Scores(np.eye(len(self.labels))[kind], self.labels, self.exclusive)
        return Case(f"example-{seed}", images, truth, f"patient-{seed}", arrays={"table": table})

    def propose(self, facts: DatasetFacts, budget: Budget, *, has_gpu: bool = False, model: str = "") -> Tables:
        tables = super().propose(facts, budget, has_gpu=has_gpu)
        return tables | {"model": {"name": model or self.kind}}

    def encode(self, case: Case) -> Sample:
        arrays = [image.array.astype(np.float32) for image in case.images.values()][-self.visits :]
        gap = self.visits - len(arrays)
        visits = torch.from_numpy(np.stack([*arrays, *[np.zeros_like(arrays[0])] * gap]))[:, None]
        table = torch.from_numpy(case.arrays["table"][-self.visits :].astype(np.float32))
        table = torch.cat([table, table.new_full((gap, self.columns), torch.nan)])
        took_place = torch.tensor([1.0] * len(arrays) + [0.0] * gap)
        return Sample({"visits": visits, "table": table, "took_place": took_place}, self.target_of(case), case.grid)

    def target_of(self, case: Case) -> dict[str, Tensor]:
        """Give the class of a case, where it is known."""
        known = isinstance(case.truth, Scores)
        return {"class": torch.tensor(case.truth.values.argmax())} if known else {}  # type: ignore[union-attr]

    def network(self, inputs: int, *args: Any, width: int = 16, **settings: Any) -> nn.Module:
        del inputs, args, settings  # what it takes is said by the columns
        return VisitNetwork(self.columns, len(self.labels), self.dims, width=width)


THIS = PatientVisits

"""Anomaly detection: what does not belong in an image, learned from images of normal patients alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from .. import metrics, registry
from ..data import AnomalyMap, Case, Grid, Image, LabelMap
from ..survey.dataset_facts import DatasetFacts
from ._anomaly_cases import anomaly_of, known_anomaly, with_planted_lesion
from ._image_plans import plan_anomaly
from ._plans import Budget, Tables
from ._task import (
    Calibration,
    Output,
    OutputSpec,
    Sample,
    SpatialKind,
    Task,
    full_resolution,
    images_to_tensor,
    metrics_for,
)

NORMAL_SHARE = 0.95
"""So many of the normal images have a score below the limit."""


@dataclass(frozen=True)
class Anomaly(Task):
    """A network learns to give images of normal patients as they are, where they are shown to it degraded.

    It is asked about images as they are, and what it does not give is unlike what it learned from. The difference is
    smoothed by a Gaussian of ``smooth_mm`` and given in units of ``deviation``: the root mean square of the error in
    normal validation images. ``limit`` is the score that one in twenty of those exceeds.

    ``abnormal`` names the labels of masks, or the classes of images, that are abnormal: images that have any are not
    learned from, and are found or missed when the run is judged. Without a name every image is normal, and lesions
    are planted into those that it is judged on: balls of ``diameters_mm``, whose contrast is ``contrasts`` standard
    deviations of their image.
    """

    planes: int = 1
    loss_name: Literal["mse", "l1"] = "mse"
    abnormal: tuple[str, ...] = ()
    smooth_mm: float = 1.0
    diameters_mm: tuple[float, float] = (4.0, 8.0)
    contrasts: tuple[float, float] = (1.0, 3.0)
    by_image: bool = False
    deviation: float = 1.0
    limit: float = 0.0

    @property
    def outputs(self) -> OutputSpec:
        return OutputSpec("dense", self.planes, "anomaly_map")

    @property
    def truth(self) -> str:
        return "anomaly_map" if self.abnormal else "synthetic_self"

    @property
    def depends_on_spacing(self) -> bool:
        return True

    @property
    def spatial_kinds(self) -> Mapping[str, SpatialKind]:
        return {"image": "values", "inside": "values"}

    @property
    def judges_degraded(self) -> bool:
        return False

    def cases_from(self, case: Case, *, is_judged: bool) -> Sequence[Case]:
        """Give the case with what is known of it.

        To learn from, an abnormal one is left out. To be judged on, one with a planted lesion comes after it where no
        ``abnormal`` is named.
        """
        known = known_anomaly(case, self.abnormal)
        whole = replace(case, truth=known)
        if not is_judged:
            return () if known.array.any() else (whole,)
        if self.abnormal:
            return (whole,)
        return (whole, *with_planted_lesion(whole, diameters_mm=self.diameters_mm, contrasts=self.contrasts))

    def example(self, seed: int = 0) -> Case:
        rng = np.random.default_rng(seed)
        grid = Grid.from_shape((16,) * self.dims)
        shown = rng.normal(0, 0.1, grid.shape)
        shown[tuple(slice(c, c + 8) for c in rng.integers(1, 7, self.dims))] += 1
        truth = np.zeros(grid.shape, np.float32)
        if seed % 2 == 0:  # every second patient has a lesion
            truth[tuple(slice(c, c + 3) for c in rng.integers(1, 12, self.dims))] = 1
        shown = (shown + 2 * truth).astype(np.float32)
        shown = np.stack([shown] * self.planes, -1) if self.planes > 1 else shown
        images = {name: Image(shown, grid) for name in self.channels or ("image",)}
        return Case(f"example-{seed}", images, AnomalyMap(truth, grid), f"patient-{seed}")

    def propose(self, facts: DatasetFacts, budget: Budget, *, has_gpu: bool = False, model: str = "") -> Tables:
        del budget, model
        own: dict[str, Any] = {"planes": facts.planes if len(facts.channels) == 1 else 1}
        if facts.counts and not facts.foreground:
            own["by_image"] = True
        return {"task": self.settings_from(facts, **own), **plan_anomaly(facts, has_gpu=has_gpu)}

    def encode(self, case: Case) -> Sample:
        image = images_to_tensor(case, self.channels)
        target = {}
        if isinstance(case.truth, AnomalyMap):
            inside = np.ones(case.grid.shape, bool) if case.roi is None else case.roi.array != 0
            target["image"] = image[: self.planes].clone()
            target["inside"] = torch.from_numpy((inside & (case.truth.array <= 0.5)).astype(np.float32))[None]
        return Sample({"image": image}, target, case.grid)

    def loss(self, output: Output, target: dict[str, Tensor]) -> dict[str, Tensor]:
        said, is_inside = full_resolution(output).float(), target["inside"] > 0.5
        wanted = torch.where(is_inside, target["image"], said.detach())
        return {self.loss_name: registry.find("losses", self.loss_name)()(said, wanted)}

    def judge(
        self, truth: AnomalyMap, answer: AnomalyMap, *, region: LabelMap | None = None, quick: bool = False
    ) -> dict[str, Any]:
        names = [self.primary_metric] if quick else metrics_for("anomaly_map")
        return metrics.judge(names, truth, answer, region=region)

    def failed_row(self, truth: Any, *, region: LabelMap | None = None) -> dict[str, Any]:
        known = anomaly_of(truth, self.abnormal, self.dims)
        row = metrics.judge_failed(metrics_for("anomaly_map"), known, region=region)
        is_one_kind = len(np.unique(known.array > 0.5)) == 1
        unknown = [name for name in row if name.startswith("element_") and is_one_kind]
        score = 0.0 if row["abnormal"] else FAILED_SCORE
        return row | dict.fromkeys([*unknown, "normal_error"]) | {"score": score}

    def summarise(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, float | None]:
        return metrics.pool(metrics_of_rows(rows), rows)

    def summarise_many(self, rows: Sequence[Mapping[str, Any]], weights: Any) -> Mapping[str, Any]:
        return metrics.pool_many(metrics_of_rows(rows), rows, weights)

    def without_calibration(self) -> Anomaly:
        return replace(self, deviation=1.0, limit=0.0)

    def calibrated(self, rows: Sequence[Mapping[str, Any]]) -> Calibration:
        """Fit the deviation and the limit to the images in which nothing is abnormal."""
        normal = [row for row in rows if row.get("normal_error")]
        if not normal:
            return Calibration(self, rows)
        deviation = round(float(np.sqrt(np.mean([float(row["normal_error"]) ** 2 for row in normal]))), 9)
        scaled = ("normal_error", "score")
        new = [{k: v / deviation if k in scaled and v is not None else v for k, v in row.items()} for row in rows]
        limit = float(np.quantile([row["score"] / deviation for row in normal], NORMAL_SHARE))
        found = replace(self, deviation=self.deviation * deviation, limit=round(limit, 6))
        return Calibration(found, new, {"deviation": found.deviation, "limit": found.limit, "images": len(normal)})

    @property
    def primary_metric(self) -> str:
        return "image_auroc" if self.by_image else "element_average_precision"

    @property
    def headline_metrics(self) -> tuple[str, ...]:
        every = ("element_average_precision", "element_auroc", "image_auroc")
        return (self.primary_metric, *(name for name in every if name != self.primary_metric))

    @property
    def label_noun(self) -> str:
        return "channel"

    def score(self, output: Tensor, index: int) -> Tensor:
        return full_resolution(output)[:, index].flatten(1).mean(1)


FAILED_SCORE = 1e6
"""The score of a normal image that could not be read: above all others."""


def metrics_of_rows(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """List the metrics of anomalies whose figures the rows hold."""
    held = {name for row in rows for name in row}
    return [m for m in metrics_for("anomaly_map") if held & set(registry.find("metrics", m).figures)]


THIS = Anomaly

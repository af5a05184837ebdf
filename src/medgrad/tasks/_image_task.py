"""What tasks share whose answer is an image: how it is learned, judged and summed up."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from .. import metrics, registry
from ..data import Case, Image, LabelMap
from ._task import Output, Sample, SpatialKind, Task, full_resolution, images_to_tensor, metrics_for


@dataclass(frozen=True)
class ImageTask(Task):
    """A task that answers an image, element by element. Outside a case's region nothing is learned.

    ``planes`` is the number of channels of the answer.
    """

    planes: int = 1
    loss_name: Literal["mse", "l1"] = "mse"

    @abstractmethod
    def target_values(self, truth: Image) -> Tensor:
        """Give the values (channels, *shape) that the network learns to give."""

    @property
    def depends_on_spacing(self) -> bool:
        return True

    @property
    def spatial_kinds(self) -> Mapping[str, SpatialKind]:
        return {"image": "values", "inside": "values"}

    def encode(self, case: Case) -> Sample:
        target = {}
        if isinstance(case.truth, Image):
            inside = np.ones(case.grid.shape, bool) if case.roi is None else case.roi.array != 0
            target["image"] = self.target_values(case.truth)
            target["inside"] = torch.from_numpy(inside.astype(np.float32))[None]
        return Sample({"image": images_to_tensor(case, self.channels)}, target, case.grid)

    def loss(self, output: Output, target: dict[str, Tensor]) -> dict[str, Tensor]:
        said, is_inside = full_resolution(output).float(), target["inside"] > 0.5
        wanted = torch.where(is_inside, target["image"], said.detach())
        return {self.loss_name: registry.find("losses", self.loss_name)()(said, wanted)}

    def judge(
        self, truth: Image, answer: Image, *, region: LabelMap | None = None, quick: bool = False
    ) -> dict[str, Any]:
        return metrics.judge(["psnr"] if quick else metrics_for("image"), truth, answer, region=region)

    def failed_row(self, truth: Image, *, region: LabelMap | None = None) -> dict[str, Any]:
        return metrics.judge_failed(metrics_for("image"), truth, region=region)

    def summarise(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, float | None]:
        return metrics.pool(metrics_of_rows(rows), rows)

    def summarise_many(self, rows: Sequence[Mapping[str, Any]], weights: Any) -> Mapping[str, Any]:
        return metrics.pool_many(metrics_of_rows(rows), rows, weights)

    @property
    def primary_metric(self) -> str:
        return "psnr"

    @property
    def headline_metrics(self) -> tuple[str, ...]:
        return ("psnr", "ssim", "mae")

    @property
    def label_noun(self) -> str:
        return "channel"

    def score(self, output: Tensor, index: int) -> Tensor:
        return full_resolution(output)[:, index].flatten(1).mean(1)


def metrics_of_rows(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """List the metrics of images whose figures the rows hold."""
    held = {name for row in rows for name in row}
    return [m for m in metrics_for("image") if held & set(registry.find("metrics", m).figures)]

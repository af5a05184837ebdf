"""Suppress duplicate boxes: non-maximum suppression, soft NMS, and weighted box fusion."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from ...data import box_suppression
from .overlap import iou


def nms(boxes: Tensor, scores: Tensor, *, iou_threshold: float = 0.5, labels: Tensor | None = None) -> Tensor:
    """Non-maximum suppression: give the indices of the boxes (n, 2 * dims) that are kept, best score first.

    With ``labels``, only boxes of one label suppress each other. Of equal scores the earlier box comes first.
    Memory grows with n, not with its square: the best 256 that are left are resolved among themselves, and those
    kept of them suppress the rest.

    >>> nms(torch.tensor([[0.0, 0, 4, 4], [0, 0, 4, 5], [9, 9, 12, 12]]), torch.tensor([0.5, 0.9, 0.1])).tolist()
    [1, 2]
    """
    boxes = boxes.detach().to(torch.promote_types(boxes.dtype, torch.float32))
    kept: Tensor = box_suppression.nms(boxes, scores, overlap=iou_threshold, labels=labels, xp=torch)
    return kept


def soft_nms(
    boxes: Tensor,
    scores: Tensor,
    *,
    iou_threshold: float = 0.5,
    sigma: float = 0.5,
    method: Literal["gaussian", "linear"] = "gaussian",
    min_score: float = 0.001,
    labels: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Soft NMS (Bodla 2017): lower the score of each box by its overlap with better ones; give indices and scores.

    ``gaussian`` multiplies by exp(-iou^2 / sigma), ``linear`` by 1 - iou where that is more than ``iou_threshold``. The
    best comes first, of equal scores the earlier box; those that fall below ``min_score`` are left out.
    """
    if method not in ("gaussian", "linear"):
        raise ValueError(f"{method!r} is no way to lower scores. Choose gaussian or linear.")
    scores = scores.clone()
    kept, said = [], []
    waits = torch.ones(len(scores), dtype=torch.bool, device=scores.device)
    for _ in range(len(scores)):
        best = int(scores.masked_fill(~waits, -torch.inf).argmax())
        if float(scores[best]) < min_score:
            break
        kept.append(best)
        said.append(scores[best].clone())
        waits[best] = False
        shared = iou(boxes[best : best + 1], boxes)[0]
        factor = (
            torch.exp(-(shared**2) / sigma)
            if method == "gaussian"
            else torch.where(shared > iou_threshold, 1 - shared, 1.0)
        )
        touched = waits if labels is None else waits & (labels == labels[best])
        scores = torch.where(touched, scores * factor, scores)
    return torch.tensor(kept, dtype=torch.long, device=scores.device), torch.stack(said) if said else scores[:0]


def weighted_box_fusion(
    boxes: Tensor, scores: Tensor, labels: Tensor, models: Tensor, *, iou_threshold: float = 0.55, n_models: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Average the boxes that models give one object (weighted box fusion, Solovyev 2021): boxes, scores, labels.

    From the best score on, each box joins the average box of its label that it overlaps most, if by more than
    ``iou_threshold``, or begins one of its own. Corners are averaged with the scores as weights. A score is the mean of
    those that joined, times the share of the ``n_models`` models that any of them came from (``models`` says which did,
    (n,)).
    """
    order = scores.argsort(descending=True, stable=True)
    boxes, scores, labels, models = boxes[order], scores[order], labels[order], models[order]
    average, kind = torch.zeros_like(boxes), torch.zeros_like(labels)
    group = torch.zeros(len(boxes), dtype=torch.long, device=boxes.device)
    weight, groups = torch.zeros_like(scores), 0
    for i in range(len(boxes)):
        shared = iou(boxes[i : i + 1], average[:groups])[0].masked_fill(kind[:groups] != labels[i], -1.0)
        to = int(shared.argmax()) if groups else 0
        if not groups or float(shared[to]) <= iou_threshold:
            to, groups = groups, groups + 1
            average[to], kind[to], weight[to] = boxes[i], labels[i], scores[i]
        else:
            weight[to] = weight[to] + scores[i]
            part = torch.where(weight[to] > 0, scores[i] / weight[to], 0.0)
            average[to] = average[to] + part * (boxes[i] - average[to])
        group[i] = to
    return _sort_fused(average[:groups], kind[:groups], scores, models, group, n_models)


def _sort_fused(
    average: Tensor, kind: Tensor, scores: Tensor, models: Tensor, group: Tensor, n_models: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Give the score of each average box, and all of them in its order."""
    size = torch.bincount(group, minlength=len(average))
    mean = torch.zeros(len(average), dtype=scores.dtype, device=scores.device).index_add_(0, group, scores) / size
    seen = torch.stack([group, models], dim=1).unique(dim=0)[:, 0]
    found = mean * torch.bincount(seen, minlength=len(average)).clamp_max(n_models) / n_models
    order = found.argsort(descending=True, stable=True)
    return average[order], found[order], kind[order]

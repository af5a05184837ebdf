"""Many boxes of one object made one: the best is kept, the others lose score, or all are averaged."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from .overlap import iou, volumes

BLOCK = 256


def nms(boxes: Tensor, scores: Tensor, *, overlap: float = 0.5, labels: Tensor | None = None) -> Tensor:
    """Give which boxes (n, 2 * dims) are left, best score first, when each suppresses those that overlap it by more.

    With ``labels``, only boxes of one label suppress each other. Of equal scores the earlier box comes first. Memory
    grows with n, not with its square: the best 256 that are left are settled among themselves, and those kept of them
    suppress the rest.

    >>> nms(torch.tensor([[0.0, 0, 4, 4], [0, 0, 4, 5], [9, 9, 12, 12]]), torch.tensor([0.5, 0.9, 0.1])).tolist()
    [1, 2]
    """
    order = scores.argsort(descending=True, stable=True)
    left = Ranked.of(boxes.detach(), order, labels)
    kept = [order[:0]]
    while len(left.index):
        head, left = left.take(slice(BLOCK)), left.take(slice(BLOCK, None))
        head = head.take(_settled(_clash(head, head, overlap).triu_(1)))
        kept.append(head.index)
        if len(left.index):
            left = left.take(~_clash(head, left, overlap).any(0))
    return torch.cat(kept)


@dataclass(frozen=True)
class Ranked:
    """Boxes from the best score on: their ends (2 * dims, n), their volumes, their labels and their places."""

    ends: Tensor
    size: Tensor
    labels: Tensor | None
    index: Tensor

    @classmethod
    def of(cls, boxes: Tensor, order: Tensor, labels: Tensor | None) -> Ranked:
        ranked = boxes[order].to(torch.promote_types(boxes.dtype, torch.float32))
        return cls(ranked.T.contiguous(), volumes(ranked), None if labels is None else labels[order], order)

    def take(self, which: slice | Tensor) -> Ranked:
        """Give some of the boxes, in their order."""
        labels = None if self.labels is None else self.labels[which]
        return Ranked(self.ends[:, which], self.size[which], labels, self.index[which])


def _clash(rows: Ranked, columns: Ranked, overlap: float) -> Tensor:
    """Tell which boxes overlap which others by more than is allowed, (rows, columns), with few tensors made anew."""
    dims = len(rows.ends) // 2
    shared = torch.ones((), device=rows.ends.device)
    for low, high, other_low, other_high in zip(
        rows.ends[:dims], rows.ends[dims:], columns.ends[:dims], columns.ends[dims:], strict=True
    ):
        side = torch.minimum(high[:, None], other_high)
        side.sub_(torch.maximum(low[:, None], other_low)).clamp_min_(0)
        shared = side.mul_(shared)
    union = (rows.size[:, None] + columns.size).sub_(shared)
    found = shared.div_(union) > overlap  # nothing over nothing is not a number, and not more
    return found if rows.labels is None or columns.labels is None else found & (rows.labels[:, None] == columns.labels)


def _settled(clash: Tensor) -> Tensor:
    """Tell which boxes stay where box i, if it stays, suppresses box j > i of ``clash`` (n, n).

    That is settled for the first box; each turn settles at least one more, and usually all within a few turns.
    """
    weights = clash.float()
    stays = torch.ones(len(clash), dtype=torch.bool, device=clash.device)
    while True:
        again = stays.float() @ weights == 0
        if torch.equal(again, stays):
            return stays
        stays = again


def soft_nms(
    boxes: Tensor,
    scores: Tensor,
    *,
    overlap: float = 0.5,
    sigma: float = 0.5,
    way: Literal["gaussian", "linear"] = "gaussian",
    least: float = 0.001,
    labels: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Lower the score of each box by how much it overlaps better ones (Bodla 2017): which are left, and their scores.

    ``gaussian`` multiplies by exp(-iou^2 / sigma), ``linear`` by 1 - iou where that is more than ``overlap``. The best
    comes first, of equal scores the earlier box; those that fall below ``least`` are left out.
    """
    if way not in ("gaussian", "linear"):
        raise ValueError(f"{way!r} is no way to lower scores. Choose gaussian or linear.")
    scores = scores.clone()
    kept, said = [], []
    waits = torch.ones(len(scores), dtype=torch.bool, device=scores.device)
    for _ in range(len(scores)):
        best = int(scores.masked_fill(~waits, -torch.inf).argmax())
        if float(scores[best]) < least:
            break
        kept.append(best)
        said.append(scores[best].clone())
        waits[best] = False
        shared = iou(boxes[best : best + 1], boxes)[0]
        factor = (
            torch.exp(-(shared**2) / sigma) if way == "gaussian" else torch.where(shared > overlap, 1 - shared, 1.0)
        )
        touched = waits if labels is None else waits & (labels == labels[best])
        scores = torch.where(touched, scores * factor, scores)
    return torch.tensor(kept, dtype=torch.long, device=scores.device), torch.stack(said) if said else scores[:0]


def weighted_box_fusion(
    boxes: Tensor, scores: Tensor, labels: Tensor, models: Tensor, *, overlap: float = 0.55, count: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Average the boxes that models give one object (weighted box fusion, Solovyev 2021): boxes, scores, labels.

    From the best score on, each box joins the average box of its label that it overlaps most, if by more than
    ``overlap``, or begins one of its own. Corners are averaged with the scores as weights. A score is the mean of those
    that joined, times the share of the ``count`` models that any of them came from (``models`` says which did, (n,)).
    """
    order = scores.argsort(descending=True, stable=True)
    boxes, scores, labels, models = boxes[order], scores[order], labels[order], models[order]
    average, kind = torch.zeros_like(boxes), torch.zeros_like(labels)
    group = torch.zeros(len(boxes), dtype=torch.long, device=boxes.device)
    weight, groups = torch.zeros_like(scores), 0
    for i in range(len(boxes)):
        shared = iou(boxes[i : i + 1], average[:groups])[0].masked_fill(kind[:groups] != labels[i], -1.0)
        to = int(shared.argmax()) if groups else 0
        if not groups or float(shared[to]) <= overlap:
            to, groups = groups, groups + 1
            average[to], kind[to], weight[to] = boxes[i], labels[i], scores[i]
        else:
            weight[to] = weight[to] + scores[i]
            part = torch.where(weight[to] > 0, scores[i] / weight[to], 0.0)
            average[to] = average[to] + part * (boxes[i] - average[to])
        group[i] = to
    return _told(average[:groups], kind[:groups], scores, models, group, count)


def _told(
    average: Tensor, kind: Tensor, scores: Tensor, models: Tensor, group: Tensor, count: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Give the score of each average box, and all of them in its order."""
    size = torch.bincount(group, minlength=len(average))
    mean = torch.zeros(len(average), dtype=scores.dtype, device=scores.device).index_add_(0, group, scores) / size
    seen = torch.stack([group, models], dim=1).unique(dim=0)[:, 0]
    found = mean * torch.bincount(seen, minlength=len(average)).clamp_max(count) / count
    order = found.argsort(descending=True, stable=True)
    return average[order], found[order], kind[order]

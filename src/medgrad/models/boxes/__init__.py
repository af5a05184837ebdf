"""Boxes as tensors, in two and three axes alike.

Boxes are (..., 2 * dims): the lower corner, then the upper. A box that has no size on some axis is empty.
"""

from __future__ import annotations

from .align import roi_align
from .overlap import giou, iou, matched_overlap, volumes
from .suppress import nms, soft_nms, weighted_box_fusion

__all__ = ["giou", "iou", "matched_overlap", "nms", "roi_align", "soft_nms", "volumes", "weighted_box_fusion"]

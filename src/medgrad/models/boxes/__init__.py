"""Boxes as tensors, in two and three axes alike.

Boxes are (..., 2 * dims): the lower corner, then the upper. A box that has no size on some axis is empty.
"""

from __future__ import annotations

from .align import region_align
from .overlap import giou, iou, paired, volumes
from .suppress import fuse, nms, soft_nms

__all__ = ["fuse", "giou", "iou", "nms", "paired", "region_align", "soft_nms", "volumes"]

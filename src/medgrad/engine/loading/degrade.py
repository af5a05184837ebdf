"""Degrade images that are their own truth, so that what restores them can be judged."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from ...answers import restore
from ...augment import Augmentation, augment
from ...data import Case, Image
from ...inference.encode import stack_channels
from ...prepare import Step, prepare
from ...tasks import Task
from .batches import build_augmentations


def build_degradations(tables: Sequence[Mapping[str, Any]], task: Task | None = None) -> list[Augmentation]:
    """Build those of a recipe's augmentations that degrade the image and leave the truth as it is.

    There are none for a task that is judged on images as they are.
    """
    if task is not None and not task.judges_degraded:
        return []
    return [a for a in build_augmentations(tables) if getattr(a, "is_degradation", False)]


def degrade_case(case: Case, steps: Sequence[Step], degradations: Sequence[Augmentation]) -> Case:
    """Degrade the images of a case as in training, but by a seed that its id gives; the truth stays as it is.

    They are prepared, degraded, and brought back to the grid and the unit that they came with, as float32.
    """
    prepared, memos = prepare(replace(case, truth=None), steps)
    whole = torch.from_numpy(stack_channels(prepared, ()))[None]
    spoiled, _ = augment(whole, {}, {}, steps=degradations, seeds=[(seed_of(case.id),)])
    images, first = dict(case.images), 0
    for name, image in prepared.images.items():
        planes = spoiled[0, first : first + image.channels].numpy()
        first += image.channels
        array = planes[0] if image.array.ndim == image.grid.dims else np.moveaxis(planes, 0, -1)
        back: Image = restore(replace(image, array=array), steps, memos)
        images[name] = replace(case.images[name], array=back.array, grid=back.grid)
    return replace(case, images=images)


def seed_of(name: str) -> int:
    """Give a seed that is the same for the same name, on every machine."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:6], "big")

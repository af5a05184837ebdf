"""From cases to the samples of a batch: encoded with their owner, and augmented."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from ... import registry
from ...augment import Augmentation, augment
from ...data import Case
from ...tasks import Batch, Sample, Task


def encode_case(task: Task, case: Case) -> Sample:
    """Encode a case, and note whose it is."""
    return replace(task.encode(case), owner=case.patient or case.id)


def augment_batch(
    batch: Batch,
    spatial_kinds: Mapping[str, str],
    steps: Sequence[Augmentation],
    seeds: Sequence[tuple[int, ...]],
) -> Batch:
    """Augment the image of each sample, and the targets that follow it."""
    if "image" not in batch.inputs:
        return batch
    image, target = augment(batch.inputs["image"], batch.target, spatial_kinds, steps=steps, seeds=seeds)
    return replace(batch, inputs={**batch.inputs, "image": image}, target=target)


def build_augmentations(tables: Sequence[Mapping[str, Any]]) -> list[Augmentation]:
    """Build the augmentations that the tables of a recipe name."""
    return [registry.find("augment", t["name"])(**{k: v for k, v in t.items() if k != "name"}) for t in tables]

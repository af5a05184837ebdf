"""Gradient rules, one a file: how gradients are computed and transformed. Each may wrap another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from inspect import signature
from typing import Any

from ... import registry
from ._gradients import FullSet, Gradients, total_loss
from ._pruned import (
    Masks,
    drop_and_regrow,
    keep_best_if_empty,
    lowest_mask,
    nonzero_masks,
    prunable_weights,
    zero_pruned,
)

__all__ = [
    "FullSet",
    "Gradients",
    "Masks",
    "build_gradients",
    "drop_and_regrow",
    "keep_best_if_empty",
    "lowest_mask",
    "nonzero_masks",
    "prunable_weights",
    "total_loss",
    "zero_pruned",
]


def build_gradients(
    chain: Sequence[Mapping[str, Any]], *, full_set: FullSet | None = None, teacher: Any = None
) -> Gradients:
    """Nest gradient rules, the innermost first: each is ``{"name": ..., **settings}``.

    A rule with the parameter ``full_set`` gets an iterator over the whole training set; one with ``teacher``
    gets a function that opens the run of a teacher.
    """
    made: Gradients = registry.find("descent.gradients", "plain")()
    for link in chain:
        settings = {k: v for k, v in link.items() if k != "name"}
        if link["name"] != "plain":
            make = registry.find("descent.gradients", link["name"])
            given = {"full_set": full_set, "teacher": teacher}
            settings |= {k: v for k, v in given.items() if k in signature(make).parameters}
            made = make(inner=made, **settings)
    return made

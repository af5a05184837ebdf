"""Gradient rules, one a file: how gradients are computed and transformed. Each may wrap another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from inspect import signature
from typing import Any

from ... import registry
from ._gradients import Everything, Gradients, loss_of
from ._pruned import Kept, dropped_and_grown, kept_of, lowest, prunable, with_best, zero_outside

__all__ = [
    "Everything",
    "Gradients",
    "Kept",
    "build_gradients",
    "dropped_and_grown",
    "kept_of",
    "loss_of",
    "lowest",
    "prunable",
    "with_best",
    "zero_outside",
]


def build_gradients(
    chain: Sequence[Mapping[str, Any]], *, everything: Everything | None = None, teacher: Any = None
) -> Gradients:
    """Nest gradient rules, the innermost first: each is ``{"name": ..., **settings}``.

    A rule with the parameter ``everything`` gets an iterator over the whole training set; one with ``teacher``
    gets a function that opens the run of a teacher.
    """
    made: Gradients = registry.find("descent.gradients", "plain")()
    for link in chain:
        settings = {k: v for k, v in link.items() if k != "name"}
        if link["name"] != "plain":
            make = registry.find("descent.gradients", link["name"])
            given = {"everything": everything, "teacher": teacher}
            settings |= {k: v for k, v in given.items() if k in signature(make).parameters}
            made = make(inner=made, **settings)
    return made

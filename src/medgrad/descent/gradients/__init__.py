"""How gradients come to be: one way a file, and each may wrap another."""

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
    """Nest ways of making gradients, the innermost first: each is ``{"name": ..., **settings}``.

    A way that takes ``everything`` is given what yields the whole training set, batch by batch; one that takes a
    ``teacher``, what opens the run of one.
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

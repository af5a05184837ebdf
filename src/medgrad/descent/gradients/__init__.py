"""How gradients come to be: one way a file, and each may wrap another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ... import registry
from ._gradients import Gradients, loss_of

__all__ = ["Gradients", "build_gradients", "loss_of"]


def build_gradients(chain: Sequence[Mapping[str, Any]]) -> Gradients:
    """Nest ways of making gradients, the innermost first: each is ``{"name": ..., **settings}``."""
    made: Gradients = registry.find("descent.gradients", "plain")()
    for link in chain:
        settings = {k: v for k, v in link.items() if k != "name"}
        if link["name"] != "plain":
            made = registry.find("descent.gradients", link["name"])(inner=made, **settings)
    return made

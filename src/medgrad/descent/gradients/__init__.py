"""Gradient rules, one a file: how gradients are computed and transformed. Each may wrap another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from inspect import signature
from typing import Any

from ... import registry
from ...errors import SettingError
from ._gradients import Chain, FullSet, Gradients, Stateful, total_loss
from ._pruned import (
    Masks,
    drop_and_regrow,
    keep_best_if_empty,
    lowest_mask,
    nonzero_masks,
    prunable_weights,
    zero_pruned,
)
from ._secret import SecretGenerator

__all__ = [
    "Chain",
    "FullSet",
    "Gradients",
    "Masks",
    "SecretGenerator",
    "Stateful",
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
) -> Chain:
    """Nest gradient rules, the innermost first: each is ``{"name": ..., **settings}``.

    A rule without the parameter ``inner`` computes the gradients itself, in the place of ``plain``; it is innermost
    wherever it stands. A rule with the parameter ``full_set`` gets an iterator over the whole training set; one with
    ``teacher`` gets a function that opens the run of a teacher.
    """
    makers = [(link["name"], registry.find("descent.gradients", link["name"]), link) for link in chain]
    first = [maker for maker in makers if not takes(maker[1], "inner")]
    if len(first) > 1:
        raise SettingError(
            f"[[gradients]] has several methods that compute the gradients themselves: "
            f"{', '.join(maker[0] for maker in first)}. Keep one."
        )
    first = first or [("plain", registry.find("descent.gradients", "plain"), {})]
    links: list[tuple[str, Gradients]] = []
    for name, make, link in [*first, *(maker for maker in makers if takes(maker[1], "inner"))]:
        settings = {k: v for k, v in link.items() if k != "name"}
        given = {"full_set": full_set, "teacher": teacher, "inner": links[-1][1] if links else None}
        made: Gradients = make(**settings, **{k: v for k, v in given.items() if takes(make, k)})
        if not links or made is not links[-1][1]:
            links.append((name, made))
    return Chain(links)


def takes(make: Any, parameter: str) -> bool:
    """Tell whether a rule has a parameter."""
    return parameter in signature(make).parameters

"""The type of a gradient rule."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from torch import nn

from ...tasks import Batch, Task

Gradients = Callable[[nn.Module, Task, Batch], dict[str, float]]
"""Fill ``p.grad`` of every parameter and return what there is to tell.

A plain name is a term of the loss; a name with a slash (``gradient/norm``) is an observation and no part of it.
"""

FullSet = Callable[[], Iterator[Batch]]
"""Yield the whole training set once, in parts, the same each time and without chance."""


def total_loss(terms: Mapping[str, Any]) -> float:
    """Sum the terms of the loss and leave the observations out.

    >>> total_loss({"dice": 0.5, "entropy": 0.25, "gradient/norm": 9.0})
    0.75
    """
    return float(sum(v for k, v in terms.items() if "/" not in k))

"""How the channels that go are chosen, and what each layer keeps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from ._group import Graph
from .channels import leasts


@dataclass(frozen=True)
class Choice:
    """How the channels that go are chosen, and that each layer keeps at least so many, a ``multiple`` of a number.

    It also keeps the ``floor``, a share of the channels that the parent has there, rounded down to such a number.
    ``relative`` holds the channels of a layer only against one another. Before any channel so many whole ``layers`` go.
    """

    criterion: str = "taylor"
    settings: Mapping[str, Any] = field(default_factory=dict)
    relative: bool = False
    least: int = 4
    multiple: int = 1
    floor: float = 0.0
    layers: int = 0

    def leasts(self, graph: Graph, whole: nn.Module) -> dict[int, int]:
        """Give for each family of a graph how many channels it keeps at least; the ``whole`` is the parent."""
        return leasts(graph, whole.state_dict(), self.least, self.floor, self.multiple)

"""What is particular to each kind of answer, one kind a file."""

from ._draw import best_plane
from ._kind import (
    Agreement,
    AnswerKind,
    Destination,
    agreement,
    kind_named,
    kind_of,
    known_kind,
    restore,
)

__all__ = [
    "Agreement",
    "AnswerKind",
    "Destination",
    "agreement",
    "best_plane",
    "kind_named",
    "kind_of",
    "known_kind",
    "restore",
]

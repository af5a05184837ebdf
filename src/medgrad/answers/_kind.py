"""What a kind of answer offers; each file of this folder ends in ``THIS = <one of this kind>``."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from .. import registry
from ..data import Case, Grid, Image, Source
from ..data.dicom.write.equipment import Algorithm
from ..data.display import Plane
from ..data.formats import read
from ..errors import MedgradError
from ..prepare import Memo, Step

Settings = Mapping[str, Any]
"""The settings of the task that asked."""


@dataclass(frozen=True)
class Agreement:
    """How far pairs of answers are apart (``off``, 0 where all say the same), on how many cases, and the figures."""

    off: float
    cases: int
    figures: Mapping[str, float]

    @property
    def words(self) -> str:
        """The figures in a few words."""
        return ", ".join(f"{name} {value:.6g}" for name, value in self.figures.items())

    def as_dict(self) -> dict[str, Any]:
        """Give what a file can hold."""
        return {"off": self.off, "cases": self.cases, **self.figures}


@dataclass(frozen=True)
class Destination:
    """Where and how an answer is written.

    ``file_format`` is what was asked for with ``--format`` (empty: as the image came). ``image`` is what was read from
    the ``source``, where it is still at hand; ``case`` is what the network was asked about, where that is.
    """

    folder: Path
    name: str
    source: Source
    file_format: str = ""
    algorithm: Algorithm = field(default_factory=Algorithm)
    image: Image | None = None
    case: Case | None = None

    def load_image(self) -> Image:
        """Give the image that the answer is about, read again if it is not at hand."""
        return self.image or read(self.source)

    def path(self, ending: str) -> Path:
        """Give the path of the answer with a file ending."""
        return self.folder / f"{self.name}{ending}"


class AnswerKind(ABC):
    """All that is particular to one kind of answer, so that nothing else asks which kind it has.

    ``type`` is the class of its values. ``outputs`` names the arrays of an exported network that it is decoded from,
    ``formats`` what it can be written as beside the format of its image. ``tolerance`` says how far the answers of an
    exported network may be off, by precision. With a background, windows in which a first pass finds nothing need not
    be looked at. ``settings`` are those of a task that it is decoded with.
    """

    type: ClassVar[type]
    outputs: ClassVar[tuple[str, ...]] = ("output",)
    formats: ClassVar[tuple[str, ...]] = ()
    tolerance: ClassVar[Mapping[str, float]] = {"float32": 0.001, "int8": 0.05}
    has_background: ClassVar[bool] = False
    settings: ClassVar[tuple[str, ...]] = ()

    @property
    def name(self) -> str:
        """The name of its file."""
        return self.__class__.__module__.rpartition(".")[2]

    @abstractmethod
    def example(self, grid: Grid, seed: int = 0) -> Any:
        """Make a small value that belongs to an image on a grid: for tests and documentation."""

    def crop(self, value: Any, start: Sequence[int], shape: Sequence[int]) -> Any:
        """Cut it with its case; what lies in the patient's space stays as it is."""
        del start, shape
        return value

    @abstractmethod
    def join(self, values: Sequence[Any], windows: Sequence[Grid], grid: Grid, settings: Settings) -> Any:
        """Put the answers about windows of one image together."""

    def undo(self, value: Any, step: Step, memo: Memo) -> Any:
        """Bring it back to where it was before a step of preparation; what lies in the patient's space stays."""
        del step, memo
        return value

    @abstractmethod
    def decode(self, outputs: Sequence[Any], grid: Grid, settings: Settings) -> Any:
        """Make it of the output of a network about one sample (no batch axis), as arrays of any kind."""

    def finish(self, value: Any, case: Case, settings: Settings) -> Any:
        """Make the answer of what was decoded and the prepared case that it is about, where it takes both."""
        del case, settings
        return value

    @abstractmethod
    def write(self, value: Any, to: Destination) -> list[Path]:
        """Write it, and give the files."""

    def check_format(self, file_format: str, source: Source) -> None:
        """Raise if it cannot be written in a format, or a package that this takes is missing."""
        del source
        if file_format and file_format not in self.formats:
            which = f"These can: {', '.join(self.formats)}." if self.formats else "Leave --format out."
            raise MedgradError(f"--format {file_format} is not for an answer of the kind {self.name!r}. {which}")

    def element_bytes(self, classes: int) -> int | None:
        """Give the bytes that an element of it takes, of a network of so many classes; None where no bound is kept."""
        del classes
        return None

    def needs_image(self, file_format: str) -> bool:
        """Tell whether writing it takes the image that it is about."""
        del file_format
        return False

    def notes(self, value: Any, written: Sequence[Path]) -> tuple[str, ...]:
        """Give sentences about the written files that a person may want to read."""
        del value, written
        return ()

    @abstractmethod
    def summary(self, value: Any) -> dict[str, Any]:
        """Sum it up in a few numbers."""

    def plane_index(self, value: Any, image: Image, axis: int) -> int | None:
        """Choose the plane across an axis of a volume that shows most of it; None where none is better than another."""
        del value, image, axis
        return None

    def drawn(self, value: Any, image: Image, plane: Plane) -> Mapping[str, NDArray[Any]]:
        """Give what is drawn over a plane of an image: ``labels`` (rows, columns), ``boxes`` (n, 4), ``image``, ..."""
        del value, image, plane
        return {}

    def quality(self, value: Any, truth: Any) -> float | None:
        """Give one number for how good it is where its row has none; larger is better."""
        del value, truth
        return None

    def caption(self, value: Any, truth: Any) -> str:
        """Say in a few words what a picture shows beside its figure."""
        del value, truth
        return ""

    @abstractmethod
    def compare(self, pairs: Sequence[tuple[Any, Any]]) -> Agreement:
        """Say how far pairs of answers, each about one case, agree together."""

    def stored(self, outputs: Sequence[NDArray[Any]], settings: Settings) -> dict[str, NDArray[Any]]:
        """Give what is kept of the outputs about an example, by name; ``read_stored`` reads it."""
        del settings
        return dict(zip(self.outputs, outputs, strict=True))

    def read_stored(self, stored: Mapping[str, NDArray[Any]], grid: Grid, settings: Settings) -> Any:
        """Decode what was kept of the outputs about an example."""
        return self.decode([stored[name][0] for name in self.outputs], grid, settings)


def kind_named(name: str) -> AnswerKind:
    """Give the kind of answer of this name."""
    found: AnswerKind = registry.find("answers", name)
    return found


def known_kind(value: Any) -> AnswerKind | None:
    """Give the kind of an answer or a truth: that of its own class, or of the nearest that it is derived from."""
    return kind_of_class(value.__class__)


@cache
def kind_of_class(held: type) -> AnswerKind | None:
    """Give the kind of the values of a class, or None."""
    every = [kind_named(name) for name in registry.names("answers")]
    order = held.__mro__
    fitting = [kind for kind in every if kind.type in order]
    return min(fitting, key=lambda kind: order.index(kind.type)) if fitting else None


def kind_of(value: Any) -> AnswerKind:
    """Give the kind of an answer, or raise if it is of none."""
    kind = known_kind(value)
    if kind is None:
        known = ", ".join(registry.names("answers"))
        raise TypeError(f"{type(value).__name__!r} is no kind of answer. Known: {known}.")
    return kind


def restore(value: Any, steps: Sequence[Step], memos: Sequence[Memo]) -> Any:
    """Bring an answer back through every step of preparation to the grid and the unit that the case came with."""
    kind = kind_of(value)
    for step, memo in zip(reversed(steps), reversed(memos), strict=True):
        value = kind.undo(value, step, memo)
    return value


def agreement(pairs: Sequence[tuple[Any, Any]]) -> Agreement:
    """Say how far pairs of answers of one kind, each about one case, agree together."""
    if not pairs:
        raise ValueError("There are no answers that could agree.")
    return kind_of(pairs[0][0]).compare(pairs)


def largest_difference(pairs: Sequence[tuple[NDArray[Any], NDArray[Any]]]) -> float:
    """Give the largest difference between the numbers of pairs of arrays."""
    return max(float(np.abs(a - b).max(initial=0)) for a, b in pairs)

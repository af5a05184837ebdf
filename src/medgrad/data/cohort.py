"""A set of cases that have not been read yet: where each lies, whose it is, and on which side of the split."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import FormatError
from .case import Case
from .types import LabelMap, Scores

SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
class Source:
    """Where one image or truth lies: a file or folder and, if it holds several, which item of it.

    The item of an ``.npz`` is ``array:row``; that of a DICOM folder is a series UID; that of a 4D NIfTI a number.
    """

    path: Path
    item: str = ""

    def __str__(self) -> str:
        return f"{self.path}[{self.item}]" if self.item else str(self.path)


@dataclass(frozen=True)
class Entry:
    """One case of a cohort, not read yet."""

    id: str
    images: Mapping[str, Source]
    truth: Source | Scores | None = None
    patient: str = ""
    split: str | None = None
    region: Source | None = None
    notes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Cohort:
    """What a layout found in a folder.

    ``task`` is the problem that the data asks for. ``labels`` are its classes: for segmentation they name the labels
    1, 2, ... and ``values`` says which number in the files each of them has. ``patients_from`` says how the patients
    were told apart, ``told`` what else was decided, a sentence each: a person must be able to object.
    """

    root: Path
    layout: str
    task: str
    entries: tuple[Entry, ...]
    labels: tuple[str, ...] = ()
    values: tuple[int, ...] = ()
    dims: int = 3
    exclusive: bool = True
    patients_from: str = "one patient a case"
    told: tuple[str, ...] = ()

    def of(self, *splits: str | None) -> Cohort:
        """Give the cases of some splits."""
        return replace(self, entries=tuple(e for e in self.entries if e.split in splits))

    @property
    def patients(self) -> tuple[str, ...]:
        """Every patient once, in order of appearance."""
        return tuple(dict.fromkeys(e.patient or e.id for e in self.entries))

    def load(self, entry: Entry) -> Case:
        """Read one case: images, truth and region, with the labels renumbered to 1, 2, ... in the order of ``labels``."""
        from .formats import read, read_labels

        images = {name: read(source) for name, source in entry.images.items()}
        grid = next(iter(images.values())).grid
        truth: Any = entry.truth
        if isinstance(truth, Source):
            truth = self.renumber(read_labels(truth, like=grid), where=str(truth))
        region = read_labels(entry.region, like=grid) if entry.region else None
        return Case(entry.id, images, truth, entry.patient or entry.id, region, entry.notes)

    def renumber(self, labels: LabelMap, *, where: str) -> LabelMap:
        """Turn the numbers in the files into 1, 2, ...; instance maps (no ``values``) become one label."""
        if not self.values:
            return LabelMap((labels.array > 0).astype(np.uint8), labels.grid, dict(enumerate(self.labels, 1)))
        found = set(np.unique(labels.array).tolist())
        unknown = found - {0, *self.values}
        if unknown:
            raise FormatError(
                f"{where} holds the labels {sorted(unknown)}, but this set has {list(self.values)}. "
                "Correct the file, or name all labels in dataset.json."
            )
        table = np.zeros(max([0, *self.values]) + 1, np.uint8)
        for number, value in enumerate(self.values, 1):
            table[value] = number
        return LabelMap(table[labels.array], labels.grid, dict(enumerate(self.labels, 1)), labels.told)


def with_split(cohort: Cohort, split: Mapping[str, str]) -> Cohort:
    """Put the cases named in ``split`` on the sides that it says; the others keep theirs."""
    return replace(cohort, entries=tuple(replace(e, split=split.get(e.id, e.split)) for e in cohort.entries))


def select(cohort: Cohort, ids: Sequence[str]) -> Cohort:
    """Give the named cases, in the order of the names."""
    by_id = {e.id: e for e in cohort.entries}
    return replace(cohort, entries=tuple(by_id[i] for i in ids))

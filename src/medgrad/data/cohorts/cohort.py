"""A set of cases that have not been read yet: where each lies, whose it is, and on which side of the split."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import FormatError, SettingError, nearest
from ..case import Case
from ..grid import Grid
from ..source import PairSource, Source
from ..types import Boxes, Image, LabelMap, Pair, Scores, UnplacedBoxes

SPLITS = ("train", "val", "test")
PLACE_MM = 0.1  # how far a mask may lie from its image; headers are rounded


@dataclass(frozen=True)
class Entry:
    """One case of a cohort, not read yet."""

    id: str
    images: Mapping[str, Source]
    truth: Source | PairSource | Scores | UnplacedBoxes | None = None
    patient: str = ""
    split: str | None = None
    region: Source | None = None
    notes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Cohort:
    """What a layout found in a folder.

    ``task`` is the problem that the data asks for. ``labels`` are its classes: for segmentation they name the labels
    1, 2, ... and ``values`` says which number in the files each of them has. Without ``values`` there is one label,
    and it is wherever a mask is larger than ``above`` (instance maps, masks kept as JPEG). Where the files name their
    labels themselves (DICOM), ``aliases`` turns those names into ``labels``, whatever their numbers. ``among`` are all
    labels of the files where only ``labels`` of them count: the others are background. ``modalities`` says what the
    images of a name are, where the set says so. ``patients_from`` says how the patients were told apart, ``told`` what
    else was decided, a sentence each: a person must be able to object.
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
    above: int = 0
    modalities: Mapping[str, str] = field(default_factory=dict)
    aliases: Mapping[str, str] = field(default_factory=dict)
    among: tuple[str, ...] = ()

    def of(self, *splits: str | None) -> Cohort:
        """Give the cases of some splits."""
        return replace(self, entries=tuple(e for e in self.entries if e.split in splits))

    @property
    def patients(self) -> tuple[str, ...]:
        """Every patient once, in order of appearance."""
        return tuple(dict.fromkeys(e.patient or e.id for e in self.entries))

    def load(self, entry: Entry) -> Case:
        """Read one case: images, truth and region, with the labels renumbered to 1, 2, ... in the order of ``labels``.

        Where the task is detection, a mask gives the boxes of its objects. The truth and the region must lie on the
        grid of the first image. In a flat set, volumes of one slice are given as pictures.
        """
        images = {name: self.read_image(name, source) for name, source in entry.images.items()}
        grid = next(iter(images.values())).grid
        is_pair = len(images) == 2 and (self.task == "registration" or "across" in entry.notes)
        if is_pair or isinstance(entry.truth, PairSource):
            return self.load_pair(entry, images)
        truth: Any = entry.truth
        if isinstance(truth, Source):
            truth = self.read_truth(truth, grid)
        elif isinstance(truth, UnplacedBoxes):
            truth = self.chosen_boxes(truth).on(grid)
        region = self.read_mask(entry.region, grid) if entry.region else None
        return Case(entry.id, images, truth, entry.patient or entry.id, region, entry.notes)

    def load_pair(self, entry: Entry, images: dict[str, Image]) -> Case:
        """Give a pair with what is known about each of its images; those of two patients are laid centre on centre."""
        from .pair_truth import centre_aligned, known_of

        (first, fixed), (second, moving) = images.items()

        def labels_of(source: Source, grid: Grid) -> LabelMap:
            return self.renumber(self.read_mask(source, grid), where=str(source))

        truth = known_of(entry.truth, entry.images, images, labels_of)
        if entry.notes.get("across"):
            truth = (
                Pair(truth.fixed, centre_aligned(truth.moving, moving.grid, fixed.grid))
                if isinstance(truth, Pair)
                else None
            )
            moving = centre_aligned(moving, moving.grid, fixed.grid)
        return Case(entry.id, {first: fixed, second: moving}, truth, entry.patient or entry.id, None, entry.notes)

    def read_truth(self, source: Source, grid: Grid) -> LabelMap | Boxes:
        """Read the mask of a case, and give its labels or, where objects are to be found, a box around each."""
        mask = self.read_mask(source, grid)
        if self.task == "detection" and not self.values and not self.aliases:
            from ..masks_to_boxes import boxes_of_objects

            return boxes_of_objects(mask, dict(enumerate(self.labels)))
        labels = self.renumber(mask, where=str(source))
        if self.task != "detection":
            return labels
        from ..masks_to_boxes import boxes_of_labels

        return boxes_of_labels(labels)

    def read_image(self, name: str, source: Source) -> Image:
        """Read one image of a case, with the modality that the set says if the file says none."""
        from ..formats import read  # the formats take a second to load, and a cohort need not be read

        image = read(source)
        if image.modality is None and name in self.modalities:
            image = replace(image, modality=self.modalities[name])
        if self.dims == 2 and image.grid.dims == 3 and 1 in image.grid.shape:
            axis = image.grid.shape.index(1)
            image = replace(image, array=np.squeeze(image.array, axis), grid=flattened(image.grid, axis))
        return image

    def read_mask(self, source: Source, grid: Grid) -> LabelMap:
        """Read the truth or the region of a case, as the file numbers it, or raise if it lies on another grid."""
        labels = labels_at(source, like=grid if grid.dims == 3 else None)
        if self.dims == 2 and labels.grid.dims == 3 and 1 in labels.grid.shape:
            axis = labels.grid.shape.index(1)
            labels = replace(labels, array=np.squeeze(labels.array, axis), grid=flattened(labels.grid, axis))
        if labels.grid.shape != grid.shape:
            raise FormatError(
                f"{str(source)!r} has the shape {labels.grid.shape}, but its image has {grid.shape}. "
                "Resample the mask to the image, or leave the case out."
            )
        if labels.grid.measured and grid.measured and not labels.grid.is_close(grid, tolerance_mm=PLACE_MM):
            raise FormatError(
                f"{str(source)!r} and its image have one shape but lie at different places in the body. "
                "Save the mask with the image's own header."
            )
        return replace(labels, grid=grid)

    def renumber(self, labels: LabelMap, *, where: str) -> LabelMap:
        """Turn the numbers in the files into 1, 2, ...; instance maps (no ``values``) become one label."""
        numbered = self.numbered(labels, where=where)
        if not self.among:
            return numbered
        table = np.zeros(len(self.among) + 1, np.uint8)
        for number, name in enumerate(self.labels, 1):
            table[self.among.index(name) + 1] = number
        return replace(numbered, array=table[numbered.array], names=dict(enumerate(self.labels, 1)))

    def chosen_boxes(self, drawn: UnplacedBoxes) -> UnplacedBoxes:
        """Give the boxes of the labels that count."""
        if not self.among:
            return drawn
        kept = [i for i, label in enumerate(drawn.labels.tolist()) if self.among[label] in self.labels]
        labels = np.array([self.labels.index(self.among[drawn.labels[i]]) for i in kept], np.int64)
        corners = np.asarray(drawn.corners, float)[kept]
        return replace(drawn, corners=corners, labels=labels, names=dict(enumerate(self.labels)))

    def numbered(self, labels: LabelMap, *, where: str) -> LabelMap:
        """Turn the numbers in the files into 1, 2, ... in the order of all labels that the files hold."""
        every = self.among or self.labels
        if self.aliases:
            return self.by_name(labels, every, where=where)
        if not self.values:
            one = (labels.array > self.above).astype(np.uint8)
            return LabelMap(one, labels.grid, dict(enumerate(every, 1)), labels.told)
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
        return LabelMap(table[labels.array], labels.grid, dict(enumerate(every, 1)), labels.told)

    def by_name(self, labels: LabelMap, every: tuple[str, ...], *, where: str) -> LabelMap:
        """Number labels by the names that their file gives them."""
        array = np.zeros(labels.array.shape, np.uint8)
        for value in sorted(set(np.unique(labels.array).tolist()) - {0}):
            name = labels.names.get(value, str(value))
            if name not in self.aliases:
                raise FormatError(f"{where} holds {name!r}, but this set has {', '.join(self.aliases)}. Rename it.")
            array[labels.array == value] = every.index(self.aliases[name]) + 1
        return LabelMap(array, labels.grid, dict(enumerate(every, 1)), labels.told)


def labels_at(source: Source, *, like: Grid | None = None) -> LabelMap:
    """Read a truth, with all further files of it laid over the first; where files name labels, none becomes another."""
    from ..formats import read_labels

    first = read_labels(Source(source.path, source.item), like=like)
    if not source.also:
        return first
    array, names = first.array.astype(np.int64), dict(first.names)
    for path in source.also:
        more = read_labels(path, like=like)
        if more.array.shape != array.shape:
            raise FormatError(
                f"{str(path)!r} has the shape {more.array.shape}, but {source.path.name!r} has {array.shape}, and "
                "both belong to one case. Correct one of them."
            )
        shift = max([int(array.max(initial=0)), *names]) if more.names else 0
        array = np.where(more.array > 0, more.array.astype(np.int64) + shift, array)
        names |= {value + shift: name for value, name in more.names.items()}
    return LabelMap(array.astype(np.min_scalar_type(int(array.max(initial=0)))), first.grid, names, first.told)


def flattened(grid: Grid, axis: int) -> Grid:
    """Give the flat grid that is left when an axis of one element is taken away."""
    keep = [a for a in range(grid.dims) if a != axis]
    return Grid.of([grid.shape[a] for a in keep], spacing=[grid.spacing[a] for a in keep], measured=grid.measured)


def narrowed(cohort: Cohort, names: Sequence[str]) -> Cohort:
    """Give the cohort in which only some of its labels count, or raise if it has no such label."""
    for name in names:
        if name not in cohort.labels:
            near = nearest(name, cohort.labels)
            raise SettingError(f"There is no label {name!r} in this set.{near} It has {', '.join(cohort.labels)}.")
    if cohort.task == "classification" or set(names) == set(cohort.labels):
        return cohort
    chosen = tuple(n for n in cohort.labels if n in names)
    told = (*cohort.told, f"Only {', '.join(chosen)} is looked for; the other labels are background.")
    return replace(cohort, labels=chosen, among=cohort.among or cohort.labels, told=told)


def with_split(cohort: Cohort, split: Mapping[str, str]) -> Cohort:
    """Put the cases named in ``split`` on the sides that it says; the others keep theirs."""
    return replace(cohort, entries=tuple(replace(e, split=split.get(e.id, e.split)) for e in cohort.entries))

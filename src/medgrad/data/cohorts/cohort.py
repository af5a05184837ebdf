"""A cohort: cases that are not read yet, with the files, the patient and the split of each."""

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
    """The cases that a layout found in a folder.

    ``task`` is the problem that the data serves. ``labels`` names its classes. For segmentation they are the
    labels 1, 2, ..., and ``values`` gives the number that each of them has in the files. Without ``values`` there
    is one label, and it is wherever a mask is larger than the threshold ``above`` (instance maps, masks kept as
    JPEG). Where the files name their labels themselves (DICOM), ``aliases`` maps those names to ``labels``. Where
    only some labels are learned, ``among`` lists all labels of the files; those that are not in ``labels`` become
    background. ``modalities`` gives the modality of each image name, where the set says so. ``patients_from`` is a
    sentence on how patients were identified. ``told`` holds messages for the user, one for each other decision, so
    that a person can object.
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
        """Give the cohort with only the cases of some splits."""
        return replace(self, entries=tuple(e for e in self.entries if e.split in splits))

    @property
    def patients(self) -> tuple[str, ...]:
        """Every patient once, in order of appearance."""
        return tuple(dict.fromkeys(e.patient or e.id for e in self.entries))

    def load(self, entry: Entry) -> Case:
        """Read one case: images, truth and region, with the labels renumbered to 1, 2, ... in the order of ``labels``.

        For detection, a mask is turned into the boxes of its objects. The truth and the region must lie on the
        grid of the first image. In a 2D set, volumes of one slice are given as 2D images.
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
        """Give the case of a registration pair with its truth; images of two patients are aligned by their centres."""
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
        """Read the mask of a case as labels or, for detection, as one box around each object."""
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
        """Read one image of a case; the modality is the file's own, else the one that the set gives."""
        from ..formats import read  # the formats take a second to load, and a cohort need not be read

        image = read(source)
        if image.modality is None and name in self.modalities:
            image = replace(image, modality=self.modalities[name])
        if self.dims == 2 and image.grid.dims == 3 and 1 in image.grid.shape:
            axis = image.grid.shape.index(1)
            image = replace(image, array=np.squeeze(image.array, axis), grid=flattened(image.grid, axis))
        return image

    def read_mask(self, source: Source, grid: Grid) -> LabelMap:
        """Read a mask with the numbers of its file, and raise if it is not on the grid of its image."""
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
        """Renumber the labels of a file to 1, 2, ...; instance maps (no ``values``) become one label."""
        numbered = self.numbered(labels, where=where)
        if not self.among:
            return numbered
        table = np.zeros(len(self.among) + 1, np.uint8)
        for number, name in enumerate(self.labels, 1):
            table[self.among.index(name) + 1] = number
        return replace(numbered, array=table[numbered.array], names=dict(enumerate(self.labels, 1)))

    def chosen_boxes(self, drawn: UnplacedBoxes) -> UnplacedBoxes:
        """Keep the boxes of the labels that are learned, and renumber their labels."""
        if not self.among:
            return drawn
        kept = [i for i, label in enumerate(drawn.labels.tolist()) if self.among[label] in self.labels]
        labels = np.array([self.labels.index(self.among[drawn.labels[i]]) for i in kept], np.int64)
        corners = np.asarray(drawn.corners, float)[kept]
        return replace(drawn, corners=corners, labels=labels, names=dict(enumerate(self.labels)))

    def numbered(self, labels: LabelMap, *, where: str) -> LabelMap:
        """Renumber the labels of a file to 1, 2, ... in the order of all labels that the files hold."""
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
        """Renumber labels by the names that their file gives them."""
        array = np.zeros(labels.array.shape, np.uint8)
        for value in sorted(set(np.unique(labels.array).tolist()) - {0}):
            name = labels.names.get(value, str(value))
            if name not in self.aliases:
                raise FormatError(f"{where} holds {name!r}, but this set has {', '.join(self.aliases)}. Rename it.")
            array[labels.array == value] = every.index(self.aliases[name]) + 1
        return LabelMap(array, labels.grid, dict(enumerate(every, 1)), labels.told)


def labels_at(source: Source, *, like: Grid | None = None) -> LabelMap:
    """Read a label map and merge its further files into it.

    A later file is laid over the earlier ones. Where files name their labels, numbers are shifted so that each
    label keeps its own.
    """
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
    """Give the 2D grid that is left when an axis of one element is dropped."""
    keep = [a for a in range(grid.dims) if a != axis]
    return Grid.of([grid.shape[a] for a in keep], spacing=[grid.spacing[a] for a in keep], measured=grid.measured)


def narrowed(cohort: Cohort, names: Sequence[str]) -> Cohort:
    """Give the cohort with only some of its labels; the other labels become background.

    Raises if the cohort has no such label.
    """
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
    """Set the split of the cases named in ``split``; the others keep theirs."""
    return replace(cohort, entries=tuple(replace(e, split=split.get(e.id, e.split)) for e in cohort.entries))

"""A cohort: cases that are not read yet, with the files, the patient and the split of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import FormatError, SettingError, suggest_name
from ..case import Case
from ..grid import Grid
from ..source import PairSource, Source
from ..types import Boxes, Image, LabelMap, Pair, Scores, SyntheticImage, UnplacedBoxes

SPLITS = ("train", "val", "test")
DERIVED_TRUTHS = {("label_map", "boxes"), ("label_map", "pair")}
"""Which kind of truth another can be made of."""
MASK_TOLERANCE_MM = 0.1  # how far a mask may lie from its image; headers are rounded


@dataclass(frozen=True)
class Entry:
    """One case of a cohort, not read yet; ``arrays`` are those of its case."""

    id: str
    images: Mapping[str, Source]
    truth: Source | PairSource | Scores | UnplacedBoxes | None = None
    patient: str = ""
    split: str | None = None
    roi: Source | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    arrays: Mapping[str, NDArray[Any]] = field(default_factory=dict)


@dataclass(frozen=True)
class Cohort:
    """The cases that a layout found in a folder.

    ``task`` is the problem that the data serves, ``truth`` the kind of its truth: ``label_map``, ``boxes``,
    ``scores``, ``image``, ``synthetic_image``, or ``pair`` (what is known of both images of a registration).
    ``labels`` names its classes. In label maps they are the labels 1, 2, ..., and ``label_values`` gives the number
    that each of them has in the files. Without ``label_values`` there is one label, and it is wherever a mask is
    larger than the threshold ``threshold`` (instance maps, masks kept as JPEG). Where the files name their labels
    themselves (DICOM), ``label_aliases`` maps those names to ``labels``. Where only some labels are learned,
    ``all_labels`` lists all labels of the files; those that are not in ``labels`` become background. ``modalities``
    gives the modality of each image name, where the set says so. ``patients_source`` is a sentence on how patients
    were identified. ``hints`` is what the user said of the folder. ``messages`` holds messages for the user, one
    for each other decision, so that a person can object.
    """

    root: Path
    layout: str
    task: str
    entries: tuple[Entry, ...]
    labels: tuple[str, ...] = ()
    label_values: tuple[int, ...] = ()
    dims: int = 3
    exclusive: bool = True
    patients_source: str = "one patient a case"
    messages: tuple[str, ...] = ()
    threshold: int = 0
    modalities: Mapping[str, str] = field(default_factory=dict)
    label_aliases: Mapping[str, str] = field(default_factory=dict)
    all_labels: tuple[str, ...] = ()
    truth: str = "label_map"
    hints: Mapping[str, str] = field(default_factory=dict)

    def serving(self, task: str, truth: str) -> Cohort:
        """Give the cohort for a task that learns from a kind of truth; it stays as it is where it has no such truth.

        Masks have boxes, and can be moved. Every image can be its own truth (``self``), where no other is given. A
        synthetic image is learned from another image of each case, or from itself and its class (``synthetic_self``).
        """
        if truth == "self":
            return replace(self, task=task) if self.truth == "image" else self.with_images_as_truth(task)
        if truth == "synthetic_self":
            given = self.with_labels_given()
            return replace(given.with_images_as_truth(task), truth="synthetic_image", labels=given.labels)
        if truth == "synthetic_image" and self.has_image_truth:
            return replace(self, task=task, truth=truth)
        serves = truth == self.truth or (self.truth, truth) in DERIVED_TRUTHS
        return replace(self, task=task, truth=truth) if serves else self

    def with_images_as_truth(self, task: str) -> Cohort:
        """Give the cohort in which the first image of each case is its truth, whatever else is known of it."""
        entries = tuple(replace(e, truth=next(iter(e.images.values()), None)) for e in self.entries)
        said = "Each image is its own truth: what a network is shown of it is degraded by the recipe."
        unlabelled = replace(self, labels=(), label_values=(), label_aliases={}, all_labels=())
        return replace(unlabelled, task=task, truth="image", entries=entries, messages=(*self.messages, said))

    def with_labels_given(self) -> Cohort:
        """Give the cohort in which the class of each case is known beside its images, not asked for.

        It is the array ``label``, 1 for its class and 0 for the others. Only one class of several can be given.
        """
        if any("label" in e.arrays for e in self.entries):
            return self
        if self.truth != "scores" or not self.exclusive or len(self.labels) < 2:
            return replace(self, labels=())
        scored = {e.id: e.truth.values for e in self.entries if isinstance(e.truth, Scores)}
        nothing = np.zeros(len(self.labels))
        entries = [
            replace(e, arrays={**e.arrays, "label": np.asarray(scored.get(e.id, nothing) > 0.5, np.float32)})
            for e in self.entries
        ]
        return replace(self, entries=tuple(entries))

    @property
    def has_image_truth(self) -> bool:
        """Whether the truth of its cases are images."""
        return self.truth in ("image", "synthetic_image")

    def is_own_truth(self, entry: Entry) -> bool:
        """Tell whether the truth of a case is one of its images."""
        return self.has_image_truth and entry.truth in entry.images.values()

    def in_splits(self, *splits: str | None) -> Cohort:
        """Give the cohort with only the cases of some splits."""
        return replace(self, entries=tuple(e for e in self.entries if e.split in splits))

    @property
    def patients(self) -> tuple[str, ...]:
        """Every patient once, in order of appearance."""
        return tuple(dict.fromkeys(e.patient or e.id for e in self.entries))

    def load_case(self, entry: Entry) -> Case:
        """Read one case: images, truth and region, with the labels renumbered to 1, 2, ... in the order of ``labels``.

        For detection, a mask is turned into the boxes of its objects. The truth and the region must lie on the
        grid of the first image. In a 2D set, volumes of one slice are given as 2D images.
        """
        images = {name: self.read_image(name, source) for name, source in entry.images.items()}
        case = Case(entry.id, images, None, entry.patient or entry.id, None, entry.metadata, entry.arrays)
        is_pair = len(images) == 2 and (self.truth == "pair" or "across" in entry.metadata)
        if is_pair or isinstance(entry.truth, PairSource):
            return self.load_pair(entry, images)
        truth: Any = entry.truth
        if isinstance(truth, Source):
            truth = self.read_truth(truth, case.grid)
        elif isinstance(truth, UnplacedBoxes):
            truth = self.select_boxes(truth).to_world(case.grid)
        return replace(case, truth=truth, roi=self.read_mask(entry.roi, case.grid) if entry.roi else None)

    def load_pair(self, entry: Entry, images: dict[str, Image]) -> Case:
        """Give the case of a registration pair with its truth; images of two patients are aligned by their centres."""
        from .pair_truth import align_centres, read_pair_truth

        (first, fixed), (second, moving) = images.items()

        def read_labels_of(source: Source, grid: Grid) -> LabelMap:
            return self.renumber(self.read_mask(source, grid), source_name=str(source))

        truth = read_pair_truth(entry.truth, entry.images, images, read_labels_of)
        if entry.metadata.get("across"):
            truth = (
                Pair(truth.fixed, align_centres(truth.moving, moving.grid, fixed.grid))
                if isinstance(truth, Pair)
                else None
            )
            moving = align_centres(moving, moving.grid, fixed.grid)
        return Case(entry.id, {first: fixed, second: moving}, truth, entry.patient or entry.id, None, entry.metadata)

    def read_truth(self, source: Source, grid: Grid) -> LabelMap | Boxes | Image:
        """Read the truth of a case: an image, or a mask as labels or as one box around each object."""
        if self.has_image_truth:
            image = self.read_image("", source)
            image = replace(image, grid=checked_grid(image.grid, grid, source))
            return SyntheticImage(**vars(image)) if self.truth == "synthetic_image" else image
        mask = self.read_mask(source, grid)
        if self.truth == "boxes" and not self.label_values and not self.label_aliases:
            from ..masks_to_boxes import instances_to_boxes

            return instances_to_boxes(mask, dict(enumerate(self.labels)))
        labels = self.renumber(mask, source_name=str(source))
        if self.truth != "boxes":
            return labels
        from ..masks_to_boxes import labels_to_boxes

        return labels_to_boxes(labels)

    def read_image(self, name: str, source: Source) -> Image:
        """Read one image of a case; the modality is the file's own, else the one that the set gives."""
        from ..formats import read  # the formats take a second to load, and a cohort need not be read

        image = read(source)
        if image.modality is None and name in self.modalities:
            image = replace(image, modality=self.modalities[name])
        if self.dims == 2 and image.grid.dims == 3 and 1 in image.grid.shape:
            axis = image.grid.shape.index(1)
            image = replace(image, array=np.squeeze(image.array, axis), grid=drop_axis(image.grid, axis))
        return image

    def read_mask(self, source: Source, grid: Grid) -> LabelMap:
        """Read a mask with the numbers of its file, and raise if it is not on the grid of its image."""
        labels = read_merged_labels(source, reference_grid=grid if grid.dims == 3 else None)
        if self.dims == 2 and labels.grid.dims == 3 and 1 in labels.grid.shape:
            axis = labels.grid.shape.index(1)
            labels = replace(labels, array=np.squeeze(labels.array, axis), grid=drop_axis(labels.grid, axis))
        return replace(labels, grid=checked_grid(labels.grid, grid, source))

    def renumber(self, labels: LabelMap, *, source_name: str) -> LabelMap:
        """Renumber the labels of a file to 1, 2, ...; instance maps (no ``label_values``) become one label."""
        numbered = self.renumber_all(labels, source_name=source_name)
        if not self.all_labels:
            return numbered
        lookup = np.zeros(len(self.all_labels) + 1, np.uint8)
        for number, name in enumerate(self.labels, 1):
            lookup[self.all_labels.index(name) + 1] = number
        return replace(numbered, array=lookup[numbered.array], names=dict(enumerate(self.labels, 1)))

    def select_boxes(self, boxes: UnplacedBoxes) -> UnplacedBoxes:
        """Keep the boxes of the labels that are learned, and renumber their labels."""
        if not self.all_labels:
            return boxes
        kept = [i for i, label in enumerate(boxes.labels.tolist()) if self.all_labels[label] in self.labels]
        labels = np.array([self.labels.index(self.all_labels[boxes.labels[i]]) for i in kept], np.int64)
        corners = np.asarray(boxes.corners, float)[kept]
        return replace(boxes, corners=corners, labels=labels, names=dict(enumerate(self.labels)))

    def renumber_all(self, labels: LabelMap, *, source_name: str) -> LabelMap:
        """Renumber the labels of a file to 1, 2, ... in the order of all labels that the files hold."""
        label_names = self.all_labels or self.labels
        if self.label_aliases:
            return self.renumber_by_name(labels, label_names, source_name=source_name)
        if not self.label_values:
            foreground = (labels.array > self.threshold).astype(np.uint8)
            return LabelMap(foreground, labels.grid, dict(enumerate(label_names, 1)), labels.messages)
        found = set(np.unique(labels.array).tolist())
        unknown = found - {0, *self.label_values}
        if unknown:
            raise FormatError(
                f"{source_name} holds the labels {sorted(unknown)}, but this set has {list(self.label_values)}. "
                "Correct the file, or name all labels in dataset.json."
            )
        lookup = np.zeros(max([0, *self.label_values]) + 1, np.uint8)
        for number, value in enumerate(self.label_values, 1):
            lookup[value] = number
        return LabelMap(lookup[labels.array], labels.grid, dict(enumerate(label_names, 1)), labels.messages)

    def renumber_by_name(self, labels: LabelMap, label_names: tuple[str, ...], *, source_name: str) -> LabelMap:
        """Renumber labels by the names that their file gives them."""
        array = np.zeros(labels.array.shape, np.uint8)
        for value in sorted(set(np.unique(labels.array).tolist()) - {0}):
            name = labels.names.get(value, str(value))
            if name not in self.label_aliases:
                raise FormatError(
                    f"{source_name} holds {name!r}, but this set has {', '.join(self.label_aliases)}. Rename it."
                )
            array[labels.array == value] = label_names.index(self.label_aliases[name]) + 1
        return LabelMap(array, labels.grid, dict(enumerate(label_names, 1)), labels.messages)


def checked_grid(found: Grid, grid: Grid, source: Source) -> Grid:
    """Give the grid of an image on which a mask or another truth lies, or raise if it lies elsewhere."""
    if found.shape != grid.shape:
        raise FormatError(
            f"{str(source)!r} has the shape {found.shape}, but its image has {grid.shape}. "
            "Resample the mask to the image, or leave the case out."
        )
    if found.has_spacing and grid.has_spacing and not found.is_close(grid, tolerance_mm=MASK_TOLERANCE_MM):
        raise FormatError(
            f"{str(source)!r} and its image have one shape but lie at different places in the body. "
            "Save the mask with the image's own header."
        )
    return grid


def read_merged_labels(source: Source, *, reference_grid: Grid | None = None) -> LabelMap:
    """Read a label map and merge its further files into it.

    A later file is laid over the earlier ones. Where files name their labels, numbers are shifted so that each
    label keeps its own.
    """
    from ..formats import read_labels

    first = read_labels(Source(source.path, source.item), reference_grid=reference_grid)
    if not source.extra_paths:
        return first
    array, names = first.array.astype(np.int64), dict(first.names)
    for path in source.extra_paths:
        more = read_labels(path, reference_grid=reference_grid)
        if more.array.shape != array.shape:
            raise FormatError(
                f"{str(path)!r} has the shape {more.array.shape}, but {source.path.name!r} has {array.shape}, and "
                "both belong to one case. Correct one of them."
            )
        shift = max([int(array.max(initial=0)), *names]) if more.names else 0
        array = np.where(more.array > 0, more.array.astype(np.int64) + shift, array)
        names |= {value + shift: name for value, name in more.names.items()}
    return LabelMap(array.astype(np.min_scalar_type(int(array.max(initial=0)))), first.grid, names, first.messages)


def drop_axis(grid: Grid, axis: int) -> Grid:
    """Give the 2D grid that is left when an axis of one element is dropped."""
    keep = [a for a in range(grid.dims) if a != axis]
    return Grid.from_shape(
        [grid.shape[a] for a in keep], spacing=[grid.spacing[a] for a in keep], has_spacing=grid.has_spacing
    )


def with_labels(cohort: Cohort, label_names: Sequence[str]) -> Cohort:
    """Give the cohort with only some of its labels; the other labels become background.

    Raises if the cohort has no such label.
    """
    for name in label_names:
        if name not in cohort.labels:
            near = suggest_name(name, cohort.labels)
            raise SettingError(f"There is no label {name!r} in this set.{near} It has {', '.join(cohort.labels)}.")
    if cohort.truth == "scores" or set(label_names) == set(cohort.labels):
        return cohort
    chosen = tuple(n for n in cohort.labels if n in label_names)
    messages = (*cohort.messages, f"Only {', '.join(chosen)} is looked for; the other labels are background.")
    return replace(cohort, labels=chosen, all_labels=cohort.all_labels or cohort.labels, messages=messages)


def with_split(cohort: Cohort, split_by_case: Mapping[str, str]) -> Cohort:
    """Set the split of the cases named in ``split_by_case``; the others keep theirs."""
    return replace(cohort, entries=tuple(replace(e, split=split_by_case.get(e.id, e.split)) for e in cohort.entries))

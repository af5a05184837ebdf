"""Build a segmentation cohort from files grouped by case: which are images, which the truth, which the region."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from ....errors import LayoutError, MedgradError, suggest_name
from ...formats import read, read_labels
from ...source import Source
from ..cohort import Cohort, Entry
from ..patients import assign_patients
from ..split_files import apply_found_split
from ._files import MASK_WORDS, REGION_WORDS, parse_modality, quote_first, split_words
from ._label_scheme import LabelContent, LabelScheme, count_values, infer_label_scheme, inspect_label_files
from ._layout import HintError, Hints, NoMatch
from ._side_table import find_side_table, patients_from_dicom_tags

MAX_MASK_VALUES = 64
TARGET_WORDS = {"target", "targets", "clean", "reference", "references", "truth", "truths", "gt"}
"""What the images are called that a network is to make of others."""
SAMPLE_SIZE = 8


@dataclass(frozen=True)
class CaseFiles:
    """The files of one case by role; a role is the folder or the part of the name that they share with other cases."""

    id: str
    files: Mapping[str, Path]
    split_name: str | None = None
    patient_source_name: str = ""  # what to read the patient from, if not the id
    patient: str = ""  # whose it is, where the layout says so
    extra_files: Mapping[str, tuple[Path, ...]] = field(default_factory=dict)  # further files of a role


@dataclass(frozen=True)
class Roles:
    """The roles of the files of a case: which are images, which is the truth, and which the region, if any."""

    images: tuple[str, ...]
    truth: str
    roi: str | None = None
    messages: tuple[str, ...] = field(default_factory=tuple)


def build_segmentation_cohort(
    root: Path, case_files: Sequence[CaseFiles], hints: Hints, *, layout: str, role_kinds: Mapping[str, str]
) -> Cohort | NoMatch:
    """Build the segmentation cohort of some cases.

    ``role_kinds`` says of a role whether its name is of an image or a mask.
    """
    has_image_truth = hints.wanted_kind == "image"
    if has_image_truth:
        roles = assign_image_roles(case_files, hints, root)
    else:
        roles = assign_roles(case_files, hints, role_kinds, root)
    if isinstance(roles, NoMatch):
        return roles
    messages = list(roles.messages)
    kept = [d for d in case_files if all(r in d.files for r in roles.images)]
    without_image = [d.id for d in case_files if roles.truth in d.files and not all(r in d.files for r in roles.images)]
    if without_image:
        messages.append(f"{len(without_image)} case(s) lack an image and are left out: {quote_first(without_image)}.")
    if not any(roles.truth in d.files for d in kept):
        return NoMatch(0.5, f"no image in it goes with a mask in {roles.truth!r}. Give both the same name.")
    if not _any_mask_fits_image(kept, roles):
        said = f"what looks like masks, {roles.truth!r}, does not have the shape of {roles.images[0]!r}."
        return NoMatch(0.5, f"{said} Save each mask with the size of its image, or name the masks with --truth.")
    without_mask = [d.id for d in kept if roles.truth not in d.files]
    if without_mask:
        messages.append(f"{len(without_mask)} case(s) have no mask and stand on no side: {quote_first(without_mask)}.")
    with_many_masks = [d.id for d in kept if d.extra_files.get(roles.truth)]
    if with_many_masks:
        messages.append(
            f"{len(with_many_masks)} case(s) have several masks, laid over each other: {quote_first(with_many_masks)}."
        )
    images = roles.images if len(roles.images) > 1 else ("image",)
    if len(images) > 1:
        messages.append(f"Each case has {len(images)} images: {', '.join(images)}.")
    entries = tuple(_make_entry(d, roles, images) for d in kept)
    modalities = {n: m for n, r in zip(images, roles.images, strict=True) if (m := parse_modality(r))}
    cohort = Cohort(root, layout, "segmentation", entries, messages=tuple(messages), modalities=modalities)
    if has_image_truth:
        cohort = with_image_truth(cohort, str(hints.task))
    else:
        cohort = add_label_scheme(cohort, roles.truth)
    patients = {d.id: d.patient for d in kept if d.patient}
    patients_source = f"the folder, {next(iter(patients.values()))!r} for {next(iter(patients))!r}" if patients else ""
    names = [d.patient_source_name or d.id for d in kept]
    return finish_cohort(cohort, root, names=names, patients=patients, patients_source=patients_source)


def with_image_truth(cohort: Cohort, task: str) -> Cohort:
    """Give the cohort of a task whose truth is another image of each case."""
    chosen = [cohort.entries[i] for i in evenly_spaced_indices(len(cohort.entries), SAMPLE_SIZE)]
    shapes = [s for e in chosen if (s := read_image_shape(next(iter(e.images.values()))))]
    return replace(cohort, task=task, truth="image", dims=infer_dims(shapes))


def assign_image_roles(case_files: Sequence[CaseFiles], hints: Hints, root: Path) -> Roles | NoMatch:
    """Decide which role is the truth where it is an image too: by the hint, else by a word such as target or clean."""
    roles = list(dict.fromkeys(r for d in case_files for r in d.files))
    region = _role_from_hint(hints.roi, roles, "roi", root)
    truth = _role_from_hint(hints.truth, roles, "truth", root)
    named = [r for r in roles if set(split_words(r)) & TARGET_WORDS]
    if truth is None and len(named) == 1:
        truth = named[0]
    if truth is None:
        return NoMatch(0.5, f"which of {quote_first(roles)} holds the truth is not clear. Name it with --truth.")
    images = tuple(r for r in roles if r not in (truth, region))
    return Roles(images, truth, region) if images else NoMatch(0.4, f"no images go with those in {truth!r}.")


def _any_mask_fits_image(case_files: Sequence[CaseFiles], roles: Roles) -> bool:
    """Tell whether any of up to four sampled masks has the shape of its image; true where no shape can be read."""
    both = [d for d in case_files if roles.truth in d.files]
    pairs = [
        (a, b)
        for i in evenly_spaced_indices(len(both), 4)
        if (a := read_image_shape(Source(both[i].files[roles.images[0]])))
        and (b := read_image_shape(Source(both[i].files[roles.truth])))
    ]
    return not pairs or any(tuple(v for v in a if v > 1) == tuple(v for v in b if v > 1) for a, b in pairs)


def evenly_spaced_indices(count: int, max_count: int) -> list[int]:
    """Give at most ``max_count`` evenly spaced indices below ``count``."""
    return sorted({int(i) for i in np.linspace(0, count - 1, min(count, max_count))}) if count else []


def _make_entry(case: CaseFiles, roles: Roles, names: Sequence[str]) -> Entry:
    has_truth = roles.truth in case.files
    region = case.files.get(roles.roi) if roles.roi else None
    return Entry(
        case.id,
        {name: Source(case.files[role]) for name, role in zip(names, roles.images, strict=True)},
        Source(case.files[roles.truth], extra_paths=case.extra_files.get(roles.truth, ())) if has_truth else None,
        split=case.split_name if has_truth else None,
        roi=Source(region) if region else None,
    )


def add_label_scheme(cohort: Cohort, truth_name: str, known_scheme: LabelScheme | None = None) -> Cohort:
    """Read the label files of a cohort; add its labels, its number of axes, and the labels of each case as metadata."""
    sources = {e.id: e.truth for e in cohort.entries if isinstance(e.truth, Source)}
    contents = inspect_label_files(sources)
    scheme = known_scheme or infer_label_scheme(contents, label_name_from_role(truth_name), n_files=len(sources))
    messages = [*cohort.messages, *scheme.messages]
    unreadable = [i for i, s in contents.items() if s.error]
    if unreadable:
        messages.append(f"{len(unreadable)} label file(s) cannot be read: {quote_first(unreadable)}.")
    dims = infer_dims([s.shape for s in contents.values() if s.shape])
    entries = tuple(_add_label_metadata(e, contents.get(e.id), scheme) for e in cohort.entries)
    return replace(
        cohort,
        entries=entries,
        labels=scheme.labels,
        label_values=scheme.label_values,
        threshold=scheme.threshold,
        dims=dims,
        messages=tuple(messages),
    )


def label_name_from_role(role: str) -> str:
    """Name the single label of a set after its role, or ``foreground`` where the role only says that it is a mask."""
    words = [w for w in split_words(role) if w not in MASK_WORDS or w in ("lesion", "lesions")]
    return "_".join(words) or "foreground"


def _add_label_metadata(entry: Entry, content: LabelContent | None, scheme: LabelScheme) -> Entry:
    if content is None or content.error:
        return entry
    present = [n for n, v in zip(scheme.labels, scheme.label_values, strict=False) if v in content.values]
    if not scheme.label_values and content.n_foreground:
        present = list(scheme.labels)
    return replace(entry, metadata={**entry.metadata, "labels": tuple(present), "foreground": content.n_foreground})


def infer_dims(shapes: Sequence[tuple[int, ...]]) -> int:
    """Give 2 if all shapes are flat (a single slice counts as flat), else 3.

    >>> infer_dims([(64, 64, 1), (32, 32, 1)]), infer_dims([(64, 64, 9), (64, 64, 1)])
    (2, 3)
    """
    deep = [s for s in shapes if sum(v > 1 for v in s) > 2]
    return 3 if deep or (not shapes) else 2


def finish_cohort(
    cohort: Cohort,
    root: Path,
    *,
    names: Sequence[str] | None = None,
    patients: Mapping[str, str] | None = None,
    patients_source: str = "",
) -> Cohort:
    """Complete a cohort: add patients and splits from side files and DICOM tags, and check that case ids are unique.

    Patients come from a table beside the cases, else from ``patients`` by case id, else from ``names``.
    """
    duplicates = [i for i, n in Counter(e.id for e in cohort.entries).items() if n > 1]
    if duplicates:
        raise LayoutError(f"{str(root)!r} has two cases named {duplicates[0]!r}. Rename the files of one.")
    side_table = find_side_table(cohort, root) if root.is_dir() else None
    if side_table and side_table.patients:
        patients, patients_source = side_table.patients, side_table.patients_source
    if not patients and (tags := patients_from_dicom_tags(cohort)):
        patients, patients_source = tags, f"the DICOM tag PatientID, such as {next(iter(tags.values()))!r}"
    cohort = assign_patients(cohort, patients, known_source=patients_source, names=names)
    if root.is_dir():
        cohort = apply_found_split(cohort, root)
    if side_table and side_table.splits and not any(e.split for e in cohort.entries):
        entries = tuple(replace(e, split=side_table.splits.get(e.id)) for e in cohort.entries)
        cohort = replace(cohort, entries=entries, messages=(*cohort.messages, side_table.split_message))
    return drop_split_without_truth(cohort)


def drop_split_without_truth(cohort: Cohort) -> Cohort:
    """Remove cases without truth from their split: they can neither train nor be judged."""
    return replace(
        cohort, entries=tuple(replace(e, split=None if e.truth is None else e.split) for e in cohort.entries)
    )


def assign_roles(
    case_files: Sequence[CaseFiles], hints: Hints, role_kinds: Mapping[str, str], root: Path
) -> Roles | NoMatch:
    """Decide which roles are images, truth and region: by the hints, by words in the names, and by file contents."""
    roles = list(dict.fromkeys(r for d in case_files for r in d.files))
    truth = _role_from_hint(hints.truth, roles, "truth", root)
    region = _role_from_hint(hints.roi, roles, "roi", root)
    masks = [r for r in roles if r in (truth, region) or is_mask_role(r, case_files, role_kinds)]
    images = [r for r in roles if r not in masks]
    if not images:
        said = (
            f"{quote_first(roles)} look like masks, and no images go with them. Put the images into a "
            "folder beside them."
        )
        return NoMatch(0.4, said) if roles else NoMatch(0.0, "it holds no images.")
    messages: list[str] = []
    if truth is None:
        candidates = [m for m in masks if m != region]
        if not candidates:
            return NoMatch(0.2, f"{quote_first(images)} hold images, but nothing holds masks.")
        candidates = [m for m in candidates if any(m in d.files and set(images) & set(d.files) for d in case_files)]
        if not candidates:
            said = f"its masks, {quote_first(masks)}, do not go with images by their names."
            return NoMatch(0.5, f"{said} Give an image and its mask the same name.")
        truth, region, messages = _choose_truth_mask(candidates, region, case_files, root)
    main_image = max(
        images, key=lambda r: (sum(r in d.files and truth in d.files for d in case_files), -roles.index(r))
    )
    count = sum(main_image in d.files for d in case_files)
    channels = [r for r in images if sum(r in d.files and main_image in d.files for d in case_files) >= 0.9 * count]
    named = [r for r in channels if role_kinds.get(r) == "image"]
    if named and len(named) < len(channels) and not all(parse_modality(r) for r in channels):
        channels = named
    ignored = [r for r in (*images, *masks) if r not in (*channels, truth, region)]
    if ignored:
        messages.append(f"Not used: {', '.join(ignored)}.")
    return Roles(tuple(channels), truth, region, tuple(messages))


def _role_from_hint(hint: str | None, roles: Sequence[str], option: str, root: Path) -> str | None:
    if hint is None:
        return None
    wanted = Path(hint).name
    found = [r for r in roles if r in (hint, wanted)] or [r for r in roles if hint.lower() in r.lower()]
    if len(found) != 1:
        which = "fits none" if not found else "fits several"
        near = suggest_name(wanted, roles)
        raise HintError(
            f"--{option} {hint!r} {which} of {quote_first(roles, 8)} in {str(root)!r}.{near} Name one of them."
        )
    return found[0]


def is_mask_role(role: str, case_files: Sequence[CaseFiles], role_kinds: Mapping[str, str]) -> bool:
    """Tell whether a role holds masks: by its name, else by whether its files hold few whole numbers."""
    if role in role_kinds:
        return role_kinds[role] == "mask"
    files = [d.files[role] for d in case_files if role in d.files]
    chosen = [files[i] for i in evenly_spaced_indices(len(files), SAMPLE_SIZE)]
    return bool(chosen) and all(_has_few_values(f) for f in chosen)


def _has_few_values(path: Path) -> bool:
    try:
        values, counts = count_values(read_labels(path).array)
    except (MedgradError, OSError, ValueError):
        return False
    if len(values) <= MAX_MASK_VALUES:
        return True
    ends = (values <= 20) | ((values >= 235) & (values <= 255))
    return bool(values.max() <= 255 and counts[ends].sum() >= 0.97 * counts.sum() and counts[values >= 235].sum() > 0)


def _choose_truth_mask(
    masks: list[str], roi: str | None, case_files: Sequence[CaseFiles], root: Path
) -> tuple[str, str | None, list[str]]:
    """Choose the truth among masks: the only one, or the one that lies almost wholly within another.

    The other one is then the region that counts.
    """
    if len(masks) == 1:
        return masks[0], roi, []
    if len(masks) == 2 and roi is None:
        for inner, outer in (masks, masks[::-1]):
            share = _share_contained(inner, outer, case_files)
            if share is not None:
                message = f"{outer!r} holds {share:.1%} of {inner!r}, so it is taken as the region that counts."
                return inner, outer, [message]
    raise LayoutError(
        f"{str(root)!r} has several masks: {', '.join(masks)}. Say which is the truth with --truth {masks[0]} or "
        f"--truth {masks[1]}, and with --roi which is the region that counts, if one is."
    )


def _share_contained(inner: str, outer: str, case_files: Sequence[CaseFiles]) -> float | None:
    """Give the share of one mask that lies within another, if the other may be a region by its name or its size."""
    if set(split_words(inner)) & REGION_WORDS - {"roi", "rois"}:
        return None
    both = [d for d in case_files if inner in d.files and outer in d.files]
    chosen = [both[i] for i in evenly_spaced_indices(len(both), SAMPLE_SIZE)]
    inside, whole, area, size = 0, 0, 0, 0
    for draft in chosen:
        try:
            a, b = (read_labels(draft.files[r]).array > 0 for r in (inner, outer))
        except (MedgradError, OSError, ValueError):
            continue
        if a.shape != b.shape:
            return None
        inside, whole = inside + int((a & b).sum()), whole + int(a.sum())
        area, size = area + int(b.sum()), size + b.size
    if not whole or inside == 0:
        return None
    is_named = bool(set(split_words(outer)) & REGION_WORDS)
    share = inside / whole
    is_region = (is_named and share >= 0.9) or (share >= 0.99 and area >= 0.3 * size and area > 2 * whole)
    return share if is_region else None


def read_image_shape(source: Source) -> tuple[int, ...]:
    """Read the grid shape of an image; empty if it cannot be read."""
    try:
        return read(source).grid.shape
    except (MedgradError, OSError, ValueError):
        return ()

"""Build a segmentation cohort from files grouped by case: which are images, which the truth, which the region."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from ....errors import LayoutError, MedgradError, nearest
from ...formats import read, read_labels
from ...source import Source
from ..cohort import Cohort, Entry
from ..patients import with_patients
from ..split_files import with_split_beside
from ._files import MASK_WORDS, REGION_WORDS, modality_of, some, words_of
from ._labels import Meaning, Seen, counted, meaning, seen_in
from ._layout import HintError, Hints, NoMatch
from ._side_table import patients_by_tag, told_beside

MOST_MASK_VALUES = 64
SAMPLE = 8


@dataclass(frozen=True)
class Draft:
    """The files of one case by role; a role is the folder or the part of the name that they share with other cases."""

    id: str
    files: Mapping[str, Path]
    side: str | None = None
    name: str = ""  # what to read the patient from, if not the id
    patient: str = ""  # whose it is, where the layout says so
    also: Mapping[str, tuple[Path, ...]] = field(default_factory=dict)  # further files of a role


@dataclass(frozen=True)
class Roles:
    """The roles of the files of a case: which are images, which is the truth, and which the region, if any."""

    images: tuple[str, ...]
    truth: str
    region: str | None = None
    told: tuple[str, ...] = field(default_factory=tuple)


def assemble(
    root: Path, drafts: Sequence[Draft], hints: Hints, *, layout: str, likely: Mapping[str, str]
) -> Cohort | NoMatch:
    """Build the segmentation cohort of some cases.

    ``likely`` says of a role whether its name is of an image or a mask.
    """
    roles = assign_roles(drafts, hints, likely, root)
    if isinstance(roles, NoMatch):
        return roles
    told = list(roles.told)
    kept = [d for d in drafts if all(r in d.files for r in roles.images)]
    lost = [d.id for d in drafts if roles.truth in d.files and not all(r in d.files for r in roles.images)]
    if lost:
        told.append(f"{len(lost)} case(s) lack an image and are left out: {some(lost)}.")
    if not any(roles.truth in d.files for d in kept):
        return NoMatch(0.5, f"no image in it goes with a mask in {roles.truth!r}. Give both the same name.")
    if not _some_fit(kept, roles):
        said = f"what looks like masks, {roles.truth!r}, does not have the shape of {roles.images[0]!r}."
        return NoMatch(0.5, f"{said} Save each mask with the size of its image, or name the masks with --truth.")
    bare = [d.id for d in kept if roles.truth not in d.files]
    if bare:
        told.append(f"{len(bare)} case(s) have no mask and stand on no side: {some(bare)}.")
    several = [d.id for d in kept if d.also.get(roles.truth)]
    if several:
        told.append(f"{len(several)} case(s) have several masks, laid over each other: {some(several)}.")
    images = roles.images if len(roles.images) > 1 else ("image",)
    if len(images) > 1:
        told.append(f"Each case has {len(images)} images: {', '.join(images)}.")
    entries = tuple(_entry(d, roles, images) for d in kept)
    modalities = {n: m for n, r in zip(images, roles.images, strict=True) if (m := modality_of(r))}
    cohort = Cohort(root, layout, "segmentation", entries, told=tuple(told), modalities=modalities)
    whose = {d.id: d.patient for d in kept if d.patient}
    how = f"the folder, {next(iter(whose.values()))!r} for {next(iter(whose))!r}" if whose else ""
    names = [d.name or d.id for d in kept]
    return finished(with_labels(cohort, roles.truth), root, names=names, patients=whose, patients_from=how)


def _some_fit(drafts: Sequence[Draft], roles: Roles) -> bool:
    """Tell whether any of up to four sampled masks has the shape of its image; true where no shape can be read."""
    both = [d for d in drafts if roles.truth in d.files]
    pairs = [
        (a, b)
        for i in spread(len(both), 4)
        if (a := image_shape(Source(both[i].files[roles.images[0]])))
        and (b := image_shape(Source(both[i].files[roles.truth])))
    ]
    return not pairs or any(tuple(v for v in a if v > 1) == tuple(v for v in b if v > 1) for a, b in pairs)


def spread(n: int, most: int) -> list[int]:
    """Give at most ``most`` evenly spaced indices below ``n``."""
    return sorted({int(i) for i in np.linspace(0, n - 1, min(n, most))}) if n else []


def _entry(draft: Draft, roles: Roles, names: Sequence[str]) -> Entry:
    has_truth = roles.truth in draft.files
    region = draft.files.get(roles.region) if roles.region else None
    return Entry(
        draft.id,
        {name: Source(draft.files[role]) for name, role in zip(names, roles.images, strict=True)},
        Source(draft.files[roles.truth], also=draft.also.get(roles.truth, ())) if has_truth else None,
        split=draft.side if has_truth else None,
        region=Source(region) if region else None,
    )


def with_labels(cohort: Cohort, name: str, known: Meaning | None = None) -> Cohort:
    """Read the label files of a cohort; add its labels, its number of axes, and the labels of each case as metadata."""
    sources = {e.id: e.truth for e in cohort.entries if isinstance(e.truth, Source)}
    seen = seen_in(sources)
    found = known or meaning(seen, label_name(name), n_files=len(sources))
    told = [*cohort.told, *found.told]
    broken = [i for i, s in seen.items() if s.error]
    if broken:
        told.append(f"{len(broken)} label file(s) cannot be read: {some(broken)}.")
    dims = dims_of([s.shape for s in seen.values() if s.shape])
    entries = tuple(_noted(e, seen.get(e.id), found) for e in cohort.entries)
    return replace(
        cohort,
        entries=entries,
        labels=found.labels,
        values=found.values,
        above=found.above,
        dims=dims,
        told=tuple(told),
    )


def label_name(name: str) -> str:
    """Name the single label of a set after its role, or ``foreground`` where the role only says that it is a mask."""
    words = [w for w in words_of(name) if w not in MASK_WORDS or w in ("lesion", "lesions")]
    return "_".join(words) or "foreground"


def _noted(entry: Entry, seen: Seen | None, found: Meaning) -> Entry:
    if seen is None or seen.error:
        return entry
    held = [n for n, v in zip(found.labels, found.values, strict=False) if v in seen.values]
    if not found.values and seen.foreground:
        held = list(found.labels)
    return replace(entry, notes={**entry.notes, "labels": tuple(held), "foreground": seen.foreground})


def dims_of(shapes: Sequence[tuple[int, ...]]) -> int:
    """Give 2 if all shapes are flat (a single slice counts as flat), else 3.

    >>> dims_of([(64, 64, 1), (32, 32, 1)]), dims_of([(64, 64, 9), (64, 64, 1)])
    (2, 3)
    """
    deep = [s for s in shapes if sum(v > 1 for v in s) > 2]
    return 3 if deep or (not shapes) else 2


def finished(
    cohort: Cohort,
    root: Path,
    *,
    names: Sequence[str] | None = None,
    patients: Mapping[str, str] | None = None,
    patients_from: str = "",
) -> Cohort:
    """Complete a cohort: add patients and splits from side files and DICOM tags, and check that case ids are unique.

    Patients come from a table beside the cases, else from ``patients`` by case id, else from ``names``.
    """
    twice = [i for i, n in Counter(e.id for e in cohort.entries).items() if n > 1]
    if twice:
        raise LayoutError(f"{str(root)!r} has two cases named {twice[0]!r}. Rename the files of one.")
    beside = told_beside(cohort, root) if root.is_dir() else None
    if beside and beside.patients:
        patients, patients_from = beside.patients, beside.patients_from
    if not patients and (tags := patients_by_tag(cohort)):
        patients, patients_from = tags, f"the DICOM tag PatientID, such as {next(iter(tags.values()))!r}"
    cohort = with_patients(cohort, patients, known_from=patients_from, names=names)
    if root.is_dir():
        cohort = with_split_beside(cohort, root)
    if beside and beside.sides and not any(e.split for e in cohort.entries):
        entries = tuple(replace(e, split=beside.sides.get(e.id)) for e in cohort.entries)
        cohort = replace(cohort, entries=entries, told=(*cohort.told, beside.split_told))
    return without_unjudged_sides(cohort)


def without_unjudged_sides(cohort: Cohort) -> Cohort:
    """Remove cases without truth from their split: they can neither train nor be judged."""
    return replace(
        cohort, entries=tuple(replace(e, split=None if e.truth is None else e.split) for e in cohort.entries)
    )


def assign_roles(drafts: Sequence[Draft], hints: Hints, likely: Mapping[str, str], root: Path) -> Roles | NoMatch:
    """Decide which roles are images, truth and region: by the hints, by words in the names, and by file contents."""
    roles = list(dict.fromkeys(r for d in drafts for r in d.files))
    truth = _hinted(hints.truth, roles, "truth", root)
    region = _hinted(hints.roi, roles, "roi", root)
    masks = [r for r in roles if r in (truth, region) or is_mask(r, drafts, likely)]
    images = [r for r in roles if r not in masks]
    if not images:
        said = f"{some(roles)} look like masks, and no images go with them. Put the images into a folder beside them."
        return NoMatch(0.4, said) if roles else NoMatch(0.0, "it holds no images.")
    told: list[str] = []
    if truth is None:
        left = [m for m in masks if m != region]
        if not left:
            return NoMatch(0.2, f"{some(images)} hold images, but nothing holds masks.")
        left = [m for m in left if any(m in d.files and set(images) & set(d.files) for d in drafts)]
        if not left:
            said = f"its masks, {some(masks)}, do not go with images by their names."
            return NoMatch(0.5, f"{said} Give an image and its mask the same name.")
        truth, region, told = _of_masks(left, region, drafts, root)
    main = max(images, key=lambda r: (sum(r in d.files and truth in d.files for d in drafts), -roles.index(r)))
    count = sum(main in d.files for d in drafts)
    channels = [r for r in images if sum(r in d.files and main in d.files for d in drafts) >= 0.9 * count]
    named = [r for r in channels if likely.get(r) == "image"]
    if named and len(named) < len(channels) and not all(modality_of(r) for r in channels):
        channels = named
    ignored = [r for r in (*images, *masks) if r not in (*channels, truth, region)]
    if ignored:
        told.append(f"Not used: {', '.join(ignored)}.")
    return Roles(tuple(channels), truth, region, tuple(told))


def _hinted(hint: str | None, roles: Sequence[str], setting: str, root: Path) -> str | None:
    if hint is None:
        return None
    wanted = Path(hint).name
    found = [r for r in roles if r in (hint, wanted)] or [r for r in roles if hint.lower() in r.lower()]
    if len(found) != 1:
        which = "fits none" if not found else "fits several"
        near = nearest(wanted, roles)
        raise HintError(f"--{setting} {hint!r} {which} of {some(roles, 8)} in {str(root)!r}.{near} Name one of them.")
    return found[0]


def is_mask(role: str, drafts: Sequence[Draft], likely: Mapping[str, str]) -> bool:
    """Tell whether a role holds masks: by its name, else by whether its files hold few whole numbers."""
    if role in likely:
        return likely[role] == "mask"
    files = [d.files[role] for d in drafts if role in d.files]
    chosen = [files[i] for i in spread(len(files), SAMPLE)]
    return bool(chosen) and all(_has_few_values(f) for f in chosen)


def _has_few_values(path: Path) -> bool:
    try:
        values, counts = counted(read_labels(path).array)
    except (MedgradError, OSError, ValueError):
        return False
    if len(values) <= MOST_MASK_VALUES:
        return True
    ends = (values <= 20) | ((values >= 235) & (values <= 255))
    return bool(values.max() <= 255 and counts[ends].sum() >= 0.97 * counts.sum() and counts[values >= 235].sum() > 0)


def _of_masks(
    masks: list[str], region: str | None, drafts: Sequence[Draft], root: Path
) -> tuple[str, str | None, list[str]]:
    """Choose the truth among masks: the only one, or the one that lies almost wholly within another.

    The other one is then the region that counts.
    """
    if len(masks) == 1:
        return masks[0], region, []
    if len(masks) == 2 and region is None:
        for inner, outer in (masks, masks[::-1]):
            share = _contained(inner, outer, drafts)
            if share is not None:
                told = f"{outer!r} holds {share:.1%} of {inner!r}, so it is taken as the region that counts."
                return inner, outer, [told]
    raise LayoutError(
        f"{str(root)!r} has several masks: {', '.join(masks)}. Say which is the truth with --truth {masks[0]} or "
        f"--truth {masks[1]}, and with --roi which is the region that counts, if one is."
    )


def _contained(inner: str, outer: str, drafts: Sequence[Draft]) -> float | None:
    """Give the share of one mask that lies within another, if the other may be a region by its name or its size."""
    if set(words_of(inner)) & REGION_WORDS - {"roi", "rois"}:
        return None
    both = [d for d in drafts if inner in d.files and outer in d.files]
    chosen = [both[i] for i in spread(len(both), SAMPLE)]
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
    is_named = bool(set(words_of(outer)) & REGION_WORDS)
    share = inside / whole
    is_region = (is_named and share >= 0.9) or (share >= 0.99 and area >= 0.3 * size and area > 2 * whole)
    return share if is_region else None


def image_shape(source: Source) -> tuple[int, ...]:
    """Read the grid shape of an image; empty if it cannot be read."""
    try:
        return read(source).grid.shape
    except (MedgradError, OSError, ValueError):
        return ()

"""A tree of DICOM patients: image series with their SEG or RTSTRUCT files."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from ....errors import FormatError, LayoutError
from ...dicom.header import load_header
from ...dicom.image import MODALITY, list_first_files
from ...dicom.index import SeriesInfo, list_series
from ...file_result_cache import FileResultCache
from ...formats import cache_case_files, find_format
from ...source import Source
from ..cohort import Cohort, Entry
from ._files import MODALITY_WORDS, quote_first
from ._layout import Hints, NoMatch
from ._segmentation_cohort import finish_cohort

TRUTH_MODALITIES = ("SEG", "RTSTRUCT")
REGION_NAME_CACHE: FileResultCache[tuple[str, ...]] = FileResultCache()
SeriesWithTruth = tuple[SeriesInfo, tuple[Path, ...]]


def dicom_tree(folder: Path, hints: Hints) -> Cohort | NoMatch:
    """Recognise DICOM series with SEG or RTSTRUCT files that refer to them.

    Each pair is a case, in any folder structure.
    """
    if folder.is_file() or not any(load_header(p).is_dicom for p in list_first_files(folder)):
        return NoMatch(0.0, "it begins with no DICOM files.")
    if hints.rules_out("label_map"):
        return NoMatch(0.1, f"labels and contours do not serve {hints.task}.")
    every = list_series(folder)
    truths = [s for s in every if s.modality in TRUTH_MODALITIES]
    images = [s for s in every if s.modality not in TRUTH_MODALITIES and s.has_images and not s.is_localizer]
    if not truths:
        return NoMatch(
            0.35 if images else 0.0,
            "its DICOM series have no SEG or RTSTRUCT beside them. Add those that were drawn on them.",
        )
    messages: list[str] = []
    pairs = match_truth_to_series(images, truths, hints, messages)
    if not pairs:
        return NoMatch(0.5, "no SEG or RTSTRUCT in it was drawn on a series that is there.")
    names = list_hint_names(truths) if hints.truth else []
    if hints.truth and not any(hints.truth.lower() in name.lower() for name in names):
        return NoMatch(
            0.7, f"--truth {hints.truth!r} is in no name of a SEG, RTSTRUCT or region: {quote_first(names)}."
        )
    loose = len(images) - len({image.series_uid for image, _ in pairs})
    if loose:
        messages.append(f"{loose} image series have no labels or contours and are not used.")
    return _build_cohort(folder, pairs, hints, messages)


def match_truth_to_series(
    images: Sequence[SeriesInfo], truths: Sequence[SeriesInfo], hints: Hints, messages: list[str]
) -> list[SeriesWithTruth]:
    """Match each truth with the image series that it references, else the only one in its frame of reference."""
    by_uid = {s.series_uid: s for s in images}
    found: dict[str, list[SeriesInfo]] = {}
    unmatched = []
    for truth in truths:
        named = [by_uid[r] for r in truth.referenced_series if r in by_uid]
        if not truth.referenced_series:
            frame = truth.frame_of_reference
            named = [s for s in images if frame and s.frame_of_reference == frame and s.study_uid == truth.study_uid]
        if len(named) == 1:
            found.setdefault(named[0].series_uid, []).append(truth)
        else:
            unmatched.append(truth.files[0].name)
    if unmatched:
        messages.append(
            f"{len(unmatched)} SEG or RTSTRUCT files were drawn on no single series that is here: "
            f"{quote_first(unmatched)}."
        )
    return [(by_uid[uid], _choose_truth_files(by_uid[uid], several, hints)) for uid, several in found.items()]


def list_hint_names(truths: Sequence[SeriesInfo]) -> list[str]:
    """List what the truth hint may name: files, series descriptions, and regions."""
    files = [f for t in truths for f in t.files]
    words = [*(r for f in files for r in regions_in(f)), *(t.description for t in truths), *map(str, files)]
    return [w for w in dict.fromkeys(words) if w]


def _choose_truth_files(image: SeriesInfo, truths: Sequence[SeriesInfo], hints: Hints) -> tuple[Path, ...]:
    """Choose the truth files of a series: one, or several with different regions.

    Raise if several have the same region.
    """
    if len(truths) > 1 and hints.truth:
        wanted = hints.truth.lower()
        truths = [t for t in truths if wanted in t.description.lower() or wanted in str(t.files[0]).lower()] or truths
    files = [f for t in truths for f in t.files]
    named = Counter(r for f in files for r in set(regions_in(f)))
    if len(files) > 1 and (not named or max(named.values()) > 1):
        raise LayoutError(
            f"The series {image.description or image.series_uid!r} of {image.patient!r} has {len(files)} sets of "
            f"labels: {str(files[0])!r} and {str(files[1])!r}. Say which with --truth, by a word in its name or "
            "description."
        )
    return tuple(files)


def _build_cohort(folder: Path, pairs: Sequence[SeriesWithTruth], hints: Hints, messages: list[str]) -> Cohort:
    patients, how = infer_patients(folder, [image for image, _ in pairs])
    ids = make_case_ids([image for image, _ in pairs], patients)
    regions = {one: [r for f in files for r in regions_in(f)] for one, (_, files) in zip(ids, pairs, strict=True)}
    every = list(dict.fromkeys(r for names in regions.values() for r in names))
    item = ""
    if hints.truth in every:
        item, every = str(hints.truth), [str(hints.truth)]
    aliases = merge_region_names(every, messages)
    labels = tuple(dict.fromkeys(aliases.values()))
    if len(labels) > 255:
        raise LayoutError(f"{str(folder)!r} names {len(labels)} regions, too many to be labels. Name one with --truth.")
    for label in labels:
        without = [i for i, names in regions.items() if not any(aliases.get(n) == label for n in names)]
        if without:
            messages.append(f"{label!r} is not drawn in {len(without)} of {len(ids)} cases: {quote_first(without)}.")
    kinds = Counter(image.modality for image, _ in pairs)
    if len(kinds) > 1:
        said = ", ".join(f"{n} {kind}" for kind, n in kinds.items())
        messages.append(f"The series are of several modalities ({said}); each is a case of its own.")
    entries = tuple(
        Entry(
            one,
            {"image": make_series_source(image)},
            make_truth_source(files, item),
            metadata={"labels": tuple(dict.fromkeys(aliases[r] for r in regions[one] if r in aliases)),
                   "date": image.study_date, "modality": MODALITY.get(image.modality, "other")},
        )
        for one, (image, files) in zip(ids, pairs, strict=True)
        if not item or item in regions[one]
    )  # fmt: skip
    cohort = Cohort(
        folder, "dicom_tree", "segmentation", entries, labels, messages=tuple(messages), label_aliases=aliases
    )
    return finish_cohort(cohort, folder, patients=dict(zip(ids, patients, strict=True)), patients_source=how)


def regions_in(path: Path) -> list[str]:
    """Give the cached region names of a SEG or RTSTRUCT; empty if it cannot be read, which is reported at loading."""
    return list(REGION_NAME_CACHE.get_or_compute(path, read_region_names))


def read_region_names(path: Path) -> tuple[str, ...]:
    """Read the region names of a SEG or RTSTRUCT, opening it once."""
    try:
        with cache_case_files([path]):
            return tuple(find_format(path).list_items(path))
    except FormatError:
        return ()


def make_truth_source(files: Sequence[Path], item: str) -> Source:
    """Make the source of a truth: all its files, or the one file that holds the requested region."""
    if item:
        return Source(next(f for f in files if item in regions_in(f)), item)
    return Source(files[0], extra_paths=tuple(files[1:]))


def make_series_source(series: SeriesInfo) -> Source:
    """Make the source of a series: its single file, or the common folder of its files with its UID."""
    if len(series.files) == 1:
        return Source(series.files[0])
    folders = {f.parent for f in series.files}
    folder = next(iter(folders))
    while any(folder not in (f, *f.parents) for f in folders):
        folder = folder.parent
    return Source(folder, series.series_uid)


def infer_patients(folder: Path, images: Sequence[SeriesInfo]) -> tuple[list[str], str]:
    """Give the patient of each series: its tag PatientID, or its top folder where the tags are all the same."""
    tags = [s.patient for s in images]
    tops = [s.files[0].relative_to(folder).parts[0] for s in images]
    if all(tags) and (len(set(tags)) > 1 or len(set(tops)) == 1 or len({s.study_uid for s in images}) == 1):
        return tags, f"the DICOM tag PatientID, such as {tags[0]!r}"
    return tops, f"the folder, such as {tops[0]!r}, because the DICOM tag PatientID does not tell them apart"


def make_case_ids(images: Sequence[SeriesInfo], patients: Sequence[str]) -> list[str]:
    """Make a unique id for each series from patient and, as far as needed, date, modality and description."""
    ids = list(patients)
    for extra in ("study_date", "modality", "description"):
        counts = Counter(ids)
        if max(counts.values()) == 1:
            break
        if len({getattr(s, extra) for s in images}) > 1:
            ids = [f"{i}_{getattr(s, extra)}" for i, s in zip(ids, images, strict=True)]
    ids = [re.sub(r"[^\w.\-]+", "-", i).strip("-.") or "case" for i in ids]
    counts = Counter(ids)
    numbers: Counter[str] = Counter()
    found = []
    for one in ids:
        numbers[one] += 1
        found.append(f"{one}_{numbers[one]}" if counts[one] > 1 else one)
    return found


def merge_region_names(region_names: Sequence[str], messages: list[str]) -> dict[str, str]:
    """Map region names to labels; names that differ only in case, punctuation or modality share a label.

    >>> merge_region_names(["GTV_Mass_CT", "GTV_Mass_PET"], [])
    {'GTV_Mass_CT': 'GTV_Mass', 'GTV_Mass_PET': 'GTV_Mass'}
    """
    names_by_core: dict[str, list[str]] = {}
    for name in region_names:
        words = [w for w in re.split(r"[^A-Za-z0-9]+", name) if w]
        core = "_".join(w for w in words if w.lower() not in MODALITY_WORDS) or "_".join(words) or name
        names_by_core.setdefault(core.lower(), []).append(name)
    aliases = {}
    for core, variants in names_by_core.items():
        first = variants[0]
        if len(variants) == 1:
            aliases[first] = first
            continue
        words = [w for w in re.split(r"[^A-Za-z0-9]+", first) if w and w.lower() not in MODALITY_WORDS]
        label = "_".join(words) or core
        aliases |= dict.fromkeys(variants, label)
        messages.append(f"The regions {quote_first(variants, 4)} are taken for one label, {label!r}.")
    return aliases


dicom_tree.order = 15  # type: ignore[attr-defined]
dicom_tree.hints = ("truth",)  # type: ignore[attr-defined]
THIS = dicom_tree

"""Images and masks in the same folder: a folder for each case, for each patient with dates, or for all cases."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from ..cohort import Cohort
from ..patients import WORDS
from ._assemble import Draft, assemble
from ._files import (
    IMAGE_WORDS,
    MASK_WORDS,
    MODALITY_WORDS,
    REGION_WORDS,
    images_in,
    side_and_rest,
    some,
    stem_of,
    words_of,
)
from ._layout import Hints, NoMatch
from .parallel_folders import likely_roles

ROLE_WORDS = MASK_WORDS | REGION_WORDS | IMAGE_WORDS | set(MODALITY_WORDS)
CHANNEL = re.compile(r"^000\d$")
MOST_ROLES = 16
MOST_DATES = 30
PATIENT = re.compile(rf"({WORDS}|p)[-_ ]?\d+", re.IGNORECASE)


def same_folder(folder: Path, hints: Hints) -> Cohort | NoMatch:
    """Recognise folders in which masks lie beside their images, distinguished by words in their names."""
    if folder.is_file():
        return NoMatch(0.0, "it is a file.")
    if hints.task not in (None, "segmentation"):
        return NoMatch(0.1, f"masks beside images do not serve {hints.task}.")
    places: dict[tuple[str | None, str], list[Path]] = {}
    for path in images_in(folder):
        places.setdefault(place_of(path.relative_to(folder).parts[:-1]), []).append(path)
    drafts: list[Draft] = []
    for (side, place), files in places.items():
        found = drafts_in(folder, side, place, files)
        if isinstance(found, NoMatch):
            return found
        drafts += found
    roles = Counter(role for d in drafts for role in d.files)
    likely = likely_roles(list(roles))
    rare = [r for r, n in roles.items() if n < (0.1 * len(drafts) if r in likely else max(2, 0.1 * len(drafts)))]
    if len(roles) - len(rare) > MOST_ROLES or not drafts:
        return NoMatch(0.2 if drafts else 0.0, "the names of its files do not repeat from case to case.")
    kept = [replace(d, files={r: p for r, p in d.files.items() if r not in rare}) for d in drafts]
    cohort = assemble(folder, [d for d in kept if d.files], hints, layout="same_folder", likely=likely)
    if isinstance(cohort, NoMatch) or not rare:
        return cohort
    return replace(cohort, told=(*cohort.told, f"Rare and not used: files such as {some(rare)}."))


def place_of(folders: Sequence[str]) -> tuple[str | None, str]:
    """Give the split and the case or patient folder of a file."""
    side = None
    for folder in folders:
        named, left = side_and_rest(folder) if side is None else (None, folder)
        if named and not left:
            side = named
            continue
        return side, folder
    return side, ""


def drafts_in(root: Path, side: str | None, place: str, files: Sequence[Path]) -> list[Draft] | NoMatch:
    """Group the files of one folder into cases.

    They are one case if each file has a role of its own, else one case for each date or name.
    """
    own = set(words_of(place))
    split = [_date_and_role(path.relative_to(root).parts, own, side) for path in files]
    roles = [role or _joined(date) or "image" for date, role in split]
    one = _one_image_many_masks(roles, files) if place else None
    if one:
        name = f"{side}/{place}" if side else place
        return [Draft(name, one[0], side, place, place, one[1])]
    if place and len(set(roles)) == len(files):
        return [Draft(f"{side}/{place}" if side else place, dict(zip(roles, files, strict=True)), side, place, place)]
    cases: dict[str, dict[str, Path]] = {}
    also: dict[str, dict[str, tuple[Path, ...]]] = {}
    names: dict[str, str] = {}
    for path, (date, role) in zip(files, split, strict=True):
        name = _joined(date)
        held = cases.setdefault(name, {})
        if role in held and set(words_of(role)) <= MASK_WORDS:
            more = also.setdefault(name, {})
            more[role] = (*more.get(role, ()), path)
            continue
        if (role or "image") in held:
            other = held[role or "image"].name
            said = f"{other!r} and {path.name!r} in {place or root.name!r} cannot be told apart."
            return NoMatch(0.4, f"{said} Name each file for what it is, such as image and mask.")
        held[role or "image"] = path
        if not role or name not in names:
            names[name] = stem_of(path) if not role else name
    is_patient = bool(place) and (len(cases) <= MOST_DATES and bool(PATIENT.match(place) or re.search(r"\d", place)))
    front = "/".join(part for part in (side, place) if part)
    return [
        Draft(
            f"{front}/{names[name]}" if front else names[name], held, side,
            f"{place}/{names[name]}" if place else names[name], place if is_patient else "", also.get(name, {}),
        )
        for name, held in cases.items()
    ]  # fmt: skip


def _one_image_many_masks(
    roles: Sequence[str], files: Sequence[Path]
) -> tuple[dict[str, Path], dict[str, tuple[Path, ...]]] | None:
    """Recognise a folder of one image and a mask for each thing in it."""
    counts = Counter(roles)
    masks = [r for r, n in counts.items() if n > 1]
    if len(counts) != 2 or len(masks) != 1 or not set(masks[0].split("_")) <= MASK_WORDS:
        return None
    image = next(r for r in counts if r != masks[0])
    drawn = [f for r, f in zip(roles, files, strict=True) if r == masks[0]]
    return {image: files[roles.index(image)], masks[0]: drawn[0]}, {masks[0]: tuple(drawn[1:])}


def _joined(words: Sequence[str]) -> str:
    return "_".join(words)


def _date_and_role(parts: Sequence[str], own: set[str], side: str | None) -> tuple[list[str], str]:
    """Split the words of a file's path into those of a date or case, and those of its role."""
    words: list[str] = []
    for part in (*parts[:-1], stem_of(Path(parts[-1]))):
        if side and side_and_rest(part) == (side, ""):
            continue
        words += [w for w in words_of(part) if w not in own]
    if len(words) > 2 and words[-1].isdecimal() and words[-2] in MASK_WORDS and not CHANNEL.match(words[-1]):
        words = words[:-1]  # the second mask of a case, as in x_mask_1
    role = list(dict.fromkeys(w for w in words if w in ROLE_WORDS or CHANNEL.match(w)))
    if len(role) > 1:
        role = [w for w in role if w not in IMAGE_WORDS or w in MODALITY_WORDS] or role[:1]
    return list(dict.fromkeys(w for w in words if w not in ROLE_WORDS and not CHANNEL.match(w))), _joined(role)


same_folder.order = 50  # type: ignore[attr-defined]
same_folder.hints = ("truth", "roi")  # type: ignore[attr-defined]
THIS = same_folder

"""Images and masks in the same folder: a folder for each case, for each patient with dates, or for all cases."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from ..cohort import Cohort
from ..patients import PATIENT_PREFIXES
from ._files import (
    IMAGE_WORDS,
    MASK_WORDS,
    MODALITY_WORDS,
    REGION_WORDS,
    file_stem,
    list_images,
    quote_first,
    split_off_split_name,
    split_words,
)
from ._layout import Hints, NoMatch
from ._segmentation_cohort import CaseFiles, build_segmentation_cohort
from .parallel_folders import guess_role_kinds

ROLE_WORDS = MASK_WORDS | REGION_WORDS | IMAGE_WORDS | set(MODALITY_WORDS)
CHANNEL_PATTERN = re.compile(r"^000\d$")
MAX_ROLES = 16
MAX_DATES = 30
PATIENT_PATTERN = re.compile(rf"({PATIENT_PREFIXES}|p)[-_ ]?\d+", re.IGNORECASE)


def same_folder(folder: Path, hints: Hints) -> Cohort | NoMatch:
    """Recognise folders in which masks lie beside their images, distinguished by words in their names."""
    if folder.is_file():
        return NoMatch(0.0, "it is a file.")
    if hints.rules_out("label_map", "image"):
        return NoMatch(0.1, f"masks beside images do not serve {hints.task}.")
    places: dict[tuple[str | None, str], list[Path]] = {}
    for path in list_images(folder):
        places.setdefault(split_and_case_folder(path.relative_to(folder).parts[:-1]), []).append(path)
    drafts: list[CaseFiles] = []
    for (side, place), files in places.items():
        found = group_case_files(folder, side, place, files)
        if isinstance(found, NoMatch):
            return found
        drafts += found
    roles = Counter(role for d in drafts for role in d.files)
    likely = guess_role_kinds(list(roles))
    rare = [r for r, n in roles.items() if n < (0.1 * len(drafts) if r in likely else max(2, 0.1 * len(drafts)))]
    if len(roles) - len(rare) > MAX_ROLES or not drafts:
        return NoMatch(0.2 if drafts else 0.0, "the names of its files do not repeat from case to case.")
    kept = [replace(d, files={r: p for r, p in d.files.items() if r not in rare}) for d in drafts]
    cohort = build_segmentation_cohort(
        folder, [d for d in kept if d.files], hints, layout="same_folder", role_kinds=likely
    )
    if isinstance(cohort, NoMatch) or not rare:
        return cohort
    return replace(cohort, messages=(*cohort.messages, f"Rare and not used: files such as {quote_first(rare)}."))


def split_and_case_folder(folders: Sequence[str]) -> tuple[str | None, str]:
    """Give the split and the case or patient folder of a file."""
    side = None
    for folder in folders:
        named, left = split_off_split_name(folder) if side is None else (None, folder)
        if named and not left:
            side = named
            continue
        return side, folder
    return side, ""


def group_case_files(
    root: Path, split_name: str | None, case_folder: str, files: Sequence[Path]
) -> list[CaseFiles] | NoMatch:
    """Group the files of one folder into cases.

    They are one case if each file has a role of its own, else one case for each date or name.
    """
    folder_words = set(split_words(case_folder))
    split = [_split_date_and_role(path.relative_to(root).parts, folder_words, split_name) for path in files]
    roles = [role or _join_words(date) or "image" for date, role in split]
    one = _match_one_image_many_masks(roles, files) if case_folder else None
    if one:
        name = f"{split_name}/{case_folder}" if split_name else case_folder
        return [CaseFiles(name, one[0], split_name, case_folder, case_folder, one[1])]
    if case_folder and len(set(roles)) == len(files):
        return [
            CaseFiles(
                f"{split_name}/{case_folder}" if split_name else case_folder,
                dict(zip(roles, files, strict=True)),
                split_name,
                case_folder,
                case_folder,
            )
        ]
    cases: dict[str, dict[str, Path]] = {}
    extra_files: dict[str, dict[str, tuple[Path, ...]]] = {}
    names: dict[str, str] = {}
    for path, (date, role) in zip(files, split, strict=True):
        name = _join_words(date)
        held = cases.setdefault(name, {})
        if role in held and set(split_words(role)) <= MASK_WORDS:
            more = extra_files.setdefault(name, {})
            more[role] = (*more.get(role, ()), path)
            continue
        if (role or "image") in held:
            other = held[role or "image"].name
            said = f"{other!r} and {path.name!r} in {case_folder or root.name!r} cannot be told apart."
            return NoMatch(0.4, f"{said} Name each file for what it is, such as image and mask.")
        held[role or "image"] = path
        if not role or name not in names:
            names[name] = file_stem(path) if not role else name
    is_patient = bool(case_folder) and (
        len(cases) <= MAX_DATES and bool(PATIENT_PATTERN.match(case_folder) or re.search(r"\d", case_folder))
    )
    front = "/".join(part for part in (split_name, case_folder) if part)
    return [
        CaseFiles(
            f"{front}/{names[name]}" if front else names[name],
            held,
            split_name,
            f"{case_folder}/{names[name]}" if case_folder else names[name],
            case_folder if is_patient else "",
            extra_files.get(name, {}),
        )
        for name, held in cases.items()
    ]


def _match_one_image_many_masks(
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


def _join_words(words: Sequence[str]) -> str:
    return "_".join(words)


def _split_date_and_role(
    path_parts: Sequence[str], folder_words: set[str], split_name: str | None
) -> tuple[list[str], str]:
    """Split the words of a file's path into those of a date or case, and those of its role."""
    words: list[str] = []
    for part in (*path_parts[:-1], file_stem(Path(path_parts[-1]))):
        if split_name and split_off_split_name(part) == (split_name, ""):
            continue
        words += [w for w in split_words(part) if w not in folder_words]
    if len(words) > 2 and words[-1].isdecimal() and words[-2] in MASK_WORDS and not CHANNEL_PATTERN.match(words[-1]):
        words = words[:-1]  # the second mask of a case, as in x_mask_1
    role = list(dict.fromkeys(w for w in words if w in ROLE_WORDS or CHANNEL_PATTERN.match(w)))
    if len(role) > 1:
        role = [w for w in role if w not in IMAGE_WORDS or w in MODALITY_WORDS] or role[:1]
    return list(dict.fromkeys(w for w in words if w not in ROLE_WORDS and not CHANNEL_PATTERN.match(w))), _join_words(
        role
    )


same_folder.order = 50  # type: ignore[attr-defined]
same_folder.hints = ("truth", "roi")  # type: ignore[attr-defined]
THIS = same_folder

"""Parallel folders of images and masks, whose files are matched by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from ..cohort import Cohort
from ._files import (
    IMAGE_WORDS,
    MASK_WORDS,
    REGION_WORDS,
    count_shared_ends,
    file_stem,
    list_images,
    quote_first,
    split_letters_and_digits,
    split_off_split_name,
    split_words,
)
from ._layout import Hints, NoMatch
from ._segmentation_cohort import CaseFiles, build_segmentation_cohort

FileKey = tuple[str | None, str]
FilesByKey = dict[FileKey, Path]

MAX_FOLDERS = 12
FILLER_WORDS = IMAGE_WORDS | MASK_WORDS | REGION_WORDS | {"1st", "2nd", "manual1", "manual2", "st", "nd"}


def parallel_folders(folder: Path, hints: Hints) -> Cohort | NoMatch:
    """Recognise parallel folders of images and masks, also below a folder for each split."""
    if folder.is_file():
        return NoMatch(0.0, "it is a file.")
    if hints.rules_out("label_map", "image"):
        return NoMatch(0.1, f"folders of masks do not serve {hints.task}.")
    files = list_images(folder)
    misses = []
    for kinds in (group_by_first_folder(folder, files), group_by_full_folder(folder, files)):
        if not 2 <= len(kinds) <= MAX_FOLDERS:
            misses.append(NoMatch(0.1, "it has no folders of images and masks side by side."))
            continue
        drafts, messages = match_folders(kinds, {} if hints.wanted_kind == "image" else guess_role_kinds(kinds))
        if isinstance(drafts, NoMatch):
            misses.append(drafts)
            continue
        found = build_segmentation_cohort(
            folder, drafts, hints, layout="parallel_folders", role_kinds=guess_role_kinds(kinds)
        )
        if isinstance(found, Cohort):
            from dataclasses import replace

            return replace(found, messages=(*found.messages, *messages))
        misses.append(found)
    return max(misses, key=lambda m: m.closeness)


def guess_role_kinds(roles: Sequence[str] | Mapping[str, FilesByKey]) -> dict[str, str]:
    """Guess for each role from its name whether it is an image or a mask.

    Roles whose name does not tell are left out.
    """
    likely = {}
    for role in roles:
        words = set(split_words(role)) | set(split_letters_and_digits(role))
        if words & (MASK_WORDS | REGION_WORDS):
            likely[role] = "mask"
        elif words & IMAGE_WORDS:
            likely[role] = "image"
    return likely


def group_by_first_folder(root: Path, files: Sequence[Path]) -> dict[str, FilesByKey]:
    """Group files by the first folder that names no split; the rest of the path is the key."""
    kinds: dict[str, FilesByKey] = {}
    for path in files:
        side, parts = _strip_split_names(path.relative_to(root).parts[:-1])
        if parts:
            kinds.setdefault(parts[0], {})[side, "/".join([*parts[1:], file_stem(path)])] = path
    return kinds


def group_by_full_folder(root: Path, files: Sequence[Path]) -> dict[str, FilesByKey]:
    """Group files by all folders that name no split; the file's stem is the key."""
    kinds: dict[str, FilesByKey] = {}
    for path in files:
        side, parts = _strip_split_names(path.relative_to(root).parts[:-1])
        if parts:
            kinds.setdefault("/".join(parts), {})[side, file_stem(path)] = path
    return kinds


def _strip_split_names(folders: Sequence[str]) -> tuple[str | None, list[str]]:
    side, rest = None, []
    for folder in folders:
        named, left = split_off_split_name(folder) if side is None else (None, folder)
        side = side or named
        if left:
            rest.append(left)
    return side, rest


def match_folders(
    files_by_folder: Mapping[str, FilesByKey], likely: Mapping[str, str]
) -> tuple[list[CaseFiles] | NoMatch, list[str]]:
    """Match the files of all folders with those of the best-matched image folder, case by case.

    ``likely`` says of a folder whether it holds images or masks; nothing, where all are images.
    """
    images = [k for k in files_by_folder if likely.get(k) != "mask"] or list(files_by_folder)
    best: tuple[int, str, dict[str, dict[FileKey, FileKey]]] = (0, "", {})
    for main_folder in images:
        matches = {
            k: m
            for k in files_by_folder
            if k != main_folder and (m := match_keys(files_by_folder[main_folder], files_by_folder[k]))
        }
        n = max((len(m) for k, m in matches.items() if likely.get(k) != "image"), default=0)
        if (n, likely.get(main_folder) == "image") > (best[0], likely.get(best[1]) == "image"):
            best = (n, main_folder, matches)
    n, main_folder, matches = best
    smallest = min(len(files) for files in files_by_folder.values())
    if not n or n < 0.5 * max(smallest, 1):
        has_both = set(likely.values()) == {"image", "mask"}
        said = f"the files in the folders {quote_first(files_by_folder)} do not pair up by name."
        return NoMatch(0.5 if has_both else 0.1, f"{said} Give an image and its mask the same name."), []
    messages = []
    for kind, match in matches.items():
        loose = set(files_by_folder[kind]) - set(match.values())
        if loose:
            messages.append(
                f"{len(loose)} file(s) in {kind!r} go with no image: {quote_first(sorted(k for _, k in loose))}."
            )
    return [
        _make_case_files(key, main_folder, files_by_folder, matches) for key in files_by_folder[main_folder]
    ], messages


def _make_case_files(
    key: FileKey,
    main_folder: str,
    files_by_folder: Mapping[str, FilesByKey],
    matches: Mapping[str, dict[FileKey, FileKey]],
) -> CaseFiles:
    side, name = key
    clash = sum(other == name for _, other in files_by_folder[main_folder]) > 1
    files = {
        main_folder: files_by_folder[main_folder][key],
        **{k: files_by_folder[k][m[key]] for k, m in matches.items() if key in m},
    }
    return CaseFiles(f"{side}/{name}" if clash and side else name, files, side, name)


def match_keys(images: FilesByKey, masks: FilesByKey) -> dict[FileKey, FileKey]:
    """Match the keys of two folders: equal names, else names that are equal without filler words."""
    equal = {key: key for key in images if key in masks}
    if len(equal) >= 0.9 * min(len(images), len(masks)):
        return equal
    best = equal
    for keep_side in (True, False):
        left, right = (_map_cores_to_keys(f, keep_side) for f in (images, masks))
        found = {key: right[core] for core, key in left.items() if core in right}
        best = max(best, found, key=len)
    return best


def _map_cores_to_keys(files: FilesByKey, keep_split: bool) -> dict[FileKey, FileKey]:
    """Map the core of each name to its key; cores that two files share are left out."""
    rows = [_strip_filler_words(split_letters_and_digits(name)) for _, name in files]
    front, back = count_shared_ends(rows)
    cores: dict[FileKey, list[FileKey]] = {}
    for key, row in zip(files, rows, strict=True):
        core = "_".join(row[front : len(row) - back])
        cores.setdefault((key[0] if keep_split else None, core), []).append(key)
    return {core: keys[0] for core, keys in cores.items() if len(keys) == 1}


def _strip_filler_words(runs: list[str]) -> list[str]:
    """Strip words such as mask and image from both ends of a name, and a number that follows one at the end."""
    while len(runs) > 1 and runs[0] in FILLER_WORDS:
        runs = runs[1:]
    while len(runs) > 1 and runs[-1] in FILLER_WORDS:
        runs = runs[:-1]
    if len(runs) > 2 and runs[-1].isdecimal() and runs[-2] in MASK_WORDS:
        runs = _strip_filler_words(runs[:-1])
    return runs


parallel_folders.order = 40  # type: ignore[attr-defined]
parallel_folders.hints = ("truth", "roi")  # type: ignore[attr-defined]
THIS = parallel_folders

"""Parallel folders of images and masks, whose files are matched by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from ..cohort import Cohort
from ._assemble import Draft, assemble
from ._files import (
    IMAGE_WORDS,
    MASK_WORDS,
    REGION_WORDS,
    images_in,
    runs_of,
    shared_ends,
    side_and_rest,
    some,
    stem_of,
    words_of,
)
from ._layout import Hints, NoMatch

Key = tuple[str | None, str]
Files = dict[Key, Path]

MOST_FOLDERS = 12
FILLING = IMAGE_WORDS | MASK_WORDS | REGION_WORDS | {"1st", "2nd", "manual1", "manual2", "st", "nd"}


def parallel_folders(folder: Path, hints: Hints) -> Cohort | NoMatch:
    """Recognise parallel folders of images and masks, also below a folder for each split."""
    if folder.is_file():
        return NoMatch(0.0, "it is a file.")
    if hints.task not in (None, "segmentation"):
        return NoMatch(0.1, f"folders of masks do not serve {hints.task}.")
    files = images_in(folder)
    misses = []
    for kinds in (by_first_folder(folder, files), by_whole_folder(folder, files)):
        if not 2 <= len(kinds) <= MOST_FOLDERS:
            misses.append(NoMatch(0.1, "it has no folders of images and masks side by side."))
            continue
        drafts, told = paired(kinds)
        if isinstance(drafts, NoMatch):
            misses.append(drafts)
            continue
        found = assemble(folder, drafts, hints, layout="parallel_folders", likely=likely_roles(kinds))
        if isinstance(found, Cohort):
            from dataclasses import replace

            return replace(found, told=(*found.told, *told))
        misses.append(found)
    return max(misses, key=lambda m: m.closeness)


def likely_roles(roles: Sequence[str] | Mapping[str, Files]) -> dict[str, str]:
    """Guess for each role from its name whether it is an image or a mask.

    Roles whose name does not tell are left out.
    """
    likely = {}
    for role in roles:
        words = set(words_of(role)) | set(runs_of(role))
        if words & (MASK_WORDS | REGION_WORDS):
            likely[role] = "mask"
        elif words & IMAGE_WORDS:
            likely[role] = "image"
    return likely


def by_first_folder(root: Path, files: Sequence[Path]) -> dict[str, Files]:
    """Group files by the first folder that names no split; the rest of the path is the key."""
    kinds: dict[str, Files] = {}
    for path in files:
        side, parts = _without_sides(path.relative_to(root).parts[:-1])
        if parts:
            kinds.setdefault(parts[0], {})[side, "/".join([*parts[1:], stem_of(path)])] = path
    return kinds


def by_whole_folder(root: Path, files: Sequence[Path]) -> dict[str, Files]:
    """Group files by all folders that name no split; the file's stem is the key."""
    kinds: dict[str, Files] = {}
    for path in files:
        side, parts = _without_sides(path.relative_to(root).parts[:-1])
        if parts:
            kinds.setdefault("/".join(parts), {})[side, stem_of(path)] = path
    return kinds


def _without_sides(folders: Sequence[str]) -> tuple[str | None, list[str]]:
    side, rest = None, []
    for folder in folders:
        named, left = side_and_rest(folder) if side is None else (None, folder)
        side = side or named
        if left:
            rest.append(left)
    return side, rest


def paired(kinds: Mapping[str, Files]) -> tuple[list[Draft] | NoMatch, list[str]]:
    """Match the files of all folders with those of the best-matched image folder, case by case."""
    likely = likely_roles(kinds)
    images = [k for k in kinds if likely.get(k) != "mask"] or list(kinds)
    best: tuple[int, str, dict[str, dict[Key, Key]]] = (0, "", {})
    for main in images:
        matches = {k: m for k in kinds if k != main and (m := matched(kinds[main], kinds[k]))}
        n = max((len(m) for k, m in matches.items() if likely.get(k) != "image"), default=0)
        if (n, likely.get(main) == "image") > (best[0], likely.get(best[1]) == "image"):
            best = (n, main, matches)
    n, main, matches = best
    smallest = min(len(files) for files in kinds.values())
    if not n or n < 0.5 * max(smallest, 1):
        has_both = set(likely.values()) == {"image", "mask"}
        said = f"the files in the folders {some(kinds)} do not pair up by name."
        return NoMatch(0.5 if has_both else 0.1, f"{said} Give an image and its mask the same name."), []
    told = []
    for kind, match in matches.items():
        loose = set(kinds[kind]) - set(match.values())
        if loose:
            told.append(f"{len(loose)} file(s) in {kind!r} go with no image: {some(sorted(k for _, k in loose))}.")
    return [_draft(key, main, kinds, matches) for key in kinds[main]], told


def _draft(key: Key, main: str, kinds: Mapping[str, Files], matches: Mapping[str, dict[Key, Key]]) -> Draft:
    side, name = key
    clash = sum(other == name for _, other in kinds[main]) > 1
    files = {main: kinds[main][key], **{k: kinds[k][m[key]] for k, m in matches.items() if key in m}}
    return Draft(f"{side}/{name}" if clash and side else name, files, side, name)


def matched(images: Files, others: Files) -> dict[Key, Key]:
    """Match the keys of two folders: equal names, else names that are equal without filler words."""
    equal = {key: key for key in images if key in others}
    if len(equal) >= 0.9 * min(len(images), len(others)):
        return equal
    best = equal
    for keep_side in (True, False):
        left, right = (_cores(f, keep_side) for f in (images, others))
        found = {key: right[core] for core, key in left.items() if core in right}
        best = max(best, found, key=len)
    return best


def _cores(files: Files, keep_side: bool) -> dict[Key, Key]:
    """Map the core of each name to its key; cores that two files share are left out."""
    rows = [_trimmed(runs_of(name)) for _, name in files]
    front, back = shared_ends(rows)
    cores: dict[Key, list[Key]] = {}
    for key, row in zip(files, rows, strict=True):
        core = "_".join(row[front : len(row) - back])
        cores.setdefault((key[0] if keep_side else None, core), []).append(key)
    return {core: keys[0] for core, keys in cores.items() if len(keys) == 1}


def _trimmed(runs: list[str]) -> list[str]:
    """Strip words such as mask and image from both ends of a name, and a number that follows one at the end."""
    while len(runs) > 1 and runs[0] in FILLING:
        runs = runs[1:]
    while len(runs) > 1 and runs[-1] in FILLING:
        runs = runs[:-1]
    if len(runs) > 2 and runs[-1].isdecimal() and runs[-2] in MASK_WORDS:
        runs = _trimmed(runs[:-1])
    return runs


parallel_folders.order = 40  # type: ignore[attr-defined]
parallel_folders.hints = ("truth", "roi")  # type: ignore[attr-defined]
THIS = parallel_folders

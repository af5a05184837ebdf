"""Folder layouts: each layout is tried, and the first that recognises a folder gives its cohort."""

from __future__ import annotations

import os
from dataclasses import asdict, replace
from itertools import islice
from pathlib import Path

from .... import registry
from ....errors import LayoutError
from ...formats import file_suffix
from ...source import Source
from ..cohort import DERIVED_TRUTHS, Cohort
from ._explain_no_match import MIN_CLOSENESS, explain_no_match
from ._files import IGNORED_FOLDERS, is_data_file, list_images
from ._layout import IMAGE_KINDS, TRUTH_KINDS, HintError, Hints, Layout, NoMatch
from ._single_images import build_single_image_cohort

__all__ = ["IMAGE_KINDS", "TRUTH_KINDS", "Hints", "Layout", "NoMatch", "NotRecognisedError", "list_images", "recognise"]


class NotRecognisedError(LayoutError):
    """No layout recognises a folder."""


def recognise(folder: Path | str, hints: Hints | None = None) -> Cohort:
    """Give the cohort of a folder (or of a file that holds a set) by the first layout that recognises it.

    Layouts are tried in the order of ``THIS.order``, the strictest first. A folder that holds nothing but one
    folder, as unpacking an archive leaves it, stands for that inner folder.
    """
    folder = Path(folder)
    if not folder.exists():
        raise LayoutError(f"{str(folder)!r} does not exist. Check the path.")
    if folder.is_dir() and not any(folder.iterdir()):
        raise NotRecognisedError(f"{str(folder)!r} is empty. Name the folder of the images and of what they show.")
    while inner := only_subfolder(folder):
        folder = inner
    hints = hints or Hints()
    no_matches: dict[str, NoMatch] = {}
    ignored: list[str] = []
    layouts: dict[str, Layout] = {
        name: registry.find("data.cohorts.layouts", name) for name in registry.names("data.cohorts.layouts")
    }
    for name in sorted(layouts, key=lambda n: (getattr(layouts[n], "order", 50), n)):
        try:
            found = layouts[name](folder, hints)
        except HintError:
            if max((miss.closeness for miss in no_matches.values()), default=0.0) <= MIN_CLOSENESS:
                raise
            break  # an earlier layout, which has what was said, is nearer
        if isinstance(found, NoMatch):
            no_matches[name] = found
        elif idle := unused_hints(found, layouts[name], hints):
            ignored.append(
                f"{str(folder)!r} is laid out as {name!r}, in which {' and '.join(idle)} names nothing. Leave it out."
            )
        else:
            found = found.serving(found.task, hints.kind) if hints.kind == "synthetic_image" else found
            return replace(found, hints={k: v for k, v in asdict(hints).items() if v and k != "task"})
    if ignored:
        raise HintError(ignored[0])
    wanted = hints.wanted_kind
    if hints.kind in ("self", "synthetic_self") and not hints.truth:
        return images_without_truth(folder, hints).serving(str(hints.task), hints.kind)
    if hints.task is not None and ("label_map", wanted) in DERIVED_TRUTHS:
        try:
            return recognise(folder, replace(hints, task="segmentation", kind=None)).serving(hints.task, str(wanted))
        except LayoutError as reason:
            if wanted != "pair":
                raise_if_other_task(folder, hints)
                raise
            single_images_cohort = build_single_image_cohort(folder)
            if isinstance(single_images_cohort, Cohort):
                return single_images_cohort
            raise LayoutError(
                f"{reason} To line images up, their folder is enough, but {single_images_cohort.reason}"
            ) from None
    if hints.task is not None and not (wanted == "image" and max(m.closeness for m in no_matches.values()) >= 0.5):
        raise_if_other_task(folder, hints)
    raise NotRecognisedError(
        f"{str(folder)!r} is not laid out in a way that is recognised: {describe_contents(folder)}. "
        f"{explain_no_match(folder, no_matches)}"
    )


def images_without_truth(folder: Path, hints: Hints) -> Cohort:
    """Give the cohort of images whose truth, if they have one, is not asked for."""
    try:
        return recognise(folder, replace(hints, task=None, kind=None))
    except LayoutError:
        single_images_cohort = build_single_image_cohort(folder)
        if isinstance(single_images_cohort, NoMatch):
            raise
        return single_images_cohort


def unused_hints(cohort: Cohort, layout: Layout, hints: Hints) -> list[str]:
    """List the options that a layout ignores, unless they name what it found anyway."""
    unused = []
    for setting, attribute in (("truth", "truth"), ("roi", "roi")):
        hint = getattr(hints, setting)
        if hint and setting not in getattr(layout, "hints", ()):
            sources = [s for e in cohort.entries if isinstance(s := getattr(e, attribute), Source)]
            names = [f"{os.path.relpath(s.path, cohort.root)} {s.item}".lower() for s in sources]
            if not any(Path(hint).name.lower() in name for name in names):
                unused.append(f"--{setting} {hint!r}")
    return unused


def raise_if_other_task(folder: Path, hints: Hints) -> None:
    """Raise a LayoutError that names the folder's task, if the folder serves another task than the requested one."""
    try:
        found = recognise(folder, replace(hints, task=None, kind=None))
    except LayoutError:
        return
    raise LayoutError(
        f"{str(folder)!r} is laid out as {found.layout!r}, which is for {found.task} and does not serve {hints.task}. "
        f"Leave --task out, or give a set for {hints.task}."
    )


def only_subfolder(folder: Path) -> Path | None:
    """Give the only subfolder of a folder, or None if there are several or data files beside it."""
    if folder.is_file():
        return None
    folders = [p for p in folder.iterdir() if p.is_dir() and not p.is_symlink() and is_data_file(p)]
    folders = [p for p in folders if p.name.lower() not in IGNORED_FOLDERS]
    files = [p for p in folder.iterdir() if p.is_file() and is_data_file(p)]
    return folders[0] if len(folders) == 1 and not files else None


def describe_contents(folder: Path) -> str:
    """Describe the contents of a folder in a few words: file counts by suffix, and subfolders."""
    if folder.is_file():
        return f"one {file_suffix(folder) or 'nameless'} file"
    files = [p for p in islice(folder.rglob("*"), 20_000) if p.is_file() and is_data_file(p)]
    kinds: dict[str, int] = {}
    for file in files:
        kind = file_suffix(file) or "(none)"
        kinds[kind] = kinds.get(kind, 0) + 1
    folders = sorted(p.name for p in folder.iterdir() if p.is_dir())[:6]
    counts = ", ".join(f"{n} {kind}" for kind, n in sorted(kinds.items(), key=lambda k: -k[1])[:4]) or "no files"
    return f"it holds {counts}" + (f" in folders {', '.join(folders)}" if folders else "")

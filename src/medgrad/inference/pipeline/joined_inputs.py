"""Pair the inputs of steps that make one image of several: of files, or of the images of folders by their names."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ...data import Source
from ...data.cohorts import Entry
from ...errors import FormatError, SettingError
from ...prepare import Step
from .inputs import find_inputs, is_one_input


def check_joining(steps: Sequence[Step], inputs: Sequence[Path]) -> None:
    """Raise unless the steps can make one image of so many inputs."""
    joining = [step for step in steps if step.joins_images]
    if len(joining) > 1:
        names = " and ".join(repr(step.name) for step in joining)
        raise SettingError(f"{names} each make one image of several, and after one no other is left. Name one of them.")
    if joining and len(inputs) < 2:
        raise SettingError(
            f"{joining[0].name!r} makes one image of several, but there is one input, {str(inputs[0])!r}. "
            "Give two or more images of one patient, or as many folders."
        )
    for step in joining:
        step.check_image_count(len(inputs))


def join_inputs(inputs: Sequence[Path]) -> tuple[list[Entry], list[Path]]:
    """Give an entry for each group of images that become one, and the images of folders that have no partner.

    Files and DICOM series are one group. Of folders, the images of one name are a group; the first folder leads.
    """
    are_single = [is_one_input(path) for path in inputs]
    if all(are_single):
        return [joined_entry([path for path in inputs for _ in find_inputs(path, ())])], []
    if any(are_single):
        single, folder = inputs[are_single.index(True)], inputs[are_single.index(False)]
        raise FormatError(
            f"{str(single)!r} is one image, but {str(folder)!r} holds several. "
            "Give images alone, or folders whose images have the same names."
        )
    found = [{entry.id: next(iter(entry.images.values())).path for entry in find_inputs(p, ())} for p in inputs]
    shared = [name for name in found[0] if all(name in images for images in found)]
    lone = [path for images in found for name, path in images.items() if name not in shared]
    if not shared:
        raise FormatError(
            f"No image of {str(inputs[0])!r} has a partner of the same name in {quote_all(inputs[1:])}. "
            "Give images of one patient the same name, or name the images themselves."
        )
    return [joined_entry([images[name] for images in found]) for name in shared], lone


def joined_entry(paths: Sequence[Path]) -> Entry:
    """Give the entry of images that become one; it is called as the first."""
    first = next(iter(find_inputs(paths[0], ())))
    return Entry(first.id, dict(zip(distinct_names(paths), map(Source, paths), strict=True)))


def distinct_names(paths: Sequence[Path]) -> list[str]:
    """Name files by their names, by their whole paths where those are equal, and count what stands there twice.

    >>> distinct_names([Path("a/ct.nii"), Path("a/pet.nii")])
    ['ct.nii', 'pet.nii']
    >>> distinct_names([Path("a/1.png"), Path("b/1.png"), Path("b/1.png")])
    ['a/1.png', 'b/1.png', 'b/1.png (2)']
    """
    are_distinct = len({path.name for path in paths}) == len(paths)
    names = [path.name if are_distinct else path.as_posix() for path in paths]
    before = [names[:place].count(name) for place, name in enumerate(names)]
    return [f"{name} ({count + 1})" if count else name for name, count in zip(names, before, strict=True)]


def quote_all(paths: Sequence[Path]) -> str:
    """Quote paths for a sentence."""
    return " and ".join(repr(str(path)) for path in paths)

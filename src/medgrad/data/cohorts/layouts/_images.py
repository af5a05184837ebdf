"""A folder of single images without masks: enough to learn registration from."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from ...source import Source
from ..cohort import Cohort, Entry
from ..patients import with_patients
from ..split_files import with_split_beside
from ._assemble import dims_of, image_shape
from ._files import images_in, stem_of
from ._layout import NoMatch

FEWEST = 4


def single_images(folder: Path) -> Cohort | NoMatch:
    """Build the registration cohort of a folder of single images without masks."""
    found = sorted(images_in(folder)) if folder.is_dir() else []
    if len(found) < FEWEST:
        return NoMatch(0.1, f"it holds {len(found)} images, and {FEWEST} are needed to learn from pairs of them.")
    stems = [stem_of(p) for p in found]
    if len(set(stems)) < len(stems):
        return NoMatch(0.2, "two of its images have one name, so it is not a folder of single images.")
    shapes = [s for p in found[:4] if (s := image_shape(Source(p)))]
    entries = tuple(Entry(stem, {"image": Source(path)}) for stem, path in zip(stems, found, strict=True))
    told = ("There is no mask, so a registration is judged by how alike the images become.",)
    cohort = Cohort(folder, "images", "registration", entries, dims=dims_of(shapes or [(2, 2)]), told=told)
    return replace(with_split_beside(with_patients(cohort, {}), folder), told=told)

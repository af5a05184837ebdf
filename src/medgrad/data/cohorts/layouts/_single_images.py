"""A folder of single images without masks: enough to learn registration from."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from ...source import Source
from ..cohort import Cohort, Entry
from ..patients import assign_patients
from ..split_files import apply_found_split
from ._files import file_stem, list_images
from ._layout import NoMatch
from ._segmentation_cohort import infer_dims, read_image_shape

MIN_IMAGES = 4


def build_single_image_cohort(folder: Path) -> Cohort | NoMatch:
    """Build the registration cohort of a folder of single images without masks."""
    found = sorted(list_images(folder)) if folder.is_dir() else []
    if len(found) < MIN_IMAGES:
        return NoMatch(0.1, f"it holds {len(found)} images, and {MIN_IMAGES} are needed to learn from pairs of them.")
    stems = [file_stem(p) for p in found]
    if len(set(stems)) < len(stems):
        return NoMatch(0.2, "two of its images have one name, so it is not a folder of single images.")
    shapes = [s for p in found[:4] if (s := read_image_shape(Source(p)))]
    entries = tuple(Entry(stem, {"image": Source(path)}) for stem, path in zip(stems, found, strict=True))
    messages = ("There is no mask, so a registration is judged by how alike the images become.",)
    cohort = Cohort(folder, "images", "registration", entries, dims=infer_dims(shapes or [(2, 2)]), truth="pair")
    return replace(apply_found_split(assign_patients(cohort, {}), folder), messages=messages)

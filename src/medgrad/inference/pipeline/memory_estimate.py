"""Estimate the memory of each stage of a prediction, from the shapes of its arrays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ...data import Grid
from ...data.formats import ImageSpec
from ...errors import MedgradError
from ...prepare import Step
from ...prepare.crop import Crop
from ...prepare.fit import Fit
from ...prepare.normalise import Normalise
from ...prepare.planes import Planes
from ...prepare.reorient import Reorient, plan, turned_grid
from ...prepare.resample import Resample, scaled, taken_by_image, taken_by_labels
from ..sliding_window import WHOLE, most_blocks, size_of_sums

SPARE = 384 << 20
"""So many bytes are left for what nobody foresaw."""
MORE = 1.05
"""So many times what is counted is what it takes: memory has gaps."""


@dataclass(frozen=True)
class MemoryCost:
    """The memory cost that does not depend on the size of the case: bytes of a window, and bytes per element.

    ``channels`` is the number of channels of the sums over windows, 0 without sums; ``label`` is the bytes of one
    element's answer.
    """

    window: int
    patch: tuple[int, ...]
    channels: int = 0
    label: int = 1
    steps: tuple[Step, ...] = ()


def stages(pictures: Sequence[ImageSpec], taken: MemoryCost) -> dict[str, int]:
    """Estimate the bytes of all arrays at each stage of a prediction, without the sums over windows."""
    read = sum(p.size for p in pictures)
    found = {"reading": read + max(p.size // p.bytes * p.beside for p in pictures)}
    now, before, back = list(pictures), read, 0
    for step in taken.steps:
        after = [next_of(p, step) for p in now]
        made = 0 if after == now else sum(a.size for a in after)
        beside = max(beside_of(a, b, step) for a, b in zip(now, after, strict=True))
        found["preparing"] = max(found.get("preparing", 0), before + made + beside)
        if taken.channels:
            back = max(back, back_of(now[0].grid, after[0].grid, taken.label))
        now, before = after, made or before
    grid = now[0].grid
    many = int(np.prod(grid.shape))
    answer = 2 * many * taken.label if taken.channels else 0
    larger = 1.0 if taken.channels else WHOLE**grid.dims
    if taken.channels:  # every second element, and of each whether anything is there
        found["looking first"] = before + before // 2**grid.dims + 2 * many + taken.window
    found["answering"] = before + answer + int(larger * taken.window)
    found["bringing back"] = back
    whole = int(np.prod(pictures[0].grid.shape))
    found["writing"] = whole * (3 * taken.label + taken.channels // 4) if taken.channels else 0
    return found


def next_of(picture: ImageSpec, step: Step) -> ImageSpec:
    """Return the shape and type of an image after a preparation step."""
    grid, channels, one = picture.grid, picture.channels, picture.bytes
    if isinstance(step, Reorient):
        return ImageSpec(turned_grid(grid, *plan(grid, step.to)), channels, one) if grid.dims == 3 else picture
    if isinstance(step, Resample):
        target = step.target(grid)
        return picture if target.is_close(grid, tolerance_mm=1e-4) else ImageSpec(target, channels)
    if isinstance(step, Fit):
        return ImageSpec(Grid.of(step.shape), channels)
    if isinstance(step, Planes):
        return ImageSpec(grid, step.to or channels, 4 if step.to == 1 < channels else one)
    return picture if isinstance(step, Crop) else ImageSpec(grid, channels)


def beside_of(before: ImageSpec, after: ImageSpec, step: Step) -> int:
    """Count the temporary bytes of a preparation step, besides its input and output."""
    many = int(np.prod(after.grid.shape))
    if isinstance(step, (Resample, Fit)):
        target = scaled(before.grid, step.inner(before.grid)) if isinstance(step, Fit) else after.grid
        return taken_by_image(before.grid, target) + (after.size if after.channels > 1 else 0)
    if isinstance(step, Normalise):
        # Which values are finite, and, where they are measured, all of one channel in float64.
        return many * after.channels * 5 * (after.channels > 1) + many * (9 if step.way == "each" else 1)
    if isinstance(step, (Reorient, Planes)):
        return 0
    return many * 2 if isinstance(step, Crop) else after.size + taken_by_image(before.grid, after.grid)


def back_of(before: Grid, after: Grid, label: int) -> int:
    """Count the bytes of restoring labels through a preparation step."""
    there, here = int(np.prod(after.shape)) * label, int(np.prod(before.shape)) * label
    return 3 * there + 2 * here + taken_by_labels(after, before)


def room_for_sums(pictures: Sequence[ImageSpec], taken: MemoryCost, limit: int, *, now: int) -> int:
    """Compute the bytes available for the sums over windows within a memory limit; 0 if there are no sums.

    Raises if the case cannot be predicted within the limit, and says how much it would need.
    """
    counted = stages(pictures, taken)
    fixed = now + SPARE
    shape = pictures_at_the_end(pictures, taken)[0].grid.shape
    least = size_of_sums(shape, taken.patch, taken.channels, most_blocks(shape, taken.patch)) if taken.channels else 0
    stage, most = max(
        ((name, size + (least if name == "answering" else 0)) for name, size in counted.items()),
        key=lambda pair: pair[1],
    )
    whole = fixed + int(MORE * most)
    if whole > limit:
        raise MedgradError(
            f"{stage.capitalize()} would take {told(whole)} of memory, but --ram is {told(limit)}. "
            f"Give --ram {told(whole)}, if the machine has it."
        )
    return max(1, int((limit - fixed) / MORE) - counted["answering"]) if taken.channels else 0


def pictures_at_the_end(pictures: Sequence[ImageSpec], taken: MemoryCost) -> list[ImageSpec]:
    """Return the shapes and types of images after all preparation steps."""
    found = list(pictures)
    for step in taken.steps:
        found = [next_of(p, step) for p in found]
    return found


def told(amount: int) -> str:
    """Format a number of bytes.

    >>> told(3 << 30), told(1_700_000_000)
    ('3G', '1622M')
    """
    if amount % (1 << 30) == 0 and amount:
        return f"{amount // (1 << 30)}G"
    return f"{-(-amount // (1 << 20))}M"

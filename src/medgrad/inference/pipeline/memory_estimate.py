"""Estimate the memory of each stage of a prediction, from the shapes of its arrays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ...data import Grid
from ...data.formats import ImageSpec
from ...errors import MedgradError
from ...prepare import Step
from ...prepare.channels import Channels
from ...prepare.crop import Crop
from ...prepare.normalise import Normalise
from ...prepare.reorient import Reorient, axis_permutation, reoriented_grid
from ...prepare.resample import Resample, image_memory_bytes, labels_memory_bytes, rescale_grid
from ...prepare.resize_pad import ResizePad
from ..sliding_window import WHOLE_IMAGE_FACTOR, count_sum_bytes, max_useful_blocks

RESERVED_BYTES = 384 << 20
"""So many bytes are left for what nobody foresaw."""
OVERHEAD_FACTOR = 1.05
"""So many times what is counted is what it takes: memory has gaps."""
FUSING_BYTES = 88
"""So many bytes an element of each image are in use while images are joined."""


@dataclass(frozen=True)
class MemoryCost:
    """The memory cost that does not depend on the size of the case: bytes of a window, and bytes per element.

    ``sum_channels`` is the number of channels of the sums over windows, 0 without sums; ``label_bytes`` is the bytes of
    one element's answer.
    """

    window_bytes: int
    patch: tuple[int, ...]
    sum_channels: int = 0
    label_bytes: int = 1
    prepare_steps: tuple[Step, ...] = ()


def estimate_stage_bytes(image_specs: Sequence[ImageSpec], memory_cost: MemoryCost) -> dict[str, int]:
    """Estimate the bytes of all arrays at each stage of a prediction, without the sums over windows."""
    read = sum(p.n_bytes for p in image_specs)
    found = {"reading": read + max(p.n_bytes // p.bytes_per_element * p.temporary_bytes for p in image_specs)}
    now, before, restore_bytes = list(image_specs), read, 0
    for step in memory_cost.prepare_steps:
        after = specs_after_step(now, step)
        new_bytes = 0 if after == now else sum(a.n_bytes for a in after)
        temporary_bytes = max(count_temporary_bytes(a, b, step) for a, b in zip(now, after, strict=False))
        if step.joins_images:
            temporary_bytes += FUSING_BYTES * len(now) * int(np.prod(now[0].grid.shape)) * now[0].channels
        found["preparing"] = max(found.get("preparing", 0), before + new_bytes + temporary_bytes)
        if memory_cost.sum_channels:
            restore_bytes = max(restore_bytes, count_restore_bytes(now[0].grid, after[0].grid, memory_cost.label_bytes))
        now, before = after, new_bytes or before
    grid = now[0].grid
    n_elements = int(np.prod(grid.shape))
    answer = 2 * n_elements * memory_cost.label_bytes if memory_cost.sum_channels else 0
    larger = 1.0 if memory_cost.sum_channels else WHOLE_IMAGE_FACTOR**grid.dims
    if memory_cost.sum_channels:  # every second element, and of each whether anything is there
        found["looking first"] = before + before // 2**grid.dims + 2 * n_elements + memory_cost.window_bytes
    found["answering"] = before + answer + int(larger * memory_cost.window_bytes)
    found["bringing back"] = restore_bytes
    whole = int(np.prod(image_specs[0].grid.shape))
    found["writing"] = (
        whole * (3 * memory_cost.label_bytes + memory_cost.sum_channels // 4) if memory_cost.sum_channels else 0
    )
    return found


def specs_after_step(specs: Sequence[ImageSpec], step: Step) -> list[ImageSpec]:
    """Return the shapes and types of the images of a case after a preparation step."""
    return [spec_after_step(spec, step) for spec in (specs[:1] if step.joins_images else specs)]


def spec_after_step(image_spec: ImageSpec, step: Step) -> ImageSpec:
    """Return the shape and type of an image after a preparation step."""
    grid, channels, one = image_spec.grid, image_spec.channels, image_spec.bytes_per_element
    if isinstance(step, Reorient):
        return (
            ImageSpec(reoriented_grid(grid, *axis_permutation(grid, step.to)), channels, one)
            if grid.dims == 3
            else image_spec
        )
    if isinstance(step, Resample):
        target = step.target_grid(grid)
        return image_spec if target.is_close(grid, tolerance_mm=1e-4) else ImageSpec(target, channels)
    if isinstance(step, ResizePad):
        return ImageSpec(Grid.from_shape(step.shape), channels)
    if isinstance(step, Channels):
        return ImageSpec(grid, step.to or channels, 4 if step.to == 1 < channels else one)
    return image_spec if isinstance(step, Crop) else ImageSpec(grid, channels)


def count_temporary_bytes(spec_before: ImageSpec, spec_after: ImageSpec, step: Step) -> int:
    """Count the temporary bytes of a preparation step, besides its input and output."""
    many = int(np.prod(spec_after.grid.shape))
    if isinstance(step, (Resample, ResizePad)):
        target = (
            rescale_grid(spec_before.grid, step.resized_shape(spec_before.grid))
            if isinstance(step, ResizePad)
            else spec_after.grid
        )
        return image_memory_bytes(spec_before.grid, target) + (spec_after.n_bytes if spec_after.channels > 1 else 0)
    if isinstance(step, Normalise):
        # Which values are finite, and, where they are measured, all of one channel in float64.
        return many * spec_after.channels * 5 * (spec_after.channels > 1) + many * (
            9 if step.method in ("zscore", "scale") else 1
        )
    if isinstance(step, (Reorient, Channels)):
        return 0
    return (
        many * 2
        if isinstance(step, Crop)
        else spec_after.n_bytes + image_memory_bytes(spec_before.grid, spec_after.grid)
    )


def count_restore_bytes(grid_before: Grid, grid_after: Grid, label_bytes: int) -> int:
    """Count the bytes of restoring labels through a preparation step."""
    there, here = int(np.prod(grid_after.shape)) * label_bytes, int(np.prod(grid_before.shape)) * label_bytes
    return 3 * there + 2 * here + labels_memory_bytes(grid_after, grid_before)


def bytes_for_sums(
    image_specs: Sequence[ImageSpec], memory_cost: MemoryCost, max_bytes: int, *, resident_now: int
) -> int:
    """Compute the bytes available for the sums over windows within a memory limit; 0 if there are no sums.

    Raises if the case cannot be predicted within the limit, and says how much it would need.
    """
    counted = estimate_stage_bytes(image_specs, memory_cost)
    fixed = resident_now + RESERVED_BYTES
    shape = specs_after_preparation(image_specs, memory_cost)[0].grid.shape
    smallest_sums = (
        count_sum_bytes(shape, memory_cost.patch, memory_cost.sum_channels, max_useful_blocks(shape, memory_cost.patch))
        if memory_cost.sum_channels
        else 0
    )
    stage, largest_stage = max(
        ((name, size + (smallest_sums if name == "answering" else 0)) for name, size in counted.items()),
        key=lambda pair: pair[1],
    )
    whole = fixed + int(OVERHEAD_FACTOR * largest_stage)
    if whole > max_bytes:
        raise MedgradError(
            f"{stage.capitalize()} would take {format_bytes(whole)} of memory, but --ram is {format_bytes(max_bytes)}. "
            f"Give --ram {format_bytes(whole)}, if the machine has it."
        )
    return max(1, int((max_bytes - fixed) / OVERHEAD_FACTOR) - counted["answering"]) if memory_cost.sum_channels else 0


def specs_after_preparation(image_specs: Sequence[ImageSpec], memory_cost: MemoryCost) -> list[ImageSpec]:
    """Return the shapes and types of images after all preparation steps."""
    found = list(image_specs)
    for step in memory_cost.prepare_steps:
        found = specs_after_step(found, step)
    return found


def format_bytes(n_bytes: int) -> str:
    """Format a number of bytes.

    >>> format_bytes(3 << 30), format_bytes(1_700_000_000)
    ('3G', '1622M')
    """
    if n_bytes % (1 << 30) == 0 and n_bytes:
        return f"{n_bytes // (1 << 30)}G"
    return f"{-(-n_bytes // (1 << 20))}M"

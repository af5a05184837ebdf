"""Anomaly maps: how unlike each element is to what was expected, and one score for the image."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ..data import AnomalyMap, Case, Grid, Image, concatenate_answers
from ..data.atomic_files import write_text
from ..data.display import Plane, eight_bit, fullest_plane, upright
from ..data.formats import file_suffix, write
from ..metrics.image_auroc import image_score
from ..prepare import Memo, Step
from ..prepare.crop import crop_box
from ._kind import Agreement, AnswerKind, Destination, Settings, kind_named
from .label_map import SAME_SUFFIX

PNG_STEPS = 100
"""A PNG holds whole numbers: hundredths of a standard deviation."""
COLOUR = (230, 60, 0)
DRAWN_FROM, DRAWN_FULL = 2.0, 6.0
"""Elements are coloured from so many standard deviations on, and from so many on as strongly as any."""
STRONGEST = 0.7


class AnomalyMaps(AnswerKind):
    """Decoded from what was expected (channels, *shape); it becomes a map once it is held to the image itself.

    The difference is smoothed with its sign by a Gaussian of ``smooth_mm``, so that noise goes and lesions stay; its
    size, the root mean square over channels, is given in units of ``deviation``.
    """

    type = AnomalyMap
    outputs = ("expected",)
    formats = ("nifti",)
    tolerance = {"float32": 0.001, "int8": 0.05}
    settings = ("smooth_mm", "deviation", "limit")

    def example(self, grid: Grid, seed: int = 0) -> AnomalyMap:
        drawn = np.abs(np.random.default_rng(seed).normal(0, 1, grid.shape)).astype(np.float32)
        return AnomalyMap(drawn, grid, tags={"limit": 3.0})

    def crop(self, value: AnomalyMap, start: Sequence[int], shape: Sequence[int]) -> AnomalyMap:
        cropped: AnomalyMap = crop_box(value, start, shape)
        return cropped

    def join(self, values: Sequence[AnomalyMap], windows: Sequence[Grid], grid: Grid, settings: Settings) -> AnomalyMap:
        del windows, settings
        whole: AnomalyMap = concatenate_answers(values, grid)
        return whole

    def undo(self, value: AnomalyMap, step: Step, memo: Memo) -> AnomalyMap:
        back = step.undo_grid(value, memo)
        return back if isinstance(back, AnomalyMap) else AnomalyMap(**vars(back))

    def decode(self, outputs: Sequence[Any], grid: Grid, settings: Settings) -> AnomalyMap:
        del settings
        values = outputs[0] if isinstance(outputs[0], np.ndarray) else outputs[0].float().cpu().numpy()
        values = values.astype(np.float32)  # a copy: the memory of windows is used again
        return AnomalyMap(values[0] if len(values) == 1 else np.moveaxis(values, 0, -1), grid)

    def finish(self, value: AnomalyMap, case: Case, settings: Settings) -> AnomalyMap:
        expected = value.channels_first
        names = tuple(settings.get("channels") or case.images)
        shown = np.concatenate([case.images[name].channels_first for name in names])[: len(expected)]
        found = size_of_difference(shown - expected, case.grid, float(settings["smooth_mm"]))
        made = (found / float(settings["deviation"])).astype(np.float32)
        return AnomalyMap(made, value.grid, tags={"limit": float(settings["limit"])})

    def write(self, value: AnomalyMap, to: Destination) -> list[Path]:
        """Write the map, and beside it what ``summary`` says, as JSON."""
        ending = ".nii.gz" if to.file_format == "nifti" else SAME_SUFFIX.get(file_suffix(to.source.path))
        path = to.path(ending or (".nii.gz" if value.grid.dims == 3 else ".png"))
        shown: Image = value
        if path.suffix == ".png":
            steps = np.clip(np.rint(value.array * PNG_STEPS), 0, np.iinfo(np.uint16).max)
            shown = Image(steps.astype(np.uint16), value.grid)
        write_text(to.path(".json"), json.dumps(self.summary(value), indent=1) + "\n")
        return [write(path, shown), to.path(".json")]

    def notes(self, value: AnomalyMap, written: Sequence[Path]) -> tuple[str, ...]:
        if all(path.suffix != ".png" for path in written):
            return ()
        return (f"A PNG holds whole numbers, so the map is in hundredths of a deviation: {PNG_STEPS} is one.",)

    def summary(self, value: AnomalyMap) -> dict[str, Any]:
        found = {"score": round(image_score(value.array), 4)}
        limit = value.tags.get("limit")
        return found | ({"normal_up_to": round(limit, 4), "unusual": found["score"] > limit} if limit else {})

    def plane_index(self, value: AnomalyMap, image: Image, axis: int) -> int | None:
        found: int | None = fullest_plane(value.array > 0.5, axis) if "limit" not in value.tags else None
        return found

    def drawn(self, value: AnomalyMap, image: Image, plane: Plane) -> Mapping[str, NDArray[Any]]:
        """Give the image with what is unlike in colour: from 2 deviations on, fully from 6 on; a truth as a whole."""
        grey = eight_bit(image.array, image.grid, plane)
        grey = grey[..., None].repeat(3, axis=2) if grey.ndim == 2 else grey
        flat = upright(value.array[plane], value.grid).astype(np.float64) / unit_of(value)
        is_truth = "limit" not in value.tags
        share = flat if is_truth else (flat - DRAWN_FROM) / (DRAWN_FULL - DRAWN_FROM)
        share = STRONGEST * np.clip(np.nan_to_num(share), 0, 1)[..., None]
        return {"image": np.rint(grey * (1 - share) + np.array(COLOUR) * share).astype(np.uint8)}

    def quality(self, value: AnomalyMap, truth: Any) -> float | None:
        """Give how far abnormal elements stand above the others; of an image of one kind, its score, with its sign."""
        if not isinstance(truth, AnomalyMap) or truth.array.shape != value.array.shape:
            return None
        is_abnormal, said = truth.array > 0.5, np.nan_to_num(value.array.astype(np.float64))
        if is_abnormal.all() or not is_abnormal.any():
            return image_score(said) * (1 if is_abnormal.any() else -1)
        return float(said[is_abnormal].mean() - said[~is_abnormal].mean())

    def caption(self, value: AnomalyMap, truth: Any) -> str:
        limit = value.tags.get("limit")
        known = f", {'abnormal' if truth.array.max(initial=0) > 0.5 else 'normal'}" if isinstance(truth, Image) else ""
        return (
            f"score {image_score(value.array) / unit_of(value):.2f}"
            + (f" (normal up to {limit:.2f})" if limit else "")
            + known
        )

    def compare(self, pairs: Sequence[tuple[AnomalyMap, AnomalyMap]]) -> Agreement:
        return kind_named("image").compare(pairs)


def unit_of(value: AnomalyMap) -> float:
    """Give what a map is drawn in: 1 once it is in deviations, before that the root mean square of its lower 99 %."""
    if value.tags.get("limit") or "limit" not in value.tags:
        return 1.0
    known = value.array[np.isfinite(value.array)].astype(np.float64)
    low = known[known <= np.quantile(known, 0.99)] if known.size else known
    return max(float((low**2).mean()) ** 0.5, 1e-9) if low.size else 1.0


def size_of_difference(apart: NDArray[Any], grid: Grid, smooth_mm: float) -> NDArray[np.float64]:
    """Smooth a difference (channels, *shape) with its sign, and give its root mean square over channels, (*shape).

    Without a spacing an element counts as a millimetre.
    """
    widths = [smooth_mm / (s if grid.has_spacing else 1.0) for s in grid.spacing]
    smooth = [ndimage.gaussian_filter(plane.astype(np.float64), widths) for plane in apart]
    found: NDArray[np.float64] = np.sqrt(np.mean(np.square(smooth), axis=0))
    return found


THIS = AnomalyMaps()

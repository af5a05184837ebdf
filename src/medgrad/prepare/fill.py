"""Filling what is missing in an image or a table from what is known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ..data import Case, Image
from ..errors import SettingError, suggest_name
from ._image_step import Chosen, as_type
from ._inpaint import FILLERS, Array, Mask
from ._lost_slices import find_lost_slices, interpolate_slices, krige_slices
from ._step import Memo, Step
from ._table_rows import TABLE_FILLERS, fill_table

Method = Literal["auto", "motion", "interpolate", "biharmonic", "harmonic", "smooth", "nearest", "median", "mean"]
METHODS = ("auto", "motion", *FILLERS, *(name for name in TABLE_FILLERS if name not in FILLERS))
SLICE_FILLERS = {"motion": krige_slices, "interpolate": lambda stack, lost, _: interpolate_slices(stack, lost)}
AUTO_HOLE, AUTO_SLICES, AUTO_TABLE = "biharmonic", "motion", "nearest"


@dataclass(frozen=True)
class Fill(Step):
    """Fill what is missing by a ``method``; what is known stays equal to the bit.

    Missing are values that are not finite, and lost slices: with ``lost="auto"`` those along ``axis`` that hold a
    single value between slices that do not; ``slices`` names them instead, from 0; ``lost="none"``: no slice. Where
    ``axis`` is -1 it is that with the most lost slices, and the last for ``slices`` by name. The region of a case
    means "fill here": it is unknown, and nothing outside changes. Integers are rounded. An image is filled within
    the range of its known values, each channel by itself.

    ``auto`` is the best on medical images: ``motion`` for lost slices, ``biharmonic`` for others. ``motion``
    is for slices alone, and leaves the other gaps to ``auto``. A table of numbers, which is an image of two axes
    with ``columns`` among its tags, is filled by ``nearest`` (the mean of so many nearest rows, ``neighbours``),
    ``median`` or ``mean``.
    """

    method: Method = "auto"
    lost: Literal["auto", "none"] = "auto"
    slices: tuple[int, ...] = ()
    axis: int = -1
    neighbours: int = 10

    takes_tables = True

    @property
    def keeps_unit(self) -> bool:
        return True

    def __post_init__(self) -> None:
        for name, value, known in (("method", self.method, METHODS), ("lost", self.lost, ("auto", "none"))):
            if value not in known:
                hint = suggest_name(str(value), known)
                raise SettingError(f"'{name}' of fill is one of {', '.join(known)}, not {value!r}.{hint}")
        if not all(type(s) is int and s >= 0 for s in self.slices):
            raise SettingError(f"'slices' of fill are whole numbers from 0, but they are {list(self.slices)}.")
        for name, number, least in (("axis", self.axis, -1), ("neighbours", self.neighbours, 1)):
            if number < least:
                raise SettingError(f"'{name}' of fill is a whole number from {least} on, but it is {number}.")

    def apply(self, case: Case) -> tuple[Case, Memo]:
        images: dict[str, Image] = {}
        chosen: dict[str, list[Chosen]] = {}
        region = None if case.roi is None else case.roi.array != 0
        for name, image in case.images.items():
            if "columns" in image.tags:
                images[name], chosen[name] = self.fill_columns(image)
                continue
            filled = [self.fill_channel(plane, region, image.grid.spacing) for plane in image.channels_first]
            planes, chosen[name] = [plane for plane, _ in filled], [settings for _, settings in filled]
            array = planes[0] if image.array.ndim == image.grid.dims else np.stack(planes, axis=-1)
            images[name] = replace(image, array=array)
        return replace(case, images=images), Memo(case.grid, {"chosen": chosen})

    def fill_columns(self, image: Image) -> tuple[Image, list[Chosen]]:
        """Fill the gaps of a table; also give how many, in which columns, and how."""
        method = AUTO_TABLE if self.method == "auto" else self.method
        if method not in TABLE_FILLERS:
            known = ", ".join(("auto", *TABLE_FILLERS))
            raise SettingError(f"'method' of fill for a table is one of {known}, not {method!r}.")
        gaps = np.isnan(image.array)
        if not gaps.any():
            return image, [{"filled": 0}]
        if image.grid.dims != 2:
            raise SettingError(
                "A row of a table has a gap, and is not filled without the others. Fill the whole table."
            )
        empty = [name for name, is_empty in zip(image.tags["columns"], gaps.all(axis=0), strict=True) if is_empty]
        if empty:
            raise SettingError(f"The column {empty[0]!r} holds no number at all. Take it out of the table.")
        named = [name for name, has_gap in zip(image.tags["columns"], gaps.any(axis=0), strict=True) if has_gap]
        chosen: Chosen = {"filled": int(gaps.sum()), "columns": ", ".join(named), "method": method}
        return replace(image, array=fill_table(image.array, method, self.neighbours)), [chosen]

    def fill_channel(
        self, plane: NDArray[Any], region: Mask | None, spacing: Sequence[float]
    ) -> tuple[NDArray[Any], Chosen]:
        """Fill one channel; also give how many values, which slices, and how."""
        if self.method in TABLE_FILLERS and self.method not in FILLERS:
            known = ", ".join(("auto", "motion", *FILLERS))
            raise SettingError(f"'method' of fill for an image is one of {known}, not {self.method!r}.")
        values, unknown, in_lost, (axis, lost) = self.find_missing(plane, region)
        wanted = (unknown | in_lost) if region is None else region
        count = int(np.count_nonzero(wanted))
        if not count:
            return plane, {"filled": 0}
        filled, methods = self.fill_values(values, unknown, in_lost, (axis, lost), spacing)
        told = [s for s in lost if wanted.take(s, axis).any()]
        slices: Chosen = {"slices": " ".join(map(str, told)), "axis": axis} if told else {}
        return np.where(wanted, as_type(filled, plane.dtype), plane), {
            "filled": count,
            **slices,
            "method": " ".join(methods),
        }

    def find_missing(self, plane: NDArray[Any], region: Mask | None) -> tuple[Array, Mask, Mask, tuple[int, list[int]]]:
        """Give values, with 0 where they are unknown, what is unknown, what is in lost slices, and these by axis."""
        unknown = ~np.isfinite(plane) if plane.dtype.kind == "f" else np.zeros(plane.shape, bool)
        if region is not None:
            unknown = unknown | region
        check_some_known(unknown, region)
        values = np.where(unknown, 0, plane).astype(np.float64)
        axis, lost = self.find_lost(values, unknown)
        in_lost = np.zeros(plane.shape, bool)
        np.moveaxis(in_lost, axis, 0)[lost] = True
        return values, unknown, in_lost, (axis, lost)

    def missing(self, image: Image) -> Mask | None:
        found = np.zeros(image.grid.shape, bool)
        for plane in image.channels_first:
            _, unknown, in_lost, _ = self.find_missing(plane, None)
            found |= unknown | in_lost
        return found

    def find_lost(self, values: Array, unknown: Mask) -> tuple[int, list[int]]:
        """Find the axis and the numbers of the lost slices, and raise where too few are left."""
        dims = values.ndim
        if self.axis >= dims:
            raise SettingError(f"'axis' of fill is {self.axis}, but the image has {dims} axes, numbered from 0.")
        if self.slices:
            axis, lost = self.axis % dims, sorted(set(self.slices))
            if lost[-1] >= values.shape[axis]:
                raise SettingError(
                    f"'slices' of fill names {lost[-1]}, but along axis {axis} the image has {values.shape[axis]} "
                    "slices, numbered from 0."
                )
        elif self.lost == "none":
            return dims - 1, []
        else:
            axes = range(dims - 1, -1, -1) if self.axis == -1 else [self.axis]
            found = {axis: find_lost_slices(values, unknown, axis) for axis in axes}
            axis = max(found, key=lambda a: len(found[a]))
            lost = found[axis]
        absent = np.moveaxis(unknown, axis, 0).reshape(values.shape[axis], -1).min(axis=1)
        absent[lost] = True
        if absent.any() and values.shape[axis] - absent.sum() < 2:
            raise SettingError(
                f"Filling takes at least 2 known slices along axis {axis}, but {int((~absent).sum())} of "
                f"{values.shape[axis]} is left. Name fewer slices, or take an image that has more."
            )
        return axis, lost

    def fill_values(
        self, values: Array, unknown: Mask, in_lost: Mask, slices: tuple[int, list[int]], spacing: Sequence[float]
    ) -> tuple[Array, list[str]]:
        """Fill the lost slices, then the other gaps; also give the methods that were used."""
        method = {"auto": AUTO_HOLE, "motion": AUTO_HOLE}.get(self.method, self.method)
        along = AUTO_SLICES if self.method == "auto" else self.method
        (axis, lost), hole = slices, unknown & ~in_lost
        known = values[~(unknown | in_lost)]
        low, high = known.min(), known.max()
        scale = high - low if high > low else 1.0
        scaled = (values - low) / scale
        methods = []
        if lost and along not in SLICE_FILLERS:
            hole = unknown | in_lost
        elif lost:
            ready = FILLERS["nearest"](scaled, unknown | in_lost, spacing) if hole.any() else scaled
            order = (axis, *(a for a in range(values.ndim) if a != axis))
            stack = np.ascontiguousarray(np.moveaxis(ready, axis, 0), np.float32)
            made = SLICE_FILLERS[along](stack, lost, [spacing[a] for a in order])
            scaled = np.where(in_lost, np.moveaxis(made, 0, axis), scaled)
            methods.append(along)
        if hole.any():
            scaled = FILLERS[method](scaled, hole, spacing)
            methods.append(method)
        return np.clip(scaled, 0, 1) * scale + low, methods


def check_some_known(unknown: Mask, region: Mask | None) -> None:
    """Raise if nothing is known."""
    if not unknown.all():
        return
    if region is not None and region.all():
        raise SettingError(
            "The region to fill is the whole image, and nothing is left to fill it from. Draw it smaller."
        )
    raise SettingError("The image has no finite value to fill from. Give one that has.")


THIS = Fill

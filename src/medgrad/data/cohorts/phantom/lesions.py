"""Synthetic nodules and lesions: only their texture says whether they are malignant, not their size or brightness."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ._distance_fields import Field, Points, WaveField, ellipsoid_distance, inside_fraction

Kind = Literal["benign", "malignant"]
KINDS: tuple[Kind, Kind] = ("benign", "malignant")
TEXTURE_MM: Mapping[Kind, float] = {"benign": 60.0, "malignant": 8.0}
TEXTURE_HU = 65.0
HOST_ORGANS = {"nodule": "lung", "lesion": "liver"}
MEAN_HU = {"nodule": (30.0, 15.0), "lesion": (0.0, 10.0)}


@dataclass(frozen=True)
class Growth:
    """The growth rate of a lesion and the dates at which it is there. ``doublings_per_day`` is negative if it shrinks.

    It is there from date number ``first_date`` up to, but not including, ``last_date``.
    """

    doublings_per_day: float = 0.0
    first_date: int = 0
    last_date: int = 99

    def radius_mm(self, start_mm: float, day: float) -> float:
        """Give the radius of a ball of the lesion's volume after some days."""
        return float(start_mm * 2 ** (self.doublings_per_day * day / 3))

    @property
    def doubling_days(self) -> float:
        """Days in which the volume doubles; infinite if it does not grow."""
        return 1 / self.doublings_per_day if self.doublings_per_day > 0 else float("inf")


@dataclass(frozen=True)
class PlannedLesion:
    """A planned lesion: its position at the first date, shape, texture and growth."""

    number: int
    label: Literal["nodule", "lesion"]
    kind: Kind
    centre_mm: tuple[float, float, float]
    radius_mm: float
    axis_ratios: tuple[float, float, float]
    rotation: NDArray[np.float64]
    mean_hu: float
    texture: WaveField
    growth: Growth


@dataclass(frozen=True)
class Lesion:
    """A lesion as it is at one date. ``centre_mm`` is in world RAS, ``diameter_mm`` that of a ball of its volume."""

    number: int
    label: str
    kind: Kind
    centre_mm: tuple[float, float, float]
    volume_mm3: float
    diameter_mm: float
    doubling_days: float
    change: Literal["stable", "growing", "shrinking"]
    is_new: bool


def plan_lesions(
    rng: np.random.Generator,
    labels: NDArray[np.uint8],
    spacing: Sequence[float],
    voxel_positions: NDArray[np.float64],
    *,
    organs: Sequence[str],
    counts: Mapping[str, int],
    diameters_mm: tuple[float, float],
    days: Sequence[int],
    motion_mm: float,
) -> list[PlannedLesion]:
    """Plan lesions that lie within their organ, apart from each other and inside the scan at all dates.

    ``labels`` are the organs at the first date, and ``voxel_positions`` (*shape, 3) are the voxel positions. Between
    dates tissue moves by up to ``motion_mm``. Lesions for which there is no room are left out.
    """
    edge = distance_to_scan_edge(labels.shape, spacing) - np.float32(motion_mm)
    found: list[PlannedLesion] = []
    number = 0
    for label, host in HOST_ORGANS.items():
        depth = ndimage.distance_transform_edt(labels == organs.index(host) + 1, sampling=spacing).astype(np.float32)
        depth = np.minimum(depth, edge)
        kinds = rng.permutation([KINDS[i % 2] for i in range(int(rng.integers(2)), 99)][: counts[label]])
        for kind in kinds:
            growth = draw_growth(rng, len(days))
            radius = float(rng.uniform(*diameters_mm)) / 2
            form = np.exp(rng.normal(0, 0.10, 3))
            form /= form.prod() ** (1 / 3)
            largest = radius * max(growth.radius_mm(1.0, d) for d in days) * float(form.max())
            centre = choose_free_voxel(rng, depth, largest + 2.0)
            number += 1
            if centre is None:
                continue
            place = voxel_positions[centre] + rng.uniform(-0.5, 0.5, 3) * np.asarray(spacing)
            away = np.linalg.norm(voxel_positions - place, axis=-1) - largest - 3.0
            depth = np.minimum(depth, np.maximum(away, 0).astype(np.float32))
            found.append(draw_lesion(rng, number, label, str(kind), place, radius, form, growth))
    return found


def draw_lesion(
    rng: np.random.Generator,
    number: int,
    label: str,
    kind: str,
    centre_mm: NDArray[np.float64],
    radius_mm: float,
    axis_ratios: NDArray[np.float64],
    growth: Growth,
) -> PlannedLesion:
    """Draw the orientation, mean density and texture of a lesion at a given position."""
    known = KINDS[KINDS.index(kind)]
    return PlannedLesion(
        number,
        "nodule" if label == "nodule" else "lesion",
        known,
        (float(centre_mm[0]), float(centre_mm[1]), float(centre_mm[2])),
        radius_mm,
        (float(axis_ratios[0]), float(axis_ratios[1]), float(axis_ratios[2])),
        random_rotation(rng),
        float(rng.normal(*MEAN_HU[label])),
        WaveField.random(rng, TEXTURE_MM[known], n_waves=32, spread=0.1),
        growth,
    )


def distance_to_scan_edge(shape: Sequence[int], spacing: Sequence[float]) -> NDArray[np.float32]:
    """Give the distance of each voxel to the nearest face of the scan, in mm."""
    lines = [np.minimum(np.arange(n), n - 1 - np.arange(n)) * s for n, s in zip(shape, spacing, strict=True)]
    return np.minimum.reduce(np.meshgrid(*lines, indexing="ij")).astype(np.float32)


def choose_free_voxel(
    rng: np.random.Generator, depth_mm: NDArray[np.float32], min_depth_mm: float
) -> tuple[int, ...] | None:
    """Choose a random voxel at least ``min_depth_mm`` deep; None where there is none."""
    deep = np.flatnonzero(depth_mm.ravel() >= min_depth_mm)
    if not len(deep):
        return None
    return tuple(int(i) for i in np.unravel_index(int(rng.choice(deep)), depth_mm.shape))


def draw_growth(rng: np.random.Generator, n_dates: int) -> Growth:
    """Draw the growth of a lesion, independent of its kind, so that size does not reveal the kind."""
    course = rng.choice(["stable", "growing", "shrinking", "new", "gone"], p=[0.3, 0.3, 0.2, 0.1, 0.1])
    doubling = 1 / float(rng.uniform(120, 400))
    first = int(rng.integers(1, n_dates)) if course == "new" and n_dates > 1 else 0
    last = int(rng.integers(1, n_dates)) if course == "gone" and n_dates > 1 else 99
    return Growth({"growing": doubling, "shrinking": -doubling}.get(str(course), 0.0), first, last)


def random_rotation(rng: np.random.Generator) -> NDArray[np.float64]:
    """Draw a random rotation matrix."""
    q, r = np.linalg.qr(rng.normal(size=(3, 3)))
    return np.asarray(q * np.sign(np.diag(r)))


def paint_lesion(
    hu: Field,
    labels: NDArray[np.uint8],
    points: Points,
    first_date_points: Points,
    *,
    planned_lesion: PlannedLesion,
    centre_mm: Sequence[float],
    radius_mm: float,
    width_mm: float,
    label_value: int,
) -> None:
    """Paint a lesion into the Hounsfield units and labels of one date.

    ``points`` are the voxel positions, ``first_date_points`` the positions of their tissue at the first date: the
    texture moves with the tissue. Within the lesion the texture has mean 0 and a fixed standard deviation, whatever its
    kind.
    """
    away = points - np.asarray(centre_mm, np.float32)[:, None, None, None]
    reach = radius_mm * max(planned_lesion.axis_ratios) + width_mm
    near = (np.abs(away) <= reach).all(axis=0)
    if not near.any():
        return
    local = (planned_lesion.rotation.T.astype(np.float32)) @ away[:, near]
    distance = ellipsoid_distance(local, (0, 0, 0), [radius_mm * f for f in planned_lesion.axis_ratios])
    share = inside_fraction(distance, width_mm)
    texture = planned_lesion.texture(first_date_points[:, near])
    inside = distance < 0
    if inside.sum() > 3:
        texture = (texture - texture[inside].mean()) / max(float(texture[inside].std()), 1e-3)
    level = planned_lesion.mean_hu + TEXTURE_HU * np.clip(texture, -2.5, 2.5)
    hu[near] += share * (level - hu[near])
    near_labels = labels[near]
    near_labels[inside] = label_value
    labels[near] = near_labels

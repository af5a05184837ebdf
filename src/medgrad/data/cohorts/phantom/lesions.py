"""Synthetic nodules and lesions: only their texture says whether they are malignant, not their size or brightness."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ._shapes import Field, Points, Waves, coverage, ellipsoid

Kind = Literal["benign", "malignant"]
KINDS: tuple[Kind, Kind] = ("benign", "malignant")
TEXTURE_MM: Mapping[Kind, float] = {"benign": 60.0, "malignant": 8.0}
TEXTURE_HU = 65.0
HOSTS = {"nodule": "lung", "lesion": "liver"}
MEAN_HU = {"nodule": (30.0, 15.0), "lesion": (0.0, 10.0)}


@dataclass(frozen=True)
class Growth:
    """The growth rate of a lesion and the dates at which it is there. ``doublings_a_day`` is negative if it shrinks.

    It is there from date number ``first`` up to, but not including, ``last``.
    """

    doublings_a_day: float = 0.0
    first: int = 0
    last: int = 99

    def radius(self, start_mm: float, day: float) -> float:
        """Give the radius of a ball of the lesion's volume after some days."""
        return float(start_mm * 2 ** (self.doublings_a_day * day / 3))

    @property
    def doubling_days(self) -> float:
        """Days in which the volume doubles; infinite if it does not grow."""
        return 1 / self.doublings_a_day if self.doublings_a_day > 0 else float("inf")


@dataclass(frozen=True)
class Seed:
    """A planned lesion: its position at the first date, shape, texture and growth."""

    number: int
    label: Literal["nodule", "lesion"]
    kind: Kind
    centre_mm: tuple[float, float, float]
    radius_mm: float
    form: tuple[float, float, float]
    turn: NDArray[np.float64]
    mean_hu: float
    texture: Waves
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


def planted(
    rng: np.random.Generator,
    labels: NDArray[np.uint8],
    spacing: Sequence[float],
    centre_of: NDArray[np.float64],
    *,
    organs: Sequence[str],
    counts: Mapping[str, int],
    diameters_mm: tuple[float, float],
    days: Sequence[int],
    moves_mm: float,
) -> list[Seed]:
    """Plan lesions that lie within their organ, apart from each other and inside the scan at all dates.

    ``labels`` are the organs at the first date, and ``centre_of`` (*shape, 3) are the voxel positions. Between
    dates tissue moves by up to ``moves_mm``. Lesions for which there is no room are left out.
    """
    edge = from_edge(labels.shape, spacing) - np.float32(moves_mm)
    found: list[Seed] = []
    number = 0
    for label, host in HOSTS.items():
        depth = ndimage.distance_transform_edt(labels == organs.index(host) + 1, sampling=spacing).astype(np.float32)
        depth = np.minimum(depth, edge)
        kinds = rng.permutation([KINDS[i % 2] for i in range(int(rng.integers(2)), 99)][: counts[label]])
        for kind in kinds:
            growth = grown(rng, len(days))
            radius = float(rng.uniform(*diameters_mm)) / 2
            form = np.exp(rng.normal(0, 0.10, 3))
            form /= form.prod() ** (1 / 3)
            largest = radius * max(growth.radius(1.0, d) for d in days) * float(form.max())
            centre = free_place(rng, depth, largest + 2.0)
            number += 1
            if centre is None:
                continue
            place = centre_of[centre] + rng.uniform(-0.5, 0.5, 3) * np.asarray(spacing)
            away = np.linalg.norm(centre_of - place, axis=-1) - largest - 3.0
            depth = np.minimum(depth, np.maximum(away, 0).astype(np.float32))
            found.append(seeded(rng, number, label, str(kind), place, radius, form, growth))
    return found


def seeded(
    rng: np.random.Generator,
    number: int,
    label: str,
    kind: str,
    place: NDArray[np.float64],
    radius: float,
    form: NDArray[np.float64],
    growth: Growth,
) -> Seed:
    """Draw the orientation, mean density and texture of a lesion at a given position."""
    known = KINDS[KINDS.index(kind)]
    return Seed(
        number, "nodule" if label == "nodule" else "lesion", known,
        (float(place[0]), float(place[1]), float(place[2])), radius,
        (float(form[0]), float(form[1]), float(form[2])), turned(rng), float(rng.normal(*MEAN_HU[label])),
        Waves.of(rng, TEXTURE_MM[known], n=32, spread=0.1), growth,
    )  # fmt: skip


def from_edge(shape: Sequence[int], spacing: Sequence[float]) -> NDArray[np.float32]:
    """Give the distance of each voxel to the nearest face of the scan, in mm."""
    lines = [np.minimum(np.arange(n), n - 1 - np.arange(n)) * s for n, s in zip(shape, spacing, strict=True)]
    return np.minimum.reduce(np.meshgrid(*lines, indexing="ij")).astype(np.float32)


def free_place(rng: np.random.Generator, depth: NDArray[np.float32], needed_mm: float) -> tuple[int, ...] | None:
    """Choose a random voxel at least ``needed_mm`` deep; None where there is none."""
    deep = np.flatnonzero(depth.ravel() >= needed_mm)
    if not len(deep):
        return None
    return tuple(int(i) for i in np.unravel_index(int(rng.choice(deep)), depth.shape))


def grown(rng: np.random.Generator, dates: int) -> Growth:
    """Draw the growth of a lesion, independent of its kind, so that size does not reveal the kind."""
    way = rng.choice(["stable", "growing", "shrinking", "new", "gone"], p=[0.3, 0.3, 0.2, 0.1, 0.1])
    doubling = 1 / float(rng.uniform(120, 400))
    first = int(rng.integers(1, dates)) if way == "new" and dates > 1 else 0
    last = int(rng.integers(1, dates)) if way == "gone" and dates > 1 else 99
    return Growth({"growing": doubling, "shrinking": -doubling}.get(str(way), 0.0), first, last)


def turned(rng: np.random.Generator) -> NDArray[np.float64]:
    """Draw a random rotation matrix."""
    q, r = np.linalg.qr(rng.normal(size=(3, 3)))
    return np.asarray(q * np.sign(np.diag(r)))


def lay_lesion(
    hu: Field,
    labels: NDArray[np.uint8],
    points: Points,
    original: Points,
    *,
    seed: Seed,
    centre: Sequence[float],
    radius: float,
    width_mm: float,
    value: int,
) -> None:
    """Paint a lesion into the Hounsfield units and labels of one date.

    ``points`` are the voxel positions, ``original`` the positions of their tissue at the first date: the texture
    moves with the tissue. Within the lesion the texture has mean 0 and a fixed standard deviation, whatever its
    kind.
    """
    away = points - np.asarray(centre, np.float32)[:, None, None, None]
    reach = radius * max(seed.form) + width_mm
    near = (np.abs(away) <= reach).all(axis=0)
    if not near.any():
        return
    local = (seed.turn.T.astype(np.float32)) @ away[:, near]
    distance = ellipsoid(local, (0, 0, 0), [radius * f for f in seed.form])
    share = coverage(distance, width_mm)
    texture = seed.texture(original[:, near])
    inside = distance < 0
    if inside.sum() > 3:
        texture = (texture - texture[inside].mean()) / max(float(texture[inside].std()), 1e-3)
    level = seed.mean_hu + TEXTURE_HU * np.clip(texture, -2.5, 2.5)
    hu[near] += share * (level - hu[near])
    held = labels[near]
    held[inside] = value
    labels[near] = held

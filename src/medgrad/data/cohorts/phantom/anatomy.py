"""The synthetic anatomy of chest and upper abdomen: organ shapes and their Hounsfield units."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ._distance_fields import (
    Field,
    Points,
    WaveField,
    cylinder_distance,
    ellipsoid_distance,
    inside_fraction,
    superellipse_distance,
    vessel_lines,
)

PaintShape = Callable[[float | Field, Field], None]
ORGANS = ("lung", "heart", "liver", "spleen", "kidney", "spine")
HU = {
    "air": -1000.0, "fat": -100.0, "muscle": 55.0, "mediastinum": 30.0, "bowel": 35.0, "lung": -850.0, "heart": 140.0,
    "liver": 115.0, "spleen": 120.0, "kidney": 170.0, "aorta": 190.0, "stomach": 20.0, "marrow": 180.0,
    "disc": 90.0, "cortex": 550.0, "cord": 30.0, "rib": 420.0,
}  # fmt: skip
ORGAN_ELLIPSOIDS: Mapping[str, tuple[tuple[float, float, float], tuple[float, float, float]]] = {
    "right lung": ((0.46, -0.02, 0.36), (0.40, 0.68, 1.05)),
    "left lung": ((-0.46, -0.02, 0.36), (0.38, 0.66, 1.05)),
    "heart": ((-0.14, 0.22, 0.30), (0.36, 0.38, 0.42)),
    "liver": ((0.36, 0.06, -0.36), (0.50, 0.62, 0.64)),
    "spleen": ((-0.56, -0.26, -0.36), (0.22, 0.32, 0.34)),
    "stomach": ((-0.34, 0.28, -0.42), (0.28, 0.34, 0.36)),
    "right kidney": ((0.40, -0.40, -0.82), (0.16, 0.18, 0.36)),
    "left kidney": ((-0.40, -0.40, -0.74), (0.16, 0.18, 0.36)),
}
"""Centre and half axes of each organ, as shares of the trunk's half width, half depth and half height."""


@dataclass(frozen=True)
class Anatomy:
    """The organs of one synthetic patient.

    ``half_mm`` is half the trunk's width, depth and height; ``ellipsoids`` are in mm.

    Points are in mm from the centre of the trunk to the Right, Anterior and Superior.
    """

    half_mm: tuple[float, float, float]
    ellipsoids: Mapping[str, tuple[NDArray[np.float64], NDArray[np.float64]]]
    fat_mm: float
    wall_mm: float
    vessels: tuple[WaveField, WaveField]
    branches: tuple[WaveField, WaveField]
    bowel: WaveField

    @classmethod
    def random(cls, rng: np.random.Generator, half_mm: Sequence[float]) -> Anatomy:
        """Draw a random patient whose trunk has at most this size."""
        half = np.asarray(half_mm, float) * np.array([rng.uniform(0.92, 1.0), rng.uniform(0.88, 1.0), 1.0])
        places = {}
        for name, (centre, axes) in ORGAN_ELLIPSOIDS.items():
            moved = np.array(centre) + rng.normal(0, 0.015, 3)
            places[name] = (moved * half, np.array(axes) * half * np.exp(rng.normal(0, 0.04, 3)))
        unit = float(half.min())
        return cls(
            (float(half[0]), float(half[1]), float(half[2])),
            places,
            unit * rng.uniform(0.05, 0.13),
            unit * 0.10,
            (WaveField.random(rng, 0.55 * unit), WaveField.random(rng, 0.55 * unit)),
            (WaveField.random(rng, 0.60 * unit), WaveField.random(rng, 0.60 * unit)),
            WaveField.random(rng, 0.45 * unit),
        )

    def organ(self, name: str, points: Points) -> Field:
        """Give the signed distance to one of the ellipsoids of ``ORGAN_ELLIPSOIDS``."""
        centre, axes = self.ellipsoids[name]
        return ellipsoid_distance(points, centre.tolist(), axes.tolist())

    def skin_distance(self, points: Points) -> Field:
        """Give the signed distance to the skin."""
        return superellipse_distance(points, self.half_mm[:2])

    def height_above_diaphragm(self, points: Points) -> Field:
        """Give the approximate height above the two domes of the diaphragm, in mm."""
        a, b, h = self.half_mm
        dome = np.full(points.shape[1:], -0.34 * h, np.float32)
        for side, height in ((0.42, 0.52), (-0.42, 0.44)):
            r2 = ((points[0] - side * a) / (0.42 * a)) ** 2 + ((points[1] - 0.05 * b) / (0.62 * b)) ** 2
            dome += np.float32(height * h) * np.exp(-0.9 * r2)
        return (points[2] - dome) * np.float32(0.85)

    def organ_distances(self, points: Points) -> dict[str, Field]:
        """Give the signed distance to every labelled organ, to the trunk, and to the diaphragm."""
        a, b, _ = self.half_mm
        trunk = self.skin_distance(points)
        inside = trunk + np.float32(self.fat_mm + self.wall_mm)
        above = self.height_above_diaphragm(points)
        heart = np.maximum(self.organ("heart", points), 1 - above)
        lung = np.minimum(self.organ("right lung", points), self.organ("left lung", points))
        lung = np.maximum.reduce([lung, inside, 1 - above, 2 - heart])
        spine = cylinder_distance(points, (0.0, -0.60 * b), (0.17 * a, 0.17 * b))
        kidney = np.minimum(self.organ("right kidney", points), self.organ("left kidney", points))
        liver = np.maximum.reduce([self.organ("liver", points), inside, above + 3, 2 - kidney, 3 - spine])
        spleen = np.maximum.reduce([self.organ("spleen", points), inside, above + 3, 2 - kidney])
        return {
            "trunk": trunk,
            "inside": inside,
            "above": above,
            "lung": np.maximum(lung, 3 - spine),
            "heart": heart,
            "liver": liver,
            "spleen": spleen,
            "kidney": np.maximum(kidney, inside),
            "spine": spine,
        }

    def paint_ct(self, points: Points, width_mm: float) -> tuple[Field, NDArray[np.uint8]]:
        """Give the Hounsfield units and the labels (1, 2, ... in the order of ``ORGANS``) at points.

        A boundary is ``width_mm`` wide: about the size of a voxel.
        """
        found = self.organ_distances(points)
        hu = np.full(points.shape[1:], HU["air"], np.float32)

        def paint_shape(value: float | Field, distance: Field) -> None:
            share = inside_fraction(distance, width_mm)
            at = share > 0
            level = value[at] if isinstance(value, np.ndarray) else np.float32(value)
            hu[at] += share[at] * (level - hu[at])

        paint_shape(HU["fat"], found["trunk"])
        paint_shape(HU["muscle"], found["trunk"] + np.float32(self.fat_mm))
        paint_shape(self.hu_between_organs(points, found), found["inside"])
        paint_shape(HU["rib"], self.rib_distance(points, found))
        paint_shape(self.hu_with_vessels(points, found["lung"], HU["lung"], 40.0, self.vessels), found["lung"])
        paint_shape(HU["heart"], found["heart"])
        stomach = np.maximum.reduce([self.organ("stomach", points), found["inside"], found["above"] + 3])
        paint_shape(HU["stomach"], np.maximum(stomach, 2 - found["liver"]))
        paint_shape(self.hu_with_vessels(points, found["liver"], HU["liver"], 160.0, self.branches), found["liver"])
        paint_shape(HU["spleen"], found["spleen"])
        paint_shape(HU["kidney"], found["kidney"])
        a, b, _ = self.half_mm
        paint_shape(HU["aorta"], cylinder_distance(points, (-0.10 * a, -0.34 * b), (0.085 * a, 0.10 * b)))
        self.paint_spine(points, found["spine"], paint_shape)
        labels = np.zeros(points.shape[1:], np.uint8)
        for number, name in enumerate(ORGANS, 1):
            labels[found[name] < 0] = number
        return hu, labels

    def hu_between_organs(self, points: Points, found: Mapping[str, Field]) -> Field:
        """Give the Hounsfield units between organs: mediastinum above the diaphragm, bowel and fat below."""
        hu = np.full(points.shape[1:], HU["mediastinum"], np.float32)
        at = (found["inside"] < 3) & (found["above"] < 0)
        share = 1 / (1 + np.exp(-4 * self.bowel(points[:, at])))
        hu[at] = HU["fat"] + share * (HU["bowel"] - HU["fat"])
        return hu

    def hu_with_vessels(
        self,
        points: Points,
        organ_distance: Field,
        organ_hu: float,
        vessel_hu: float,
        waves: tuple[WaveField, WaveField],
    ) -> Field:
        """Give the Hounsfield units of an organ with vessels in it, none just below its surface."""
        hu = np.full(points.shape[1:], organ_hu, np.float32)
        at = organ_distance < 0
        depth = np.clip(-organ_distance[at] / np.float32(6.0), 0, 1)
        hu[at] += (vessel_hu - organ_hu) * depth * vessel_lines(*waves, points[:, at], width=0.13)
        return hu

    def rib_distance(self, points: Points, found: Mapping[str, Field]) -> Field:
        """Give the signed distance to slanting ribs within the chest wall."""
        _, b, h = self.half_mm
        thick = 0.38 * self.wall_mm
        shell = np.abs(found["trunk"] + np.float32(self.fat_mm + 0.55 * self.wall_mm)) - np.float32(thick)
        step = 0.30 * h
        along = points[2] + 0.60 * h * (points[1] / b)
        band = np.abs((along / step) % 1 - 0.5) * np.float32(step) - np.float32(0.07 * h)
        return np.maximum.reduce([shell, band, -0.55 * h - points[2]]).astype(np.float32)

    def paint_spine(self, points: Points, spine_distance: Field, paint_shape: PaintShape) -> None:
        """Paint vertebrae, discs and the spinal canal."""
        a, b, h = self.half_mm
        step = 0.30 * h
        to_disc = np.abs((points[2] / step) % 1 - 0.5) * np.float32(step)
        body = np.where(to_disc < 0.09 * h, HU["disc"], HU["marrow"]).astype(np.float32)
        body[(spine_distance > -0.03 * a) & (to_disc >= 0.09 * h)] = HU["cortex"]
        paint_shape(body, spine_distance)
        behind = cylinder_distance(points, (0.0, -0.81 * b), (0.10 * a, 0.09 * b))
        paint_shape(HU["cortex"], behind - 2)
        paint_shape(HU["cord"], behind)

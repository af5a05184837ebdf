"""Real pairs of images of which something is known: landmarks, matrices, or at least that both show the same."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from itertools import permutations
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from _registration_pairs import DATA, Array, pair

if TYPE_CHECKING:
    from medgrad.data import Image

SIDE = 64
SLICES = DATA / "registration" / "itk_brain_slices"
STAINS = ("HE", "proSPC")
PATIENTS = ("01", "03")


@dataclass(frozen=True)
class Known:
    """Two images, and world points (n, dims) of the fixed one with where they lie in the moving one, in mm."""

    name: str
    fixed: Image
    moving: Image
    points: Array
    ends: Array
    kind: Literal["rigid", "similarity", "affine", "deformable"] = "deformable"

    def errors(self, transform: Any) -> Array:
        """Give how far each point ends from where it belongs."""
        return np.linalg.norm(transform.to_moving(self.points) - self.ends, axis=-1)


def made(kind: str, seed: int) -> Known:
    """Give a pair that was made by a known warp; its points are where an error counts."""
    from medgrad.data.transform import voxel_positions

    fixed, moving, truth, inside = pair(kind, seed)
    points = voxel_positions(fixed.grid)[inside]
    return Known(f"{kind} {seed}", fixed, moving, points, points + truth[inside])


def histology() -> Known:
    """Read a slice of a lung in two stains, with 78 landmarks."""
    from medgrad.data.formats import read

    paths = [DATA / "registration" / "histology_lesion" / f"Izd2-29-041-w35_{stain}.jpg" for stain in STAINS]
    return Known("histology", *map(read, paths), *[marks(path.with_suffix(".csv")) for path in paths])


def marks(path: Path) -> Array:
    """Read landmarks as (rows, columns)."""
    with path.open(newline="") as file:
        return np.array([[float(row["Y"]), float(row["X"])] for row in csv.DictReader(file)])


def patients() -> list[Known]:
    """Give the FLAIRs of two patients at two dates, each date once as the fixed image; points lie in the brain."""
    from medgrad.data.formats import read

    found = []
    for patient in PATIENTS:
        folder = DATA / "longitudinal_ms" / f"patient{patient}"
        matrices = [to_study(folder, date) for date in (1, 2)]
        images = [read(folder / f"study{date}_FLAIR.nii.gz") for date in (1, 2)]
        for one, other in permutations((0, 1)):
            name = f"{patient} date {one + 1} to {other + 1}"
            at, ends = (moved(matrices[k], brain(folder)) for k in (one, other))
            found.append(Known(name, images[one], images[other], at, ends, "rigid"))
    return found


def weightings() -> list[Known]:
    """Give FLAIR and T1 of a patient at two dates; how they lie to each other was registered by others."""
    from medgrad.data.formats import read, read_matrix

    folder, found = DATA / "longitudinal_ms" / "patient01", []
    for date in (1, 2):
        images = [read(folder / f"study{date}_{name}.nii.gz") for name in ("FLAIR", "T1W")]
        points = moved(to_study(folder, date), brain(folder))
        ends = moved(read_matrix(folder / f"study{date}_T1W_intrastudy_to_FLAIR.txt"), points)
        found.append(Known(f"01 date {date}, FLAIR to T1", *images, points, ends, "rigid"))
    return found


def to_study(folder: Path, date: int) -> Array:
    """Read the matrix from the common space to a date."""
    from medgrad.data.formats import read_matrix

    return read_matrix(folder / f"study{date}_FLAIR_to_common_space.txt")


def brain(folder: Path) -> Array:
    """Give points in a brain, in the common space."""
    from medgrad.data.formats import read
    from medgrad.data.transform import voxel_positions

    mask = read(folder / "brainmask_common.nii.gz")
    return voxel_positions(mask.grid)[mask.array > 0][::50]


def moved(matrix: Array, points: Array) -> Array:
    """Move points by a matrix."""
    from medgrad.data.transform import apply_affine

    return apply_affine(matrix, points)


def slices() -> list[Known]:
    """Give the brain slices whose transform is linear, each as it was found to lie.

    All were turned about half the size of the picture, (128.5, 110.5). What a file is named for is what the picture
    shows, but for two: R10X13Y17 lies 16 rows lower, not 17 (seen through 16, the fixed slice differs by 8 grey values
    in the mean square, as it does where a slice was turned alone; through 17 by 22); and R10X13Y17S12 was made by the
    inverse, from the moving slice to the fixed one.
    """
    turn, middle = turned(-10.0), np.array([128.5, 110.5])
    back = np.linalg.inv(placed(1.2 * turn, middle, (17, 13)))
    none = np.eye(2)
    known = [
        ("PD", "PD", "Shifted13x17y", "rigid", placed(none, middle, (17, 13))),
        ("PD", "PD", "Rotated10", "rigid", placed(turn, middle, (0, 0))),
        ("PD", "PD", "R10X13Y17", "rigid", placed(turn, middle, (16, 13))),
        ("PD", "PD", "R10X13Y17S12", "similarity", back),
        ("PD", "T1", "Border20", "rigid", np.eye(3)),
        ("T1", "PD", "Border20", "rigid", np.eye(3)),
        ("T1", "PD", "Shifted13x17y", "rigid", placed(none, middle, (17, 13))),
    ]
    return [slice_pair(*words) for words in known]


def slice_pair(one: str, other: str, name: str, kind: Any, matrix: Array) -> Known:
    """Read a slice without a transform and one with it; points are the head."""
    from medgrad.data.formats import read
    from medgrad.data.transform import voxel_positions

    files = {"PD": "BrainProtonDensitySlice", "T1": "BrainT1Slice"}
    fixed, moving = read(SLICES / f"{files[one]}Border20.png"), read(SLICES / f"{files[other]}{name}.png")
    points = voxel_positions(fixed.grid)[fixed.channels_first[0] > 20][::10]
    return Known(f"{one} to {other} {name}", fixed, moving, points, moved(matrix, points), kind)


def turned(degrees: float) -> Array:
    """Give a turn in the plane."""
    c, s = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    return np.array([[c, -s], [s, c]])


def placed(matrix: Array, middle: Array, shift: tuple[float, float]) -> Array:
    """Give a matrix that acts about a middle, followed by a shift."""
    whole = np.eye(3)
    whole[:2, :2], whole[:2, 2] = matrix, middle - matrix @ middle + shift
    return whole


def breath(spacing_mm: float, number: int) -> Known:
    """Give the last and the first scan of a synthetic chest; points are the organs of the last."""
    from medgrad.data.cohorts.phantom import Phantom, make_patient
    from medgrad.data.transform import voxel_positions

    shape = (round(240 / spacing_mm), round(240 / spacing_mm), round(192 / spacing_mm))
    made = Phantom(seed=3, dates=(2, 2), shape=shape, spacing_mm=(spacing_mm,) * 3)
    first, last = make_patient(made, number).studies
    organs = last.labels.array > 0
    points = voxel_positions(last.image.grid)[organs]
    ends = points + last.deformation.field[organs]
    return Known(f"{spacing_mm:g} mm, patient {number + 1}", last.image, first.image, points[::7], ends[::7])


def hippocampi(number: int) -> tuple[Image, Image, Array]:
    """Read a pair of hippocampi of two people in the middle of cubes, and points where the fixed image is."""
    import nibabel

    from medgrad.data import Grid, Image
    from medgrad.data.transform import voxel_positions

    with (DATA / "registration" / "hippocampus_pairs_ants_reference.csv").open(newline="") as file:
        row = list(csv.DictReader(file))[number]
    grid, images = Grid.from_shape((SIDE,) * 3), []
    for name in (row["fixed"], row["moving"]):
        array = np.asarray(nibabel.load(DATA / "seg3d_hippocampus" / "images" / f"hippocampus_{name}.nii.gz").dataobj)
        spare = [SIDE - s for s in array.shape]
        images.append(Image(np.pad(array, [(s // 2, s - s // 2) for s in spare]), grid))
    return images[0], images[1], voxel_positions(grid)[images[0].array > 0]

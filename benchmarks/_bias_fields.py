"""Images of MR with a brain mask, bias fields to plant in them, and images of known tissue without a field."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

DATA = Path(__file__).parents[2] / "shared" / "data" / "longitudinal_ms"
STUDIES = tuple((patient, study) for patient in ("patient01", "patient03") for study in (1, 2))
PLANTED = 0.0725
"""Standard deviation in the brain of the logarithm of a planted field."""
TISSUES, NOISE, MOST = 6, 0.03, 0.2


class Scan(NamedTuple):
    """An image, its brain, and the sides of an element in mm."""

    image: Any
    brain: Any
    spacing: tuple[float, ...]


def scans() -> Iterator[Scan]:
    """Read the FLAIR images, each with the brain mask of its patient carried over to its grid."""
    import nibabel
    from scipy import ndimage

    for patient, study in STUDIES:
        flair = nibabel.load(DATA / patient / f"study{study}_FLAIR.nii.gz")
        mask = nibabel.load(DATA / patient / "brainmask_common.nii.gz")
        to_common = read_transform(DATA / patient / f"study{study}_FLAIR_to_common_space.txt")
        to_mask = np.linalg.inv(mask.affine) @ np.linalg.inv(to_common) @ flair.affine
        inside = np.asarray(mask.dataobj, np.uint8)
        brain = ndimage.affine_transform(inside, to_mask, output_shape=flair.shape, order=0) > 0
        image = np.asarray(flair.dataobj, np.float32)
        yield Scan(image, brain, tuple(float(s) for s in flair.header.get_zooms()))


def read_transform(path: Path) -> Any:
    """Read an affine transform in ITK's text format, as a matrix between points of NIfTI (RAS)."""
    lines = dict(line.split(":", 1) for line in path.read_text(encoding="utf-8").splitlines() if ":" in line)
    numbers = np.array(lines["Parameters"].split(), float)
    centre = np.array(lines["FixedParameters"].split(), float)
    matrix = np.eye(4)
    matrix[:3, :3] = numbers[:9].reshape(3, 3)
    matrix[:3, 3] = numbers[9:] + centre - matrix[:3, :3] @ centre
    flip = np.diag([-1.0, -1.0, 1.0, 1.0])
    return flip @ matrix @ flip


def places(scan: Scan) -> list[Any]:
    """Give the place of each element along each axis, from the middle, in units of 100 mm."""
    sides = zip(scan.image.shape, scan.spacing, strict=True)
    return list(np.meshgrid(*[(np.arange(n) - (n - 1) / 2) * s / 100 for n, s in sides], indexing="ij", sparse=True))


def polynomial(at: Sequence[Any], rng: np.random.Generator) -> Any:
    """A polynomial of degree two and three Gaussians of 50 to 90 mm."""
    x, y, z = at
    terms = (x, y, z, x * x, y * y, z * z, x * y, x * z, y * z)
    field = sum(weight * term for weight, term in zip(rng.normal(size=9), terms, strict=True))
    for _ in range(3):
        middle, width = rng.uniform(-0.8, 0.8, 3), rng.uniform(0.5, 0.9)
        square = sum((a - m) ** 2 for a, m in zip(at, middle, strict=True))
        field = field + rng.normal() * 1.5 * np.exp(-square / 2 / width**2)
    return field


def waves(at: Sequence[Any], rng: np.random.Generator) -> Any:
    """Three plane waves of 160 to 320 mm."""
    field: Any = 0
    for _ in range(3):
        along = rng.normal(size=3)
        along *= 2 * np.pi / rng.uniform(1.6, 3.2) / np.linalg.norm(along)
        phase = sum(k * a for k, a in zip(along, at, strict=True)) + rng.uniform(0, 2 * np.pi)
        field = field + rng.uniform(0.5, 1) * np.sin(phase)
    return field


def coils(at: Sequence[Any], rng: np.random.Generator) -> Any:
    """The logarithm of the sum of four coils around the head, of unequal gain, that fall off as loops do."""
    turn, total = rng.uniform(0, 2 * np.pi), 0
    for number in range(4):
        angle = turn + number * np.pi / 2
        middle = (1.4 * np.cos(angle), 1.4 * np.sin(angle), rng.uniform(-0.5, 0.5))
        square = sum((a - m) ** 2 for a, m in zip(at, middle, strict=True))
        total = total + rng.uniform(0.3, 1) / (1 + square / 0.8**2) ** 1.5
    return np.log(total)


FIELDS = {"polynomial": polynomial, "waves": waves, "coils": coils}
"""Settings of both sides were chosen on the first; the others show what they are worth."""


def plant(scan: Scan, kind: str, seed: int) -> Any:
    """Give the logarithm of a field, of deviation ``PLANTED`` in the brain."""
    field = FIELDS[kind](places(scan), np.random.default_rng(seed)) + np.zeros(scan.image.shape)
    inside = field[scan.brain]
    return (field - inside.mean()) / inside.std() * PLANTED


def nearest_polynomial(scan: Scan) -> Any:
    """Give the polynomial of degree three that is nearest to the logarithm of most of the brain.

    What is further than ``MOST`` from it, such as fluid and lesions, does not count.
    """
    x, y, z = places(scan)
    powers = [(i, j, k) for i in range(4) for j in range(4 - i) for k in range(4 - i - j)]
    terms = [x**i * y**j * z**k + np.zeros(scan.image.shape, np.float32) for i, j, k in powers]
    inside = scan.brain & (scan.image > 0)
    sample, logs = np.stack([term[inside][::7] for term in terms], -1), np.log(scan.image[inside][::7])
    counted = np.abs(logs - np.median(logs)) < 2 * MOST
    for _ in range(20):
        weights = np.linalg.lstsq(sample[counted], logs[counted], rcond=None)[0]
        counted = np.abs(logs - sample @ weights) < MOST
    field = sum(weight * term for weight, term in zip(weights, terms, strict=True))
    return np.clip(field, *np.quantile(field[inside], (0.001, 0.999)))


def without_field(scan: Scan, seed: int) -> Scan:
    """Give an image of known tissue: the mean of its class in each element, under Rician noise of 3 % of the brightest.

    The classes are those of the scan, smoothed and divided by ``nearest_polynomial``, by one-dimensional k-means.
    """
    from scipy import ndimage

    inside = scan.brain & (scan.image > 0)
    flat = scan.image / np.exp(nearest_polynomial(scan))
    flat = ndimage.gaussian_filter(flat, [0.5 / s for s in scan.spacing])
    sample, middles = flat[inside][::7], np.linspace(0, np.percentile(flat[inside], 99.8), TISSUES)
    for _ in range(30):
        owner = np.abs(sample[:, None] - middles).argmin(1)
        middles = np.array([sample[owner == i].mean() if (owner == i).any() else m for i, m in enumerate(middles)])
    tissue = np.searchsorted((middles[1:] + middles[:-1]) / 2, flat)
    clean = ndimage.gaussian_filter(middles[tissue], [0.6, 0.6, 0])
    rng, sigma = np.random.default_rng(seed), NOISE * middles[-1]
    noisy = np.hypot(clean + rng.normal(0, sigma, clean.shape), rng.normal(0, sigma, clean.shape))
    return scan._replace(image=noisy.astype(np.float32))

"""Artefacts simulated by other means than those that the library degrades images by."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import ndimage

ENERGIES = (0.2, 0.35, 0.3, 0.15)
"""The share of photons of each of four energies, from low to high."""
WATER = (0.0269, 0.0206, 0.0184, 0.0171)
BONE = (0.0570, 0.0315, 0.0240, 0.0205)
METAL = (2.86, 0.95, 0.47, 0.29)
"""Attenuation by mm at 40, 60, 80 and 100 keV: of water, of bone at its density, and of steel."""
PHOTONS = 2e5


def rings(slices: Any, rng: np.random.Generator, *, strength: float, centre: tuple[float, float]) -> Any:
    """Give what detectors of uneven gain add to (x, y, slices), in the unit of ``strength``.

    Each slice has its own faulty detectors; a gain is uneven along the turn, and some fail for a part of it alone.
    """
    x, y, count = slices.shape
    off = np.indices((x, y)) - np.reshape(centre, (2, 1, 1))
    radius, angle = np.hypot(*off), np.arctan2(off[1], off[0]) % (2 * np.pi)
    r, theta = np.arange(0, radius.max() + 2, 0.25)[:, None], np.arange(0, 361)[None] * np.pi / 180
    added = np.zeros(slices.shape, np.float32)
    for number in range(count):
        table = np.zeros((r.size, theta.size))
        for _ in range(rng.integers(4, 13)):
            width, at = rng.uniform(0.7, 3.5), rng.uniform(2, radius.max())
            across = np.exp(-0.5 * ((r - at) / (width / 2.355)) ** 2) if rng.random() < 0.5 else abs(r - at) < width / 2
            along = 1 + rng.uniform(0, 0.4) * np.cos(theta + rng.uniform(0, 2 * np.pi))
            if rng.random() < 0.4:
                along = along * ((theta - rng.uniform(0, 2 * np.pi)) % (2 * np.pi) < rng.uniform(0.8, 4.7))
            table += rng.normal(0, strength) * across * along
        at = [radius / 0.25, angle * 180 / np.pi]
        added[..., number] = ndimage.map_coordinates(table, at, order=1, mode="nearest")
    return added


def move(image: Any, rng: np.random.Generator, *, degrees: float, shift: float, axis: int, n: int = 4) -> Any:
    """Give the magnitude of an image of which lines of k-space along an axis are from ``n`` positions.

    The middle fifth of k-space is from the image as it is; the others are rotated about an axis of any direction,
    interpolated by cubic splines.
    """
    at = (np.arange(image.shape[axis]) + 0.5) / image.shape[axis]
    owner = np.searchsorted(np.sort(rng.random(n - 1)), at)
    rest = owner[image.shape[axis] // 2]
    owner[np.abs(at - 0.5) <= 0.1] = rest
    spectrum = np.zeros(image.shape, np.complex128)
    for position in range(n):
        moved = image if position == rest else turned(image, rng.normal(0, degrees, 3), rng.normal(0, shift, 3))
        lines = np.moveaxis(np.fft.fftshift(np.fft.fftn(moved)), axis, -1)
        np.moveaxis(spectrum, axis, -1)[..., owner == position] = lines[..., owner == position]
    return np.abs(np.fft.ifftn(np.fft.ifftshift(spectrum))).astype(np.float32)


def turned(image: Any, degrees: Any, shift: Any) -> Any:
    """Turn an image about its middle by a vector of degrees, and shift it by elements."""
    from scipy.spatial.transform import Rotation

    matrix, middle = Rotation.from_rotvec(degrees, degrees=True).as_matrix(), (np.array(image.shape) - 1) / 2
    return ndimage.affine_transform(image, matrix, middle - matrix @ middle + shift, order=3, mode="nearest")


def metal(hu: Any, spacing: float, rng: np.random.Generator) -> tuple[Any, Any]:
    """Give slices (x, y, slices) in HU with steel in some of them, by a scan of four energies, and where it is.

    What a scan with metal gives by filtered back projection less what one without gives is added; water is corrected
    for, as a scanner does. Photons are counted, so rays through much metal starve.
    """
    x, y, count = hu.shape
    is_metal = np.zeros(hu.shape, bool)
    for _ in range(rng.integers(1, 4)):
        centre = np.array([x, y, count]) * rng.uniform(0.3, 0.7, 3)
        size = np.array([*rng.uniform(3, 9, 2), rng.uniform(5, 12)]) / spacing
        off = (np.indices(hu.shape) - centre.reshape(3, 1, 1, 1)) / size.reshape(3, 1, 1, 1)
        is_metal |= (off**2).sum(0) < 1
    shown = hu.astype(np.float32)
    for number in np.flatnonzero(is_metal.any((0, 1))):
        streaks = scan(hu[..., number], is_metal[..., number], spacing, rng)
        shown[..., number] = np.where(is_metal[..., number], 3071, shown[..., number] + streaks)
    return np.clip(shown, -1024, 3071), is_metal


def scan(hu: Any, is_metal: Any, spacing: float, rng: np.random.Generator, angles: int = 180) -> Any:
    """Give what metal changes in a slice beside itself, in HU."""
    water = np.clip(hu + 1000, 0, 1100) / 1000
    bone = np.clip(hu - 100, 0, None) / 1000
    water, bone = np.where(is_metal, 0, water), np.where(is_metal, 0, bone)
    theta = np.arange(angles) * 180 / angles
    ways = [radon(part * spacing, theta) for part in (water, bone, is_metal.astype(float))]
    counts = {
        many: sum(
            share * np.exp(-(ways[0] * w + ways[1] * b + many * ways[2] * m))
            for share, w, b, m in zip(ENERGIES, WATER, BONE, METAL, strict=True)
        )
        for many in (0, 1)
    }
    table = np.linspace(0, 800, 4001)
    poly = -np.log(sum(s * np.exp(-table * w) for s, w in zip(ENERGIES, WATER, strict=True)))
    noisy = np.maximum(rng.poisson(PHOTONS * counts[1]), 1) / PHOTONS
    with_metal, without = (np.interp(-np.log(c), poly, table) for c in (noisy, counts[0]))
    linear = ways[2] * METAL[1] / WATER[1]
    return filtered_back_projection(with_metal - without - linear, theta, hu.shape) * 1000 / spacing


def radon(image: Any, theta: Any) -> Any:
    """Sum an image along parallel beams at angles in degrees, (angles, rays)."""
    size = int(np.ceil(np.hypot(*image.shape))) | 1
    room = [((size - n) // 2, size - n - (size - n) // 2) for n in image.shape]
    padded = np.pad(image, room)
    return np.stack([ndimage.rotate(padded, -angle, reshape=False, order=1).sum(0) for angle in theta])


def filtered_back_projection(sinogram: Any, theta: Any, shape: tuple[int, int]) -> Any:
    """Give the slice of parallel beams, by a ramp with a Hann window."""
    size = sinogram.shape[1]
    frequency = np.fft.rfftfreq(4 * size)
    ramp = frequency * (0.5 + 0.5 * np.cos(2 * np.pi * frequency))
    rows = np.fft.irfft(np.fft.rfft(sinogram, 4 * size) * 2 * ramp, 4 * size)[:, :size]
    smeared = sum(
        ndimage.rotate(np.broadcast_to(row, (size, size)), angle, reshape=False, order=1)
        for row, angle in zip(rows, theta, strict=True)
    )
    low = [(size - n) // 2 for n in shape]
    return smeared[tuple(slice(a, a + n) for a, n in zip(low, shape, strict=True))] * np.pi / (2 * len(theta))


def cut_frequencies(image: Any, times: int) -> tuple[Any, Any]:
    """Give an image acquired with so many times fewer lines along its first two axes, and its mean over the elements.

    Both have their elements at the same places.
    """
    wanted, spectrum = image, image
    for axis in (0, 1):
        size = image.shape[axis] // times
        wanted = wanted.reshape(*wanted.shape[:axis], size, times, *wanted.shape[axis + 1 :]).mean(axis + 1)
        lines = np.fft.fftshift(np.fft.fft(spectrum, axis=axis), axes=axis)
        first = image.shape[axis] // 2 - size // 2
        kept = np.take(lines, np.arange(first, first + size), axis=axis)
        phase = np.exp(1j * np.pi * (np.arange(size) - size // 2) * (times - 1) / image.shape[axis])
        kept = kept * phase.reshape([-1 if a == axis else 1 for a in range(image.ndim)])
        spectrum = np.fft.ifft(np.fft.ifftshift(kept, axes=axis), axis=axis) / times
    return np.abs(spectrum).astype(np.float32), wanted.astype(np.float32)


HEAD = (
    (1, 0.69, 0.92, 0, 0, 0), (-0.8, 0.6624, 0.874, 0, -0.0184, 0), (-0.2, 0.11, 0.31, 0.22, 0, -18),
    (-0.2, 0.16, 0.41, -0.22, 0, 18), (0.1, 0.21, 0.25, 0, 0.35, 0), (0.1, 0.046, 0.046, 0, 0.1, 0),
    (0.1, 0.046, 0.046, 0, -0.1, 0), (0.1, 0.046, 0.023, -0.08, -0.605, 0), (0.1, 0.023, 0.023, 0, -0.606, 0),
    (0.1, 0.023, 0.046, 0.06, -0.605, 0),
)  # fmt: skip
"""Ellipses of Shepp and Logan's head, as Toft has them: value, semi-axes, centre, degrees."""


def head(n: int) -> Any:
    """Draw Shepp and Logan's head in n x n elements."""
    y, x = np.mgrid[1 : -1 : n * 1j, -1 : 1 : n * 1j]
    drawn = np.zeros((n, n), np.float32)
    for value, a, b, x0, y0, degrees in HEAD:
        cosine, sine = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
        one, two = (x - x0) * cosine + (y - y0) * sine, (y - y0) * cosine - (x - x0) * sine
        drawn += np.float32(value) * ((one / a) ** 2 + (two / b) ** 2 <= 1)
    return drawn

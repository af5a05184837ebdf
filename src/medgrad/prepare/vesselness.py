"""Vesselness: the response of multi-scale second-derivative line filters to tubes, in 2D and 3D."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations_with_replacement
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from ..errors import SettingError
from ._image_step import Chosen, ImageStep, Values

Array = NDArray[Any]

RELATIVE_RADII = (1.4, 2.0, 2.8, 4.0)
"""The radii that are taken where none are given, in the smallest sides of an element."""
ORIENTATIONS_PER_ELONGATION = 5
"""A Gaussian n times as long as wide is turned to 5 n orientations: a bar between two loses at most a seventh."""
ELONGATION = 2.0
"""The length of an oriented Gaussian over the sum of its radius and the smallest."""
HIGHEST_FREQUENCY = 4.5
"""Angular frequencies above this over the width of a Gaussian are left out: it has less than a thousandth there."""
MIN_SIGMA = 0.3
"""The least width of a Gaussian, in elements."""
BLOB_BETA = 0.5
SLAB_ELEMENTS = 1 << 20
"""So many elements have their eigenvalues taken at a time."""


@dataclass(frozen=True)
class Vesselness(ImageStep):
    """How much each element looks like the middle of a tube: about the tube's contrast, whatever its radius.

    ``radii`` are in mm; where none are given, four from 1.4 to 4 times the smallest side of an element. The largest
    response counts. ``dark`` finds tubes darker than what is around them. ``local_contrast`` divides by the local
    standard deviation first, as photographs need. ``border`` mm along the rim of the region are not read, where a
    field of view fades out.

    2D: second derivatives of elongated Gaussians in up to 20 orientations. 3D: the geometric mean of the two largest
    eigenvalues of the Hessian (Sato et al. 1998, eq. 9) times the blob term of Frangi et al. 1998, eq. 15. A tube
    of contrast 1 gives about 1 along any direction, also where elements are anisotropic, if it is no thinner than they.
    """

    radii: tuple[float, ...] = ()
    dark: bool = False
    local_contrast: bool = False
    border: float = 0.0

    unit = "vesselness"

    def __post_init__(self) -> None:
        if not all(isinstance(r, (int, float)) and 0 < r <= 100 for r in self.radii):
            raise SettingError(f"'radii' of vesselness are above 0 and up to 100 mm, but they are {list(self.radii)}.")
        if not 0 <= self.border <= 1000:
            raise SettingError(f"'border' of vesselness is from 0 to 1000 mm, but it is {self.border}.")

    def change(self, values: Values, spacing: Sequence[float]) -> tuple[Values, Chosen]:
        radii = sorted(self.radii) or [ratio * min(spacing) for ratio in RELATIVE_RADII]
        reach = 5.0 * (radii[-1] + radii[0])
        padded, inner = pad(values, [math.ceil(reach / size) for size in spacing])
        padded -= padded.mean(dtype=np.float64)
        if self.local_contrast:
            padded = divide_by_local_contrast(padded, spacing, 4 * radii[-1])
        spectrum = fft.rfftn(-padded if self.dark else padded)
        respond = oriented_responses if values.ndim == 2 else hessian_responses
        found: Values = np.zeros(values.shape, np.float32)
        for radius in radii:
            for response in respond(spectrum, padded.shape, inner, spacing, (radius, radii[0])):
                np.maximum(found, response, out=found)
        return found, {"radii": " ".join(f"{r:g}" for r in radii)}


def pad(values: Values, widths: Sequence[int]) -> tuple[Values, tuple[slice, ...]]:
    """Pad by reflection, by at least these widths, to a shape whose Fourier transform is quick."""
    shape = [fft.next_fast_len(n + 2 * width, real=True) for n, width in zip(values.shape, widths, strict=True)]
    added = [(w, m - n - w) for n, w, m in zip(values.shape, widths, shape, strict=True)]
    inner = tuple(slice(w, w + n) for n, w in zip(values.shape, widths, strict=True))
    return np.pad(values, added, mode="symmetric"), inner


def frequencies(shape: Sequence[int], spacing: Sequence[float]) -> list[NDArray[np.float32]]:
    """Give the angular frequency a mm along each axis, as ``rfftn`` lays them out, ready to broadcast."""
    made = []
    for axis, (n, size) in enumerate(zip(shape, spacing, strict=True)):
        along = (fft.rfftfreq if axis == len(shape) - 1 else fft.fftfreq)(n, size) * 2 * np.pi
        made.append(along.astype(np.float32).reshape([-1 if a == axis else 1 for a in range(len(shape))]))
    return made


def divide_by_local_contrast(values: Values, spacing: Sequence[float], sigma: float) -> Values:
    """Subtract the local mean and divide by the local standard deviation, which is held up by that of the whole."""
    low_pass = np.float32(1)
    for along in frequencies(values.shape, spacing):
        low_pass = low_pass * np.exp(-0.5 * (sigma * along) ** 2)
    mean, mean_square = (fft.irfftn(fft.rfftn(v) * low_pass, values.shape) for v in (values, values * values))
    variance = np.maximum(mean_square - mean * mean, 0)
    divided: Values = (values - mean) / np.sqrt(variance + max(float(variance.mean()), 1e-12))
    return divided


def oriented_responses(
    spectrum: Array, shape: Sequence[int], inner: tuple[slice, ...], spacing: Sequence[float], radii: Sequence[float]
) -> Iterator[Values]:
    """Give the response of an elongated second derivative for a radius (and the smallest) in each orientation."""
    radius, smallest = radii
    sigmas = widths(radius, spacing)
    gains = tube_gains(sigmas, radius, spacing)
    across, along = float(np.mean(sigmas)), ELONGATION * (radius + smallest)
    first, second = frequencies(shape, spacing)
    kept = int(np.count_nonzero(second <= HIGHEST_FREQUENCY / across))
    second, spectrum = second[:, :kept], spectrum[:, :kept]
    count = math.ceil(ORIENTATIONS_PER_ELONGATION * along / radius)
    for number in range(count):
        angle = math.pi * number / count
        sine, cosine = math.sin(angle), math.cos(angle)
        steep = first * (sine * math.sqrt(gains[0])) + second * (cosine * math.sqrt(gains[1]))
        # -1/2 ((across (first sine + second cosine))^2 + (along (first cosine - second sine))^2), multiplied out
        mixed = first * (-sine * cosine * (across**2 - along**2)) * second
        mixed -= 0.5 * first**2 * ((across * sine) ** 2 + (along * cosine) ** 2)
        mixed -= 0.5 * second**2 * ((across * cosine) ** 2 + (along * sine) ** 2)
        kernel = np.exp(mixed, out=mixed)
        kernel *= steep
        kernel *= steep
        rows = fft.ifft(spectrum * kernel, axis=0, overwrite_x=True)[inner[0]]
        yield fft.irfft(rows, shape[1], axis=1)[:, inner[1]]


def hessian_responses(
    spectrum: Array, shape: Sequence[int], inner: tuple[slice, ...], spacing: Sequence[float], radii: Sequence[float]
) -> Iterator[Values]:
    """Give the response of the Hessian's eigenvalues for a radius."""
    sigmas = widths(radii[0], spacing)
    gains = tube_gains(sigmas, radii[0], spacing)
    along = frequencies(shape, spacing)
    smooth = spectrum
    for sigma, axis in zip(sigmas, along, strict=True):
        smooth = smooth * np.exp(-0.5 * (sigma * axis) ** 2)
    steep = [np.float32(math.sqrt(gain)) * axis for gain, axis in zip(gains, along, strict=True)]
    parts = [
        fft.irfftn(smooth * (steep[i] * steep[j]), shape)[inner] for i, j in combinations_with_replacement(range(3), 2)
    ]
    found = np.empty(parts[0].shape, np.float32)
    thick = max(1, SLAB_ELEMENTS // max(1, parts[0][:1].size))
    for start in range(0, len(found), thick):
        found[start : start + thick] = tube_response(*(part[start : start + thick] for part in parts))
    yield found


def tube_response(xx: Values, xy: Values, xz: Values, yy: Values, yz: Values, zz: Values) -> Values:
    """Give the response to a bright tube from the negated Hessian: large in two directions, near 0 in the third."""
    low, middle, high = symmetric_eigenvalues(xx, xy, xz, yy, yz, zz)
    section = np.maximum(middle, 0) * np.maximum(high, 0)
    blob = low * low / np.maximum(section, 1e-20)
    response: Values = np.sqrt(section) * np.exp(-blob / (2 * BLOB_BETA**2))
    return response


def symmetric_eigenvalues(xx: Array, xy: Array, xz: Array, yy: Array, yz: Array, zz: Array) -> tuple[Array, ...]:
    """Give the eigenvalues of symmetric 3 x 3 matrices, the smallest first, in closed form (Smith 1961).

    >>> [v.round(3).item() for v in symmetric_eigenvalues(*map(np.float64, (2, 0, 0, 3, 4, 9)))]
    [1.0, 2.0, 11.0]
    """
    mean = (xx + yy + zz) / 3
    a, b, c = xx - mean, yy - mean, zz - mean
    size = np.sqrt(np.maximum((a * a + b * b + c * c + 2 * (xy * xy + xz * xz + yz * yz)) / 6, 1e-30))
    determinant = a * (b * c - yz * yz) - xy * (xy * c - yz * xz) + xz * (xy * yz - b * xz)
    angle = np.arccos(np.clip(determinant / (2 * size**3), -1, 1)) / 3
    high, low = mean + 2 * size * np.cos(angle), mean + 2 * size * np.cos(angle + 2 * np.pi / 3)
    return low, 3 * mean - high - low, high


def widths(radius: float, spacing: Sequence[float]) -> list[float]:
    """Give the Gaussian's width along each axis, in mm, at which a tube of this radius responds most.

    That is the radius in 2D and the radius over the root of 2 in 3D; the averaging over an element counts as smoothing.
    """
    wanted = radius**2 / (len(spacing) - 1)
    return [math.sqrt(max(wanted - size**2 / 12, (MIN_SIGMA * size) ** 2)) for size in spacing]


def tube_gains(sigmas: Sequence[float], radius: float, spacing: Sequence[float]) -> list[float]:
    """Give the factor of the second derivative along each axis with which tubes along any axis respond by 1."""
    n = len(spacing)
    if n == 2:
        return [1 / curvatures(sigmas[a : a + 1], radius, spacing[a : a + 1])[0] for a in range(2)]
    crossed = [[b for b in range(n) if b != axis] for axis in range(n)]
    found = [section_response([sigmas[b] for b in c], radius, [spacing[b] for b in c]) ** 2 for c in crossed]
    return [response / math.sqrt(math.prod(found)) for response in found]


def section_response(sigmas: Sequence[float], radius: float, spacing: Sequence[float]) -> float:
    """Give the response in the middle of a tube across two axes, without gains.

    It is halfway between that of this radius and the largest of those up to 1.5 times as wide: the two are the same
    but for tubes thinner than an element is long, which fill it in part.
    """
    responses = [
        math.prod(math.sqrt(max(c, 0.0)) for c in curvatures(sigmas, radius * ratio, spacing))
        for ratio in (1.0, 1.15, 1.3, 1.5)
    ]
    return (responses[0] + max(responses)) / 2


def curvatures(sigmas: Sequence[float], radius: float, spacing: Sequence[float]) -> list[float]:
    """Give the negated second derivative along each axis in the middle of a sampled bar or disc."""
    shape = [2 * math.ceil((radius + 5 * sigma) / size + 2) for sigma, size in zip(sigmas, spacing, strict=True)]
    section = sampled_ball(shape, radius, spacing)
    spectrum, along = fft.rfftn(section), frequencies(shape, spacing)
    for sigma, axis in zip(sigmas, along, strict=True):
        spectrum = spectrum * np.exp(-0.5 * (sigma * axis) ** 2)
    middle = tuple(n // 2 for n in shape)
    return [float(fft.irfftn(spectrum * axis * axis, shape)[middle]) for axis in along]


def sampled_ball(shape: Sequence[int], radius: float, spacing: Sequence[float], parts: int = 16) -> Array:
    """Give how much of each element lies within a radius of the middle one: a bar in 1D, a disc in 2D."""
    axes = np.ogrid[tuple(slice(0, n * parts) for n in shape)]
    squared = sum(
        (((axis + 0.5) / parts - 0.5 - n // 2) * size) ** 2 for axis, n, size in zip(axes, shape, spacing, strict=True)
    )
    inside = np.asarray(squared <= radius**2).astype(np.float64)
    for axis, n in enumerate(shape):
        inside = inside.reshape(*inside.shape[:axis], n, parts, *inside.shape[axis + 1 :]).mean(axis + 1)
    return inside


THIS = Vesselness

"""Synthetic CT scanners: each site has its own sharpness, noise and slice distance."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage


@dataclass(frozen=True)
class Site:
    """A synthetic CT scanner.

    ``psf_voxels`` is the width of its point spread function and ``noise_voxels`` the correlation length of its noise,
    in voxels.

    ``spacing_factors`` is the ratio of its voxel spacing to the requested one along x, y and z.
    """

    name: str
    kernel: str
    psf_voxels: float
    noise_hu: float
    noise_voxels: float
    spacing_factors: tuple[float, float, float] = (1.0, 1.0, 1.0)


SITES = (
    Site("North", "STANDARD", 0.45, 12.0, 0.70),
    Site("South", "SOFT", 0.60, 9.0, 0.95),
    Site("East", "SHARP", 0.35, 16.0, 0.50, (0.95, 0.95, 1.1)),
)


def simulate_scan(hu: NDArray[np.float32], site: Site, rng: np.random.Generator) -> NDArray[np.int16]:
    """Simulate a scan: blur by the point spread function, and add correlated noise."""
    blurred = ndimage.gaussian_filter(hu, site.psf_voxels)
    white = rng.standard_normal(hu.shape, np.float32)
    noise = ndimage.gaussian_filter(white, site.noise_voxels) - 0.6 * ndimage.gaussian_filter(
        white, 2.2 * site.noise_voxels
    )
    noise *= np.float32(site.noise_hu) / noise.std()
    return np.clip(np.round(blurred + noise), -1024, 3071).astype(np.int16)

"""Where a patient is scanned: a site has a sharpness, a noise and a slice distance of its own."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage


@dataclass(frozen=True)
class Site:
    """A scanner. ``blur`` is the width of its point spread and ``grain`` the size of its noise, in voxels.

    ``stretch`` is how much larger than asked for its voxels are along x, y and z.
    """

    name: str
    kernel: str
    blur: float
    noise_hu: float
    grain: float
    stretch: tuple[float, float, float] = (1.0, 1.0, 1.0)


SITES = (
    Site("North", "STANDARD", 0.45, 12.0, 0.70),
    Site("South", "SOFT", 0.60, 9.0, 0.95),
    Site("East", "SHARP", 0.35, 16.0, 0.50, (0.95, 0.95, 1.1)),
)


def scanned(hu: NDArray[np.float32], site: Site, rng: np.random.Generator) -> NDArray[np.int16]:
    """Give a scan of a body: blurred as the site's kernel does, with noise that is alike in neighbouring voxels."""
    seen = ndimage.gaussian_filter(hu, site.blur)
    white = rng.standard_normal(hu.shape, np.float32)
    noise = ndimage.gaussian_filter(white, site.grain) - 0.6 * ndimage.gaussian_filter(white, 2.2 * site.grain)
    noise *= np.float32(site.noise_hu) / noise.std()
    return np.clip(np.round(seen + noise), -1024, 3071).astype(np.int16)

"""A folder of small volumes, made by seed, that a network can learn in seconds."""

from pathlib import Path

import numpy as np

from medgrad.data import Grid, Image, LabelMap
from medgrad.data.formats import write

RECIPE = """
[model]
name = "unet"
channels = [4, 8]
strides = [[2, 2, 2]]

[training]
batch = 2
patch = [16, 16, 16]
validations = 6

[optimiser]
name = "adamw"
rate = 1e-2
"""


def make_folder(folder: Path, cases: int = 8, size: int = 16) -> Path:
    """Write images with a bright block and the block's label, as sibling folders."""
    for number in range(cases):
        rng = np.random.default_rng(number)
        grid = Grid.from_shape((size, size, size), spacing=(1, 1, 2))
        labels = np.zeros(grid.shape, np.uint8)
        corner = rng.integers(1, size - 8, 3)
        labels[tuple(slice(c, c + 6) for c in corner)] = 1
        image = (labels * 2 + rng.normal(0, 0.5, grid.shape)).astype(np.float32)
        write(folder / "images" / f"case_{number:02d}.nii.gz", Image(image, grid, "mr"))
        write(folder / "labels" / f"case_{number:02d}.nii.gz", LabelMap(labels, grid))
    (folder / "recipe.toml").write_text(RECIPE)
    return folder

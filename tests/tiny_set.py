"""A folder of small volumes, made by seed, that a network can learn in seconds."""

from pathlib import Path

import numpy as np

from medgrad.data import Grid, Image, LabelMap
from medgrad.data.formats import write
from medgrad.survey.dataset_facts import DatasetFacts

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


def make_facts(task: str, dims: int, **changes) -> DatasetFacts:
    """Give the facts of a made-up set: twelve small images with labels of two names."""
    known = {
        "task": task, "dims": dims, "cases": 12, "labels": ("liver", "tumour"), "exclusive": True,
        "channels": ("image",), "planes": 1, "modality": "mr", "measured": True, "shapes": ((40,) * dims,) * 3,
        "spacings": ((1.0,) * dims,) * 3, "intensity": (-100.0, 200.0, 40.0, 30.0), "foreground": 0.1,
        "is_8_bit": False, "counts": (), "objects": (8.0, 20.0), "most_objects": 5,
    }  # fmt: skip
    return DatasetFacts(**known | changes)

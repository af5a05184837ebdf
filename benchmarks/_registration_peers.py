"""ANTs' SyN as a side: run by a Python that has antspyx, on the pairs that are laid into a folder one by one."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
from _race import Side, serve, timed
from numpy.typing import NDArray

Array = NDArray[Any]


class Syn:
    """SyN with its defaults on one thread, asked for the way of one pair after another."""

    def __init__(self, python: str, folder: Path) -> None:
        os.environ["ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS"] = "1"
        self.folder, self.asked = folder, 0
        self.side = Side(__file__, str(folder), python=python)

    def way(self, fixed: Array, moving: Array, spacing: tuple[float, ...]) -> tuple[Array, float]:
        """Give the displacement (*shape, dims) in mm along the axes, and the processor's seconds."""
        np.savez(self.folder / f"{self.asked}.npz", fixed=fixed, moving=moving, spacing=spacing)
        cpu = self.side.ask()["value"]
        found = np.load(self.folder / f"{self.asked}.npy")
        self.asked += 1
        return found, float(cpu)


def version_in(python: str) -> str:
    """Tell which antspyx a Python has."""
    asked = "import importlib.metadata as m; print(m.version('antspyx'))"
    return subprocess.run([python, "-c", asked], check=True, capture_output=True, text=True).stdout.strip()


def answer(folder: Path, number: int) -> float:
    """Register one pair, write its way, and give the processor's seconds of the registration alone."""
    import ants

    given = np.load(folder / f"{number}.npz")
    spacing = tuple(map(float, given["spacing"]))
    fixed, moving = (ants.from_numpy(given[name], spacing=spacing) for name in ("fixed", "moving"))
    _, cpu, found = timed(lambda: ants.registration(fixed, moving, type_of_transform="SyN", random_seed=1))
    whole = ants.apply_transforms(fixed, moving, found["fwdtransforms"], compose=str(folder / f"{number}-"))
    np.save(folder / f"{number}.npy", ants.image_read(whole).numpy().astype(np.float32))
    for path in {*found["fwdtransforms"], *found["invtransforms"], whole}:
        Path(path).unlink(missing_ok=True)
    return cpu


if __name__ == "__main__":
    numbers = iter(range(sys.maxsize))
    serve(lambda: answer(Path(sys.argv[2]), next(numbers)))

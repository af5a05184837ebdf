"""ANTs and SimpleITK as sides: run by a Python that has them, on the pairs that are laid into a folder one by one."""

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


class Peer:
    """One way of another's to register, on one thread, asked for one pair after another."""

    def __init__(self, python: str, folder: Path, way: str) -> None:
        os.environ["ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS"] = "1"
        self.folder, self.way, self.asked = folder, way, 0
        self.side = Side(__file__, str(folder), way, python=python)

    def ask(self, **pair: Any) -> tuple[Array, float]:
        """Give what it has found for a pair, and the processor's seconds."""
        name = f"{self.way}-{self.asked}"
        np.savez(self.folder / f"{name}.npz", **pair)
        cpu = self.side.ask()["value"]
        self.asked += 1
        return np.load(self.folder / f"{name}.npy"), float(cpu)

    def close(self) -> None:
        """Let the process end."""
        self.side.close()


def version_in(python: str) -> str:
    """Tell which antspyx a Python has."""
    asked = "import importlib.metadata as m; print(m.version('antspyx'))"
    return subprocess.run([python, "-c", asked], check=True, capture_output=True, text=True).stdout.strip()


def by_ants(path: Path, way: str) -> float:
    """Register by one of ANTs' ways, and keep the displacement (*shape, dims) in mm along the axes.

    Its affine part looks at voxels drawn by chance, so a pair may come with a seed for that, else 1.
    """
    import ants

    given = np.load(path)
    spacing = tuple(map(float, given["spacing"]))
    fixed, moving = (ants.from_numpy(given[name].astype("float32"), spacing=spacing) for name in ("fixed", "moving"))
    seed = int(given["seed"]) if "seed" in given else 1
    ants.config.set_ants_deterministic(on=True, seed_value=seed)
    _, cpu, found = timed(lambda: ants.registration(fixed, moving, type_of_transform=way))
    whole = ants.apply_transforms(fixed, moving, found["fwdtransforms"], compose=str(path.with_suffix("")) + "-")
    np.save(path.with_suffix(".npy"), ants.image_read(whole).numpy().astype(np.float32))
    for file in {*found["fwdtransforms"], *found["invtransforms"], whole}:
        Path(file).unlink(missing_ok=True)
    return cpu


def by_sitk(path: Path) -> float:
    """Register rigidly by SimpleITK, and keep the matrix from the fixed world to the moving one, in RAS mm.

    Mattes' mutual information of a fifth of the voxels on three levels, begun where the centres of mass meet.
    """
    import SimpleITK as sitk  # noqa: N813

    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    given = np.load(path)
    fixed, moving = (in_itk(sitk, given[name], given[f"{name}_affine"]) for name in ("fixed", "moving"))
    method = sitk.ImageRegistrationMethod()
    method.SetMetricAsMattesMutualInformation(50)
    method.SetMetricSamplingStrategy(method.RANDOM)
    method.SetMetricSamplingPercentage(0.2, seed=1)
    method.SetInterpolator(sitk.sitkLinear)
    method.SetOptimizerAsRegularStepGradientDescent(1.0, 1e-4, 300)
    method.SetOptimizerScalesFromPhysicalShift()
    method.SetShrinkFactorsPerLevel([4, 2, 1])
    method.SetSmoothingSigmasPerLevel([2, 1, 0])
    method.SetInitialTransform(
        sitk.CenteredTransformInitializer(
            fixed, moving, sitk.Euler3DTransform(), sitk.CenteredTransformInitializerFilter.MOMENTS
        )
    )
    _, cpu, found = timed(lambda: method.Execute(fixed, moving))
    origin = np.array(found.TransformPoint([0.0] * 3))
    matrix = np.eye(4)
    matrix[:3, 3] = origin
    matrix[:3, :3] = np.stack([np.array(found.TransformPoint(row)) - origin for row in np.eye(3).tolist()], axis=1)
    turn = np.diag([-1.0, -1.0, 1.0, 1.0])
    np.save(path.with_suffix(".npy"), turn @ matrix @ turn)
    return cpu


def in_itk(sitk: Any, array: Array, affine: Array) -> Any:
    """Lay an array with an affine in RAS mm into ITK's world."""
    image = sitk.GetImageFromArray(array.astype("float32").T)
    columns = np.diag([-1.0, -1.0, 1.0]) @ affine[:3, :3]
    spacing = np.linalg.norm(columns, axis=0)
    image.SetSpacing(spacing.tolist())
    image.SetDirection((columns / spacing).ravel().tolist())
    image.SetOrigin([float(-affine[0, 3]), float(-affine[1, 3]), float(affine[2, 3])])
    return image


if __name__ == "__main__":
    folder, way, number = Path(sys.argv[2]), sys.argv[3], iter(range(sys.maxsize))

    def step() -> float:
        path = folder / f"{way}-{next(number)}.npz"
        return by_sitk(path) if way == "SimpleITK" else by_ants(path, way)

    serve(step)

"""ITK transform files: linear transforms as text or HDF5, dense ones as a NIfTI displacement field.

ITK's world is LPS, ours is RAS; 2D images have x along the columns. In both, a transform maps points of the fixed
image to the moving one.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import FormatError, require_package
from ..file_errors import as_format_error, read_first_bytes
from ..grid import Grid, matrix_to_tuples
from ..types import Deformation

Matrix = NDArray[np.float64]
TEXT_SIGNATURE = b"#Insight Transform File"
HDF5_SIGNATURE = b"\x89HDF\r\n\x1a\n"
VECTOR_INTENT = 1007
MAX_TEXT_BYTES = 2**16


def world_to_itk(dims: int) -> Matrix:
    """Give the matrix from our world (RAS) to ITK's (LPS), which is its own inverse."""
    return np.diag([-1.0, -1.0, 1.0, 1.0]) if dims == 3 else np.array([[0.0, 1, 0], [1, 0, 0], [0, 0, 1]])


def write_matrix(path: Path, matrix: Sequence[Sequence[float]] | Matrix) -> Path:
    """Write an affine matrix in our world as an ITK transform: .txt or .tfm, or .h5 by SimpleITK."""
    whole = np.asarray(matrix, float)
    n = len(whole) - 1
    ours = world_to_itk(n) @ whole @ world_to_itk(n)
    numbers = [*ours[:n, :n].ravel(), *ours[:n, n]]
    if path.suffix.lower() in (".h5", ".hdf5"):
        sitk = require_package("SimpleITK", extra="itk")
        made = sitk.AffineTransform(n)
        made.SetParameters([float(v) for v in numbers])
        sitk.WriteTransform(made, str(path))
        return path
    if path.suffix.lower() not in (".txt", ".tfm"):
        raise FormatError(f"{path.name!r}: a transform is written as .txt, .tfm or .h5.")
    lines = [
        "#Insight Transform File V1.0",
        "#Transform 0",
        f"Transform: AffineTransform_double_{n}_{n}",
        "Parameters: " + " ".join(repr(float(v)) for v in numbers),
        "FixedParameters: " + " ".join(["0"] * n),
        "",
    ]
    path.write_text("\n".join(lines), encoding="ascii")
    return path


def read_matrix(path: Path) -> Matrix:
    """Read a linear ITK transform as an affine matrix in our world; several transforms in one file are composed."""
    start = read_first_bytes(path, MAX_TEXT_BYTES)
    with as_format_error(path, "an ITK transform"):
        if start.startswith(HDF5_SIGNATURE):
            return read_with_sitk(path)
        if not start.startswith(TEXT_SIGNATURE):
            raise FormatError(f"{str(path)!r} does not begin as an ITK transform does. Was it copied whole?")
        if len(start) >= MAX_TEXT_BYTES:
            raise FormatError(f"{str(path)!r} is too long for a linear transform. Give its displacement field.")
        return parse_itk_text(path, start.decode("ascii", errors="replace"))


def parse_itk_text(path: Path, text: str) -> Matrix:
    """Parse and compose the transforms of an ITK text file: the last one of a composite is applied first."""
    kinds, parameters, centres = [], [], []
    for line in text.splitlines():
        key, _, value = line.partition(":")
        if key == "Transform":
            kinds.append(value.strip())
        elif key == "Parameters":
            parameters.append([float(v) for v in value.split()])
        elif key == "FixedParameters":
            centres.append([float(v) for v in value.split()])
    if len(parameters) == len(kinds) - 1 and kinds and kinds[0].startswith("Composite"):
        kinds = kinds[1:]
        centres = centres[-len(kinds) :]
    if not kinds or not len(kinds) == len(parameters) == len(centres):
        raise FormatError(f"{str(path)!r} does not give each transform its numbers. Copy it again: it is cut off.")
    whole: Matrix | None = None
    for kind, numbers, fixed in zip(kinds, parameters, centres, strict=True):
        one = parameters_to_matrix(path, kind, numbers, fixed)
        whole = one if whole is None else whole @ one
    assert whole is not None  # there is at least one
    n = len(whole) - 1
    return world_to_itk(n) @ whole @ world_to_itk(n)


def parameters_to_matrix(
    path: Path, transform_name: str, parameters: Sequence[float], fixed_parameters: Sequence[float]
) -> Matrix:
    """Convert the parameters of one linear ITK transform to a matrix in ITK's world."""
    name, *rest = transform_name.split("_")
    n = int(rest[-1]) if rest and rest[-1] in ("2", "3") else 0
    p, c = np.array(parameters), np.array(fixed_parameters[:n])
    matrix, shift = np.eye(n), np.zeros(n)
    if n and name in ("AffineTransform", "MatrixOffsetTransformBase") and len(p) == n * n + n:
        matrix, shift = p[: n * n].reshape(n, n), p[n * n :]
    elif name == "TranslationTransform" and len(p) == n:
        return affine_matrix(matrix, p)
    elif name == "Euler2DTransform" and len(p) == 3:
        matrix, shift = rotation_2d(p[0]), p[1:]
    elif name == "Similarity2DTransform" and len(p) == 4:
        matrix, shift = p[0] * rotation_2d(p[1]), p[2:]
    elif name == "Euler3DTransform" and len(p) == 6:
        matrix, shift = euler_rotation(p[:3], zyx=len(fixed_parameters) > 3 and fixed_parameters[3] != 0), p[3:]
    elif name in ("VersorRigid3DTransform", "Similarity3DTransform") and len(p) in (6, 7):
        matrix, shift = versor_rotation(p[:3]) * (p[6] if len(p) == 7 else 1.0), p[3:6]
    else:
        raise FormatError(
            f"{str(path)!r} holds a {transform_name[:60]!r}, which is not read here. Write it as an "
            "affine transform or a field."
        )
    if len(c) != n:
        raise FormatError(f"{str(path)!r} gives its centre {len(c)} numbers, but it has {n} axes.")
    return affine_matrix(matrix, shift + c - matrix @ c)


def affine_matrix(matrix: Matrix, shift: Matrix) -> Matrix:
    """Make an affine matrix from a linear part and a translation."""
    n = len(matrix)
    whole = np.eye(n + 1)
    whole[:n, :n], whole[:n, n] = matrix, shift
    return whole


def rotation_2d(angle: float) -> Matrix:
    """Give the 2D rotation matrix of an angle."""
    return np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])


def euler_rotation(angles: Matrix, *, zyx: bool) -> Matrix:
    """Give the rotation matrix of ITK's Euler angles about x, y and z: Rz Rx Ry, or Rz Ry Rx if ``zyx``."""
    turns = []
    for axis, angle in enumerate(angles):
        one = np.eye(3)
        i, j = [(1, 2), (2, 0), (0, 1)][axis]
        one[np.ix_([i, j], [i, j])] = rotation_2d(float(angle))
        turns.append(one)
    x, y, z = turns
    return z @ y @ x if zyx else z @ x @ y


def versor_rotation(vector: Matrix) -> Matrix:
    """Give the rotation matrix of a versor, the imaginary part of a unit quaternion."""
    x, y, z = vector
    w = np.sqrt(max(0.0, 1 - float(vector @ vector)))
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )


def read_with_sitk(path: Path) -> Matrix:
    """Read a linear transform with SimpleITK; its matrix is found by transforming a few points."""
    sitk = require_package("SimpleITK", extra="itk")
    found = sitk.ReadTransform(str(path))
    n = found.GetDimension()
    if not found.IsLinear():
        raise FormatError(f"{str(path)!r} bends space. Give its displacement field instead.")
    origin = np.array(found.TransformPoint([0.0] * n))
    columns = [np.array(found.TransformPoint([float(i == k) for i in range(n)])) - origin for k in range(n)]
    return world_to_itk(n) @ affine_matrix(np.stack(columns, axis=1), origin) @ world_to_itk(n)


def write_field(path: Path, deformation: Deformation) -> Path:
    """Write a displacement field as ITK and ANTs read it: a NIfTI of vectors (x, y, z, 1, 3) in mm of ITK's world."""
    grid = deformation.grid
    n = grid.dims
    field = deformation.field @ world_to_itk(n)[:n, :n].T
    matrix, space = np.eye(4), grid.matrix
    if n == 2:  # NIfTI's first two axes are x and y; ITK reads them turned to the left and back
        field = field.swapaxes(0, 1)
        flat = world_to_itk(2) @ space @ world_to_itk(2)
        matrix[:2, :2], matrix[:2, 3] = -flat[:2, :2], -flat[:2, 2]
        values = field[:, :, None, None, :]
    else:
        matrix, values = space, field[:, :, :, None, :]
    import nibabel

    image = nibabel.Nifti1Image(np.ascontiguousarray(values, np.float32), matrix)
    image.header.set_intent(VECTOR_INTENT, name="")
    image.header.set_xyzt_units("mm")
    image.set_sform(matrix, code=1)
    image.set_qform(matrix, code=1)
    nibabel.save(image, path)
    return path


def read_field(path: Path) -> Deformation:
    """Read a displacement field in the NIfTI form of ITK and ANTs."""
    with as_format_error(path, "a displacement field"):
        import nibabel

        image: Any = nibabel.load(path)
        shape = image.shape
        if len(shape) != 5 or shape[3] != 1 or shape[4] not in (2, 3):
            raise FormatError(f"{str(path)!r} has the shape {shape}; a displacement field is (x, y, z, 1, 3).")
        n = shape[4]
        values = np.asarray(image.dataobj, np.float32)[:, :, :, 0]
        if n == 3:
            return Deformation(
                values @ world_to_itk(3)[:3, :3].astype(np.float32).T, Grid(shape[:3], matrix_to_tuples(image.affine))
            )
        flat = np.eye(3)
        flat[:2, :2], flat[:2, 2] = -image.affine[:2, :2], -image.affine[:2, 3]
        field = values[:, :, 0].swapaxes(0, 1)[..., ::-1]
        return Deformation(
            np.ascontiguousarray(field),
            Grid(field.shape[:2], matrix_to_tuples(world_to_itk(2) @ flat @ world_to_itk(2))),
        )

"""ITK's transforms: a point mapped by SimpleITK is mapped the same by ours, and what is written is read again."""

import numpy as np
import pytest

from medgrad.data import Deformation, Grid
from medgrad.data.formats import read_field, read_matrix, write_field, write_matrix
from medgrad.data.formats._transform_itk import world_to_itk
from medgrad.data.transform import Transform, apply_affine
from medgrad.errors import FormatError

sitk = pytest.importorskip("SimpleITK")


def matrix_of(dims, seed=0):
    rng = np.random.default_rng(seed)
    whole = np.eye(dims + 1)
    whole[:dims] += rng.normal(0, 0.2, (dims, dims + 1))
    whole[:dims, dims] *= 50
    return whole


def by_itk(transform, point):
    """Map a point of our world by a transform of ITK's."""
    n = len(point)
    turn = world_to_itk(n)[:n, :n]
    return turn @ np.array(transform.TransformPoint((turn @ point).tolist()))


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("ending", ["txt", "tfm", "h5"])
def test_itk_maps_a_point_as_we_do(tmp_path, dims, ending):
    path, matrix = tmp_path / f"a.{ending}", matrix_of(dims)
    write_matrix(path, matrix)
    point = np.arange(1.0, dims + 1) * 10
    np.testing.assert_allclose(by_itk(sitk.ReadTransform(str(path)), point), apply_affine(matrix, point), atol=1e-6)
    np.testing.assert_allclose(read_matrix(path), matrix, atol=1e-9)


def itk_transforms():
    angles, centre = (0.3, -0.2, 0.5), (5.0, 10.0, -7.0)
    euler = sitk.Euler3DTransform(centre, *angles, (1.0, 2.0, 3.0))
    other = sitk.Euler3DTransform(euler)
    other.SetComputeZYX(True)
    flat = sitk.Similarity2DTransform(1.2, 0.4, (3.0, 4.0), (10.0, 20.0))
    both = sitk.CompositeTransform([euler, sitk.TranslationTransform(3, (4.0, 5.0, 6.0))])
    return {
        "euler": euler,
        "euler zyx": other,
        "euler 2D": sitk.Euler2DTransform((4.0, 5.0), 0.3, (1.0, 2.0)),
        "similarity 2D": flat,
        "similarity 3D": sitk.Similarity3DTransform(1.1, (0.0, 0.6, 0.8), 0.3, (1.0, 2.0, 3.0), centre),
        "versor": sitk.VersorRigid3DTransform((0.0, 0.6, 0.8), 0.3, (1.0, 2.0, 3.0), centre),
        "shift": sitk.TranslationTransform(3, (4.0, 5.0, 6.0)),
        "composite": both,
    }


@pytest.mark.parametrize("name", itk_transforms())
def test_what_itk_writes_is_read(tmp_path, name):
    transform = itk_transforms()[name]
    path = tmp_path / "t.tfm"
    sitk.WriteTransform(transform, str(path))
    point = np.arange(1.0, transform.GetDimension() + 1) * 7
    np.testing.assert_allclose(apply_affine(read_matrix(path), point), by_itk(transform, point), atol=1e-6)


def slanted(dims):
    turn = np.array([[0.96, -0.28], [0.28, 0.96]])
    matrix = np.eye(dims + 1)
    matrix[:2, :2] = turn * [1.5, 0.8]
    matrix[:dims, dims] = np.arange(dims) + 3
    return Grid((9, 11, 7)[:dims], matrix)


@pytest.mark.parametrize("dims", [2, 3])
def test_itk_moves_a_point_by_our_field(tmp_path, dims):
    grid = slanted(dims)
    index = np.stack(np.meshgrid(*[np.arange(s) for s in grid.shape], indexing="ij"), axis=-1)
    field = Deformation((np.sin(index / 4) @ matrix_of(dims)[:dims, :dims]).astype(np.float32), grid)
    path = write_field(tmp_path / "field.nii.gz", field)
    moved = sitk.DisplacementFieldTransform(sitk.ReadImage(str(path), sitk.sitkVectorFloat64))
    at = (4, 5, 3)[:dims]
    point = grid.to_world(at)
    np.testing.assert_allclose(by_itk(moved, point), point + field.field[at], atol=1e-4)
    again = read_field(path)
    assert again.grid.is_close(grid)
    np.testing.assert_allclose(again.field, field.field, atol=1e-6)


@pytest.mark.parametrize(
    "text",
    ["", "hello", "#Insight Transform File V1.0\nTransform: AffineTransform_double_3_3\nParameters: 1 2\n",
     "#Insight Transform File V1.0\nTransform: BSplineTransform_double_3_3\nParameters: 1\nFixedParameters: 0 0 0\n",
     "#Insight Transform File V1.0\nTransform: Euler2DTransform_double_2_2\nParameters: a b c\nFixedParameters: 0 0\n"],
)  # fmt: skip
def test_what_is_no_transform_is_told(tmp_path, text):
    (tmp_path / "t.txt").write_text(text)
    with pytest.raises(FormatError, match=r"t\.txt"):
        read_matrix(tmp_path / "t.txt")


@pytest.mark.parametrize("dims", [2, 3])
def test_what_was_moved_can_be_moved_back(dims):
    grid = Grid.from_shape((12,) * dims)
    index = np.stack(np.meshgrid(*[np.arange(12)] * dims, indexing="ij"), axis=-1)
    matrix = matrix_of(dims)
    transform = Transform(tuple(map(tuple, matrix)), grid, np.sin(index / 3).astype(np.float32))
    points = np.random.default_rng(0).uniform(2, 9, (20, dims))
    np.testing.assert_allclose(transform.to_fixed(transform.to_moving(points)), points, atol=1e-3)
    again = Transform.from_deformation(transform.to_deformation())
    np.testing.assert_allclose(again.to_moving(points), transform.to_moving(points), atol=1e-3)

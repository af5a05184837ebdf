"""Grids, values in patient space, and the cases of a cohort: known values by hand, and laws over many grids."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medgrad.data import Boxes, Case, Grid, Image, LabelMap, Scores, Source, concatenate_answers
from medgrad.data.cohorts import Cohort, Entry
from medgrad.data.cohorts.cohort import drop_axis, with_split
from medgrad.data.formats import write
from medgrad.data.grid import nearest_axes
from medgrad.errors import FormatError

ROTATED = Grid((3, 4, 5), ((0, -2.0, 0, 10), (1.5, 0, 0, -20), (0, 0, 3.0, 30), (0, 0, 0, 1)))


@st.composite
def grids(draw):
    dims = draw(st.sampled_from([2, 3]))
    rng = np.random.default_rng(draw(st.integers(0, 10**6)))
    matrix = np.eye(dims + 1)
    turned, _ = np.linalg.qr(rng.normal(size=(dims, dims)))
    matrix[:dims, :dims] = turned * rng.uniform(0.1, 5, dims)
    matrix[:dims, dims] = rng.uniform(-300, 300, dims)
    return Grid(tuple(rng.integers(1, 20, dims)), tuple(map(tuple, matrix)))


class TestGrid:
    def test_a_turned_grid_is_known_by_hand(self):
        assert ROTATED.spacing == (1.5, 2.0, 3.0)
        assert ROTATED.orientation == "ALS"
        assert ROTATED.voxel_volume_mm == pytest.approx(9)
        assert ROTATED.to_world([1, 1, 1]).tolist() == [8, -18.5, 33]

    @given(grids())
    @settings(max_examples=40, deadline=None)
    def test_index_undoes_world(self, grid):
        at = np.random.default_rng(0).uniform(-5, 20, (7, grid.dims))
        np.testing.assert_allclose(grid.to_index(grid.to_world(at)), at, atol=1e-8)

    @given(grids())
    @settings(max_examples=40, deadline=None)
    def test_spacing_and_directions_make_the_affine(self, grid):
        n = grid.dims
        np.testing.assert_allclose(grid.directions * grid.spacing, grid.matrix[:n, :n], atol=1e-12)
        assert grid.voxel_volume_mm == pytest.approx(np.prod(grid.spacing))

    @given(grids())
    @settings(max_examples=40, deadline=None)
    def test_a_cut_out_part_lies_where_it_lay(self, grid):
        start = np.arange(grid.dims) - 1
        part = grid.crop(start, (2,) * grid.dims)
        np.testing.assert_allclose(part.to_world([1] * grid.dims), grid.to_world(start + 1), atol=1e-9)
        assert part.spacing == pytest.approx(grid.spacing)

    @given(grids())
    @settings(max_examples=20, deadline=None)
    def test_is_close_to_itself_and_not_to_one_moved_by_a_millimetre(self, grid):
        moved = grid.matrix
        moved[0, grid.dims] += 1
        assert grid.is_close(grid)
        assert not grid.is_close(Grid(grid.shape, tuple(map(tuple, moved))))

    def test_the_farthest_corner_decides_whether_grids_agree(self):
        """A spacing that is off by a hundredth is nothing at the first voxel and much at the last."""
        one, other = Grid.from_shape((100, 4, 4)), Grid.from_shape((100, 4, 4), spacing=(1.01, 1, 1))
        assert not one.is_close(other, tolerance_mm=0.5)
        assert Grid.from_shape((10, 4, 4)).is_close(Grid.from_shape((10, 4, 4), spacing=(1.01, 1, 1)), tolerance_mm=0.5)

    @pytest.mark.parametrize(
        ("affine", "said"),
        [
            (((1, 0, 0), (0, 1, 0), (0, 0, 1)), r"\(4, 4\)"),
            (((0, 0, 0, 0), (0, 1, 0, 0), (0, 0, 1, 0), (0, 0, 0, 1)), "inverted"),
            (((float("nan"), 0, 0, 0), (0, 1, 0, 0), (0, 0, 1, 0), (0, 0, 0, 1)), "inverted"),
        ],
    )
    def test_what_is_no_affine_is_refused(self, affine, said):
        with pytest.raises(ValueError, match=said):
            Grid((2, 2, 2), affine)

    def test_every_axis_has_a_world_axis_of_its_own(self):
        """Two axes that both lean towards the same direction are not both called by its name."""
        lean = np.array([[0.8, 0.7, 0.0], [0.6, 0.71, 0.0], [0.0, 0.0, 1.0]])
        assert sorted(world for world, _ in nearest_axes(lean)) == [0, 1, 2]

    def test_a_flat_grid_has_no_anatomical_orientation(self):
        assert Grid.from_shape((4, 5)).orientation == ""


class TestValues:
    def test_planes_put_channels_first(self):
        grid = Grid.from_shape((2, 3))
        assert Image(np.zeros((2, 3)), grid).channels_first.shape == (1, 2, 3)
        assert Image(np.zeros((2, 3, 4)), grid).channels_first.shape == (4, 2, 3)
        assert Image(np.zeros((2, 3, 4)), grid).channels == 4

    def test_arrays_that_do_not_fit_their_grid_are_refused(self):
        for make in (
            lambda: Image(np.zeros((3, 2)), Grid.from_shape((2, 3))),
            lambda: LabelMap(np.zeros(3, int), Grid.from_shape((2,))),
        ):
            with pytest.raises(ValueError, match="fit"):
                make()

    def test_labels_are_whole_numbers(self):
        with pytest.raises(ValueError, match="whole numbers"):
            LabelMap(np.zeros((2, 2)), Grid.from_shape((2, 2)))

    def test_every_score_has_a_name(self):
        with pytest.raises(ValueError, match="2 names"):
            Scores(np.zeros(3), ("a", "b"))

    def test_slabs_join_to_the_whole(self):
        array, grid = np.arange(24).reshape(4, 3, 2), Grid.from_shape((4, 3, 2), spacing=(2, 1, 1))
        whole = LabelMap(array, grid, {1: "x"})
        pieces = [LabelMap(array[a:b], grid.crop((a, 0, 0), (b - a, 3, 2)), {1: "x"}) for a, b in ((0, 1), (1, 4))]
        joined = concatenate_answers(pieces, grid)
        assert (joined.array == whole.array).all()
        assert joined.grid == grid
        assert joined.names == {1: "x"}

    def test_values_cannot_be_changed_in_place(self):
        with pytest.raises(AttributeError):
            Boxes(np.zeros((0, 4)), np.zeros(0, int)).labels = None


def cohort_of(tmp_path, drawn, *, grid=None, **settings):
    grid = grid or Grid.from_shape((4, 4, 4))
    write(tmp_path / "i.nii.gz", Image(np.zeros((4, 4, 4), np.float32), Grid.from_shape((4, 4, 4))))
    write(tmp_path / "l.nii.gz", LabelMap(np.asarray(drawn, np.uint8), grid))
    entry = Entry("one", {"image": Source(tmp_path / "i.nii.gz")}, Source(tmp_path / "l.nii.gz"))
    return Cohort(tmp_path, "test", "segmentation", (entry,), **settings)


class TestCohort:
    def test_labels_are_renumbered_in_the_order_of_their_names(self, tmp_path):
        array = np.zeros((4, 4, 4), int)
        array[0], array[1] = 7, 3
        cohort = cohort_of(tmp_path, array, labels=("liver", "tumour"), label_values=(7, 3))
        truth = cohort.load_case(cohort.entries[0]).truth
        assert truth.names == {1: "liver", 2: "tumour"}
        assert (truth.array[0] == 1).all()
        assert (truth.array[1] == 2).all()

    def test_a_label_that_the_set_does_not_have_is_never_guessed(self, tmp_path):
        cohort = cohort_of(tmp_path, np.full((4, 4, 4), 9), labels=("liver",), label_values=(1,))
        with pytest.raises(FormatError, match=r"l\.nii\.gz.*\[9\]"):
            cohort.load_case(cohort.entries[0])

    @pytest.mark.parametrize(
        ("grid", "said"),
        [(Grid.from_shape((4, 4, 5)), "shape"), (Grid.from_shape((4, 4, 4), origin=(0, 0, 9)), "different places")],
    )
    def test_a_mask_that_lies_elsewhere_is_refused(self, grid, said, tmp_path):
        cohort = cohort_of(tmp_path, np.zeros(grid.shape), grid=grid, labels=("x",), label_values=(1,))
        with pytest.raises(FormatError, match=said):
            cohort.load_case(cohort.entries[0])

    def test_a_mask_whose_header_is_rounded_lies_where_its_image_lies(self, tmp_path):
        near = Grid.from_shape((4, 4, 4), origin=(0.04, 0, 0))
        cohort = cohort_of(tmp_path, np.ones((4, 4, 4)), grid=near, labels=("x",), label_values=(1,))
        case = cohort.load_case(cohort.entries[0])
        assert case.truth.grid == case.grid

    def test_instances_become_one_label(self, tmp_path):
        array = np.arange(64).reshape(4, 4, 4)
        cohort = cohort_of(tmp_path, array, labels=("nucleus",))
        assert cohort.load_case(cohort.entries[0]).truth.array.sum() == 63

    def test_sides_and_choices_keep_everything_else(self):
        entries = tuple(Entry(n, {}, None, patient=p) for n, p in (("a", "P"), ("b", "P"), ("c", "")))
        cohort = Cohort(".", "test", "segmentation", entries)
        split = with_split(cohort, {"a": "val", "c": "train"})
        assert [e.split for e in split.entries] == ["val", None, "train"]
        assert [e.id for e in split.in_splits("val", "train").entries] == ["a", "c"]
        assert cohort.patients == ("P", "c")
        assert cohort.entries[0].split is None

    def test_a_volume_of_one_slice_keeps_the_spacing_of_the_others(self):
        flat = drop_axis(Grid.from_shape((5, 1, 7), spacing=(2, 9, 3)), 1)
        assert flat.shape == (5, 7)
        assert flat.spacing == (2, 3)

    def test_the_grid_of_a_case_is_that_of_its_first_image(self):
        first, second = (Image(np.zeros((2, 2)), Grid.from_shape((2, 2), spacing=(s, s))) for s in (1, 2))
        assert Case("x", {"a": first, "b": second}).grid.spacing == (1, 1)

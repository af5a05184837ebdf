"""Pairs from a table, with whatever is known of them; and a folder of images where nothing is known."""

import numpy as np
import pytest

from medgrad import fit
from medgrad.data import Deformation, Grid, Image, LabelMap, Landmarks, Pair
from medgrad.data.cohorts.layouts import Hints, recognise
from medgrad.data.cohorts.pairs_from_images import make_pairs
from medgrad.data.cohorts.split import split
from medgrad.data.formats import write, write_field, write_matrix
from medgrad.errors import LayoutError

GRID = Grid.from_shape((16, 16, 16), spacing=(1, 1, 2))


def volume(path, seed, shift=0):
    rng = np.random.default_rng(seed)
    at = np.stack(np.meshgrid(*[np.arange(16)] * 3, indexing="ij"), -1)
    middle = rng.uniform(5, 10, 3)
    array = 100 * np.exp(-((at - middle - (shift, 0, 0)) ** 2).sum(-1) / 12)
    write(path, Image(array.astype(np.float32), GRID, "mr"))


def pairs_of(root, head, cell):
    rows = [head]
    for i in range(5):
        volume(root / f"a{i}.nii.gz", i)
        volume(root / f"b{i}.nii.gz", i, shift=2)
        rows.append(f"p{i},a{i}.nii.gz,b{i}.nii.gz,{cell(root, i)}")
    (root / "pairs.csv").write_text("\n".join(rows) + "\n")
    return recognise(root)


def with_matrix(root, i):
    write_matrix(root / f"t{i}.tfm", [[1, 0, 0, 2], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
    return f"t{i}.tfm"


def with_field(root, i):
    field = np.zeros((*GRID.shape, 3), np.float32)
    field[..., 0] = 2
    write_field(root / f"t{i}_field.nii.gz", Deformation(field, GRID))
    return f"t{i}_field.nii.gz"


def with_points(root, i):
    for side, shift in (("a", 0), ("b", 2)):
        (root / f"{side}{i}.csv").write_text(f"name,x,y,z\none,{1 + shift},2,3\ntwo,{4 + shift},5,6\n")
    return f"a{i}.csv,b{i}.csv"


@pytest.mark.parametrize("cell", [with_matrix, with_field])
def test_a_known_transform_says_where_every_point_lies(tmp_path, cell):
    cohort = pairs_of(tmp_path, "patient,fixed,moving,transform", cell)
    assert cohort.layout == "pairs_table"
    truth = cohort.load_case(cohort.entries[0]).truth
    assert isinstance(truth, Deformation)
    np.testing.assert_allclose(truth.field, np.broadcast_to([2.0, 0, 0], truth.field.shape), atol=1e-5)


def test_landmarks_of_both_images_correspond(tmp_path):
    cohort = pairs_of(tmp_path, "patient,fixed,moving,fixed_landmarks,moving_landmarks", with_points)
    truth = cohort.load_case(cohort.entries[1]).truth
    assert isinstance(truth, Pair)
    assert isinstance(truth.fixed, Landmarks)
    np.testing.assert_allclose(truth.moving.points - truth.fixed.points, [[2, 0, 0], [2, 0, 0]])


def test_where_nothing_is_known_the_truth_is_the_images(tmp_path):
    cohort = pairs_of(tmp_path, "patient,fixed,moving,note", lambda *_: "")
    truth = cohort.load_case(cohort.entries[0]).truth
    assert isinstance(truth, Pair)
    assert isinstance(truth.fixed, Image)
    assert {e.split for e in split(cohort).entries} == {"train", "val"}
    assert make_pairs(cohort) is cohort


def test_patients_and_sides_are_columns(tmp_path):
    cohort = pairs_of(tmp_path, "patient,fixed,moving,split", lambda _, i: "val" if i < 2 else "train")
    assert [e.patient for e in cohort.entries] == [f"p{i}" for i in range(5)]
    assert [e.split for e in cohort.entries] == ["val"] * 2 + ["train"] * 3


def test_a_file_that_is_not_there_is_named(tmp_path):
    (tmp_path / "pairs.csv").write_text("fixed,moving\nx.nii.gz,y.nii.gz\n")
    with pytest.raises(LayoutError, match=r"names 'x\.nii\.gz', which is not there"):
        recognise(tmp_path)


def test_a_cell_does_not_lead_out_of_the_folder(tmp_path):
    volume(tmp_path / "out.nii.gz", 0)
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "pairs.csv").write_text("fixed,moving\n../out.nii.gz,../out.nii.gz\n")
    with pytest.raises(LayoutError, match="not there"):
        recognise(tmp_path / "set" / "pairs.csv")


def test_a_table_of_pairs_is_learned_from(tmp_path):
    pairs_of(tmp_path, "patient,fixed,moving,transform", with_matrix)
    fitted = fit(str(tmp_path / "pairs.csv"), out=tmp_path / "run", steps=3)
    assert fitted["metrics"]["tre_mm"]["n"] == 1
    assert fitted["metrics"]["tre_before_mm"]["value"] == pytest.approx(2, abs=1e-4)


def test_a_folder_of_images_alone_is_learned_from_and_judged_by_likeness(tmp_path):
    for i in range(6):
        volume(tmp_path / "scans" / f"scan_{i}.nii.gz", i)
    fitted = fit(str(tmp_path / "scans"), out=tmp_path / "run", steps=3, task="registration")
    assert -1 <= fitted["metrics"]["ncc_before"]["value"] < 1
    assert set(fitted["metrics"]) >= {"ncc", "registration_score", "folded_fraction"}


def test_masks_are_truth_and_no_images_of_their_own(tmp_path):
    for i in range(5):
        volume(tmp_path / "images" / f"c{i}.nii.gz", i)
        write(tmp_path / "labels" / f"c{i}.nii.gz", LabelMap(np.ones(GRID.shape, np.uint8), GRID))
    cohort = recognise(tmp_path, Hints(task="registration"))
    assert cohort.layout == "parallel_folders"
    assert len(cohort.entries) == 5

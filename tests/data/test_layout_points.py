"""Points in text files, one file for each image, are read as a table of centres."""

import numpy as np
import pytest
from PIL import Image as Pillow

from medgrad.data.cohorts.cohort import Cohort
from medgrad.data.cohorts.layouts import Hints, NotRecognisedError, recognise
from medgrad.data.cohorts.layouts.points import points
from medgrad.errors import LayoutError


def pictures(folder, n=4, size=40):
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    for i in range(n):
        Pillow.fromarray(rng.integers(0, 255, (size, size + 8), dtype=np.uint8)).save(folder / f"scan{i}.png")
    return folder


def middles(entry):
    corners = entry.truth.corners
    return ((corners[:, :2] + corners[:, 2:]) / 2).tolist()


SAME = {
    "blanks": "10 20 cell\n20 20 clot\n",
    "commas": "10,20,cell\n20,20,clot\n",
    "commas and blanks": "10, 20, cell\n20, 20, clot\n",
    "tabs": "10\t20\tcell\n20\t20\tclot\n",
    "a first line": "x y class\n10 20 cell\n20 20 clot\n",
    "another order": "class,y,x\ncell,20,10\nclot,20,20\n",
    "other words": "label;center_y;center_x\ncell;20;10\nclot;20;20\n",
}


@pytest.mark.parametrize("text", SAME.values(), ids=SAME)
def test_points_are_read_however_they_are_written(text, tmp_path):
    pictures(tmp_path)
    for i in range(4):
        (tmp_path / f"scan{i}.txt").write_text(text)
    cohort = recognise(tmp_path)
    assert (cohort.layout, cohort.task, cohort.labels) == ("points", "detection", ("cell", "clot"))
    assert middles(cohort.entries[0]) == [[20, 10], [20, 20]]


def test_the_class_may_be_missing(tmp_path):
    pictures(tmp_path)
    (tmp_path / "scan0.txt").write_text("10 20\n20 20\n")
    cohort = recognise(tmp_path)
    assert cohort.labels == ("object",)
    assert [e.truth is None for e in cohort.entries] == [False, True, True, True]


def test_a_box_is_a_told_share_of_the_distance_to_the_neighbour(tmp_path):
    pictures(tmp_path)
    for i in range(4):
        (tmp_path / f"scan{i}.txt").write_text("10 20 cell\n20 20 cell\n")
    cohort = recognise(tmp_path)
    corners = cohort.entries[0].truth.corners
    assert (corners[:, 2:] - corners[:, :2]).tolist() == [[7, 7], [7, 7]]
    assert any("box of 7 pixels a side" in t and "'diameter'" in t for t in cohort.messages)


def test_a_column_of_diameters_gives_other_sizes(tmp_path):
    pictures(tmp_path)
    for i in range(4):
        (tmp_path / f"scan{i}.txt").write_text("x y diameter class\n10 20 4 cell\n20 20 6 cell\n")
    cohort = recognise(tmp_path)
    corners = cohort.entries[0].truth.corners
    assert (corners[:, 2:] - corners[:, :2]).tolist() == [[4, 4], [6, 6]]
    assert not any("pixels a side" in t for t in cohort.messages)


def test_shares_of_the_image_are_told_by_their_values(tmp_path):
    pictures(tmp_path / "images", size=40)  # 40 rows, 48 columns
    (tmp_path / "labels").mkdir()
    for i in range(4):
        (tmp_path / "labels" / f"scan{i}.csv").write_text("0.25,0.5,1\n0.75,0.5,1\n")
    cohort = recognise(tmp_path)
    assert cohort.layout == "points"
    assert middles(cohort.entries[0]) == [[20, 12], [20, 36]]


def test_numbers_are_named_where_a_file_names_them(tmp_path):
    pictures(tmp_path)
    (tmp_path / "classes.txt").write_text("cell\nclot\n")
    for i in range(4):
        (tmp_path / f"scan{i}.txt").write_text("10 20 0\n20 20 1\n")
    assert recognise(tmp_path).labels == ("cell", "clot")


def test_boxes_are_cut_at_the_edge_and_points_outside_are_left_to_be_seen(tmp_path):
    pictures(tmp_path)
    for i in range(4):
        (tmp_path / f"scan{i}.txt").write_text("1 1 cell\n47 39 cell\n99 20 cell\n")
    corners = recognise(tmp_path).entries[0].truth.corners
    assert corners[0, :2].tolist() == [0, 0]
    assert corners[1, 2:].tolist() == [40, 48]
    assert corners[2, 3] > 99


def test_a_line_that_is_no_point_names_its_file(tmp_path):
    pictures(tmp_path)
    for i in range(4):
        (tmp_path / f"scan{i}.txt").write_text("10 20 cell\n" + ("nonsense\n" if i == 2 else ""))
    with pytest.raises(LayoutError, match=r"scan2\.txt.*'x y class'"):
        recognise(tmp_path)


def test_yolo_and_reports_are_no_points(tmp_path):
    pictures(tmp_path)
    for i in range(4):
        (tmp_path / f"scan{i}.txt").write_text("0 0.5 0.5 0.2 0.2\n")
    assert recognise(tmp_path).layout == "yolo"
    assert not isinstance(points(tmp_path, Hints()), Cohort)
    for i in range(4):
        (tmp_path / f"scan{i}.txt").write_text("No acute findings in the lungs.\n")
    with pytest.raises(NotRecognisedError, match=r"nearest layout is 'points'.*x y class"):
        recognise(tmp_path)

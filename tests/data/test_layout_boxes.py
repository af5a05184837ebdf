"""Boxes in: Pascal VOC, COCO, YOLO and tables, and boxes out and in again."""

import json
from collections import Counter

import numpy as np
import pytest
from PIL import Image as Pillow

from medgrad.data import Boxes, Grid, Image, UnplacedBoxes
from medgrad.data.cohorts.layouts import Hints, recognise
from medgrad.data.cohorts.layouts.yolo import parse_yaml_class_names
from medgrad.data.formats import write, write_boxes
from medgrad.errors import LayoutError
from medgrad.survey.dataset import look

HEIGHT, WIDTH = 20, 30


def picture(path, seed=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    array = np.random.default_rng([seed, len(str(path.name))]).integers(0, 255, (HEIGHT, WIDTH), dtype=np.uint8)
    Pillow.fromarray(array).save(path)


def volume(path, affine=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    grid = Grid((12, 14, 16), tuple(map(tuple, affine))) if affine is not None else Grid.from_shape((12, 14, 16))
    write(path, Image(np.random.default_rng(0).normal(size=grid.shape).astype(np.float32), grid))
    return grid


def xml(path, *boxes):
    path.parent.mkdir(parents=True, exist_ok=True)
    drawn = "".join(
        f"<object><name>{n}</name><bndbox><xmin>{a}</xmin><ymin>{b}</ymin><xmax>{c}</xmax><ymax>{d}</ymax></bndbox></object>"
        for n, a, b, c, d in boxes
    )
    path.write_text(f"<annotation><filename>{path.stem}.png</filename><size></size>{drawn}</annotation>")


def text(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)


def first(cohort, one=None):
    entry = next(e for e in cohort.entries if one in (None, e.id))
    return cohort.load_case(entry).truth


def test_voc_counts_pixels_from_one_the_last_included(tmp_path):
    for i in range(2):
        picture(tmp_path / f"{i}.png", i)
        xml(tmp_path / f"{i}.xml", ("cell", 1, 1, WIDTH, HEIGHT), ("cell", 5, 3, 6, 3))
    found = first(recognise(tmp_path))
    np.testing.assert_allclose(found.corners, [[-0.5, -0.5, HEIGHT - 0.5, WIDTH - 0.5]])  # of one pixel's height: none
    assert found.names == {0: "cell"}


def test_voc_in_its_own_folders_keeps_its_split(tmp_path):
    for i in range(4):
        picture(tmp_path / "JPEGImages" / f"{i}.png", i)
        picture(tmp_path / "SegmentationClass" / f"{i}.png", i)
        xml(tmp_path / "Annotations" / f"{i}.xml", *[("b", 2, 2, 9, 9), ("a 2", 3, 3, 5, 5), ("a 10", 3, 3, 5, 5)][:i])
    text(tmp_path / "ImageSets" / "Main" / "train.txt", "0\n1\n2\n")
    text(tmp_path / "ImageSets" / "Main" / "val.txt", "3\n")
    cohort = recognise(tmp_path)
    assert (cohort.layout, cohort.labels) == ("voc", ("a 2", "a 10", "b"))
    assert [e.split for e in cohort.entries] == ["train", "train", "train", "val"]
    assert [len(cohort.load_case(e).truth.corners) for e in cohort.entries] == [0, 1, 2, 3]


def test_an_image_without_xml_stands_on_no_side(tmp_path):
    for i in range(3):
        picture(tmp_path / ("train", "val")[i % 2] / f"{i}.png", i)
    for i in range(2):
        xml(tmp_path / ("train", "val")[i % 2] / f"{i}.xml", ("cell", 1, 1, 5, 5))
    cohort = recognise(tmp_path)
    found = {e.id: (e.split, e.truth is None) for e in cohort.entries}
    assert found == {"0": ("train", False), "1": ("val", False), "2": (None, True)}


def coco(images, drawn, kinds=({"id": 1, "name": "cell"},)):
    files = [{"id": i, "file_name": name} for i, name in enumerate(images)]
    boxes = [{"id": k, "image_id": i, "category_id": c, "bbox": b} for k, (i, c, b) in enumerate(drawn)]
    return json.dumps({"images": files, "annotations": boxes, "categories": list(kinds)})


def test_coco_is_x_y_width_height(tmp_path):
    for i in range(2):
        picture(tmp_path / "images" / f"{i}.png", i)
    text(tmp_path / "annotations.json", coco(["0.png", "1.png"], [(0, 1, [3, 4, 10, 2])]))
    cohort = recognise(tmp_path)
    np.testing.assert_allclose(first(cohort).corners, [[3.5, 2.5, 5.5, 12.5]])
    assert len(first(cohort, "1").corners) == 0
    assert recognise(tmp_path / "annotations.json").labels == cohort.labels == ("cell",)


def test_coco_has_a_list_for_each_side(tmp_path):
    for side, n in (("train", 3), ("val", 2)):
        for i in range(n):
            picture(tmp_path / f"{side}2017" / f"{side}{i}.png", i)
        listed = coco([f"{side}{i}.png" for i in range(n)], [(0, 1 + (side == "val"), [1, 1, 4, 4])],
                      ({"id": 1, "name": "b"}, {"id": 2, "name": "a"}))  # fmt: skip
        text(tmp_path / "annotations" / f"instances_{side}2017.json", listed)
    cohort = recognise(tmp_path)
    assert Counter(e.split for e in cohort.entries) == {"train": 3, "val": 2}
    assert cohort.labels == ("a", "b")
    assert first(cohort, "train0").labels.tolist() == [1]


def test_a_name_that_only_holds_others_is_no_class(tmp_path):
    picture(tmp_path / "0.png")
    kinds = ({"id": 0, "name": "cells", "supercategory": "none"}, {"id": 1, "name": "red", "supercategory": "cells"})
    text(tmp_path / "_annotations.coco.json", coco(["0.png"], [(0, 1, [1, 1, 4, 4])], kinds))
    assert recognise(tmp_path).labels == ("red",)


def test_crowds_are_left_out_and_told(tmp_path):
    picture(tmp_path / "0.png")
    content = json.loads(coco(["0.png"], [(0, 1, [1, 1, 4, 4]), (0, 1, [1, 1, 9, 9])]))
    content["annotations"][1]["iscrowd"] = 1
    text(tmp_path / "a.json", json.dumps(content))
    cohort = recognise(tmp_path)
    assert len(first(cohort).corners) == 1
    assert any("crowds" in t for t in cohort.messages)


@pytest.mark.parametrize("wrong", ['{"images": [], "annotations": [], "categories": [], "bbox"', None])
def test_a_broken_list_is_named(tmp_path, wrong):
    picture(tmp_path / "0.png")
    text(tmp_path / "list.json", wrong or coco(["0.png"], [(7, 1, [1, 1, 4, 4])]))
    with pytest.raises(LayoutError, match=r"list\.json"):
        recognise(tmp_path)


def test_yolo_is_in_shares_and_named(tmp_path):
    for side, n in (("train", 3), ("val", 2)):
        for i in range(n):
            picture(tmp_path / "images" / side / f"{i}.png", i)
            text(tmp_path / "labels" / side / f"{i}.txt", "1 0.5 0.25 0.2 0.1\n" if i != 1 else "")
    text(tmp_path / "classes.txt", "red\nplatelet\n")
    cohort = recognise(tmp_path)
    assert (cohort.layout, cohort.labels) == ("yolo", ("platelet", "red"))
    assert Counter(e.split for e in cohort.entries) == {"train": 3, "val": 2}
    found = first(cohort)
    np.testing.assert_allclose(found.corners + 0.5, [[0.2 * HEIGHT, 0.4 * WIDTH, 0.3 * HEIGHT, 0.6 * WIDTH]])
    assert found.names[int(found.labels[0])] == "platelet"
    assert sum(len(e.truth.corners) == 0 for e in cohort.entries) == 2


def test_yolo_beside_the_images_with_lists_of_paths(tmp_path):
    for i in range(3):
        picture(tmp_path / "data" / "obj" / f"{i}.png", i)
    for i in range(2):
        text(tmp_path / "data" / "obj" / f"{i}.txt", "0 0.1 0.1 0.5 0.1 0.5 0.9\n")  # an outline
    text(tmp_path / "data" / "obj.names", "cell\n")
    text(tmp_path / "train.txt", "data/obj/0.png\ndata/obj/1.png\n")
    text(tmp_path / "test.txt", "data/obj/2.png\n")
    cohort = recognise(tmp_path)
    assert [e.split for e in cohort.entries] == ["train", "train", "test"]
    assert [len(e.truth.corners) for e in cohort.entries] == [1, 1, 0]
    np.testing.assert_allclose(cohort.entries[0].truth.corners, [[0.1, 0.1, 0.9, 0.5]])


def test_a_class_without_a_name_is_refused(tmp_path):
    picture(tmp_path / "0.png")
    text(tmp_path / "0.txt", "3 0.5 0.5 0.1 0.1\n")
    text(tmp_path / "classes.txt", "cell\n")
    with pytest.raises(LayoutError, match=r"0\.txt.*class 3"):
        recognise(tmp_path)


@pytest.mark.parametrize(
    "words",
    [
        "names: ['a, b', \"c\", d e]\nnc: 3",
        "nc: 3\nnames:\n  - 'a, b'\n  - c  # the second\n  - d e\ntrain: x",
        "names:\n  1: c\n  0: 'a, b'\n  2: d e\n",
        "path: .\nnames: {0: 'a, b', 1: c,\n  2: \"d e\"}\n",
        "names:\n- 'a, b'\n- c\n- d e\nnc: 3\n",
    ],
)
def test_names_are_read_from_every_kind_of_yaml(words):
    assert parse_yaml_class_names(words) == ("a, b", "c", "d e")


@pytest.mark.parametrize("words", ["names:\n", "nc: 1", "", "names: []"])
def test_no_names_are_none(words):
    assert parse_yaml_class_names(words) == ()


TABLES = {
    "ends": "file,class,xmin,ymin,xmax,ymax\n0.png,b,2,3,12,9\n0.png,a,1,1,4,4\n2.png,,,,,\n",
    "sizes": "image_id,x,y,width,height,label\n0,2,3,10,6,b\n0,1,1,3,3,a\n2,,,,,\n",
}


@pytest.mark.parametrize("name", TABLES)
def test_a_table_has_a_row_an_object(tmp_path, name):
    for i in range(3):
        picture(tmp_path / "pictures" / f"{i}.png", i)
    text(tmp_path / "boxes.csv", TABLES[name])
    cohort = recognise(tmp_path)
    assert (cohort.layout, cohort.labels) == ("boxes_table", ("a", "b"))
    np.testing.assert_allclose(first(cohort).corners, [[2.5, 1.5, 8.5, 11.5], [0.5, 0.5, 3.5, 3.5]])
    assert first(cohort).labels.tolist() == [1, 0]
    assert [len(e.truth.corners) for e in cohort.entries] == [2, 0, 0]
    assert any("1 image(s) are in no row" in t for t in cohort.messages)


def test_centres_and_diameters_are_in_the_axes_of_dicom(tmp_path):
    affine = np.diag([-0.7, -0.7, 2.0, 1.0])
    affine[:3, 3] = (4, 5, -6)
    grid = volume(tmp_path / "subset0" / "1.3.6.nii.gz", affine)
    volume(tmp_path / "subset0" / "1.3.7.nii.gz", affine)
    centre = grid.to_world([5, 6, 7])  # to the right, front and head
    text(
        tmp_path / "CSVFILES" / "annotations.csv",
        f"seriesuid,coordX,coordY,coordZ,diameter_mm\n1.3.6,{-centre[0]},{-centre[1]},{centre[2]},5.5\n",
    )
    text(tmp_path / "CSVFILES" / "candidates.csv", "seriesuid,coordX,coordY,coordZ,class\n1.3.6,0,0,0,0\n")
    cohort = recognise(tmp_path)
    assert (cohort.layout, cohort.dims, cohort.labels) == ("boxes_table", 3, ("object",))
    found = first(cohort, "1.3.6").corners
    np.testing.assert_allclose(found, [[*(centre - 2.75), *(centre + 2.75)]])
    assert len(first(cohort, "1.3.7").corners) == 0


def test_tables_of_two_sides_are_put_together(tmp_path):
    for i in range(4):
        picture(tmp_path / f"{i}.png", i)
    for side, rows in (("train", "0,a,1,1,4,4\n1,b,1,1,4,4\n"), ("val", "2,b,1,1,4,4\n3,,,,,\n")):
        text(tmp_path / f"{side}.csv", "image,class,x1,y1,x2,y2\n" + rows)
    cohort = recognise(tmp_path)
    assert [e.split for e in cohort.entries] == ["train", "train", "val", "val"]
    assert [cohort.load_case(e).truth.labels.tolist() for e in cohort.entries] == [[0], [1], [1], []]


def test_a_row_that_is_no_box_is_named(tmp_path):
    picture(tmp_path / "0.png")
    text(tmp_path / "list.csv", "image,xmin,ymin,xmax,ymax\n0,1,1,4,\n")
    with pytest.raises(LayoutError, match=r"list\.csv', line 2"):
        recognise(tmp_path)


def test_other_tasks_are_not_served_by_boxes(tmp_path):
    picture(tmp_path / "0.png")
    xml(tmp_path / "0.xml", ("cell", 1, 1, 5, 5))
    with pytest.raises(LayoutError, match="for detection and does not serve classification"):
        recognise(tmp_path, Hints(task="classification"))


def said(dims, grid, n=3):
    rng = np.random.default_rng(dims)
    low = rng.uniform(0, 5, (n, dims))
    corners = np.concatenate([low, low + rng.uniform(1, 5, (n, dims))], axis=1)
    return Boxes(corners, np.array([0, 1, 0])[:n], rng.random(n), {0: "a", 1: "b, c"})


@pytest.mark.parametrize("n", [0, 3])
@pytest.mark.parametrize("dims", [2, 3])
def test_what_is_written_as_a_table_comes_back(tmp_path, dims, n):
    if dims == 2:
        picture(tmp_path / "scan.png")
        picture(tmp_path / "other.png", 1)
        grid = Grid.from_shape((HEIGHT, WIDTH), has_spacing=False)
    else:
        grid = volume(tmp_path / "scan.nii.gz", np.diag([-0.7, 0.7, 2.0, 1.0]))
        volume(tmp_path / "other.nii.gz")
    boxes = said(dims, grid)
    name = "scan.png" if dims == 2 else "scan.nii.gz"
    path = write_boxes(tmp_path / "boxes.csv", boxes, grid, image_name=name)
    if not n:  # a row without numbers: no boxes
        path.write_text(path.read_text() + write_boxes(tmp_path / "none.txt", said(dims, grid, 0), grid, image_name=name
                        .replace("scan", "other")).read_text().split("\n")[1] + "\n")  # fmt: skip
    cohort = recognise(path)
    found = first(cohort, "scan")
    np.testing.assert_allclose(found.corners, boxes.corners)
    assert [found.names[int(v)] for v in found.labels] == ["a", "b, c", "a"]
    assert len(first(cohort, "other").corners) == 0


def test_what_is_written_as_coco_comes_back(tmp_path):
    picture(tmp_path / "scan.png")
    grid = Grid.from_shape((HEIGHT, WIDTH))
    write_boxes(tmp_path / "found.json", said(2, grid), grid, file_format="coco", image_name="scan.png")
    np.testing.assert_allclose(first(recognise(tmp_path)).corners, said(2, grid).corners)


def test_elements_of_a_turned_volume_run_along_the_array(tmp_path):
    grid = Grid((10, 10, 10), ((-1.0, 0, 0, 9), (0, 1.0, 0, 0), (0, 0, 2.0, 0), (0, 0, 0, 1)))
    drawn = UnplacedBoxes(np.array([[0, 1, 2, 3, 5, 8.0]]), np.array([0]), names={0: "a"}).to_world(grid)
    found = json.loads(write_boxes(tmp_path / "x.json", drawn, grid, file_format="json", image_name="x").read_text())
    ends = [f"element{axis}_{end}" for end in ("from", "to") for axis in range(3)]
    assert [found["boxes"][0][end] for end in ends] == [0, 1, 2, 3, 5, 8]
    assert found["boxes"][0]["score"] is None


def test_volumes_are_not_written_as_coco(tmp_path):
    grid = Grid.from_shape((9, 9, 9))
    with pytest.raises(ValueError, match="flat pictures"):
        write_boxes(tmp_path / "x.json", said(3, grid), grid, file_format="coco")


def test_a_look_names_boxes_without_size_reversed_and_outside(tmp_path):
    rows = [
        (0, "2,2,2,9"),
        (0, "2,2,6,9"),
        (1, "9,2,4,8"),
        (2, "40,2,50,9"),
        (3, "-5,2,50,9"),
        (3, "1,1,5,5"),
        (4, "-0.5,0,30.5,20"),
    ]
    for i in range(5):
        picture(tmp_path / f"{i}.png", i)
    text(tmp_path / "b.csv", "image,xmin,ymin,xmax,ymax\n" + "".join(f"{i},{r}\n" for i, r in rows))
    found = [(f.case, f.kind, f.sentence[:20]) for f in look(recognise(tmp_path)).issues if "box" in f.kind]
    assert found == [
        ("0", "zero-area box", "1 of its 2 boxes (1 "),
        ("1", "reversed box", "1 of its 1 boxes (1 "),
        ("2", "box outside", "1 of its 1 boxes (1 "),
        ("3", "box beyond", "1 of its 2 boxes (1 "),
    ]


def test_a_look_tells_of_objects_and_of_labels_that_have_none(tmp_path):
    for i in range(3):
        picture(tmp_path / f"{i}.png", i)
    kinds = ({"id": 1, "name": "cell"}, {"id": 2, "name": "clot"})
    drawn = [(0, 1, [1, 1, 4, 4]), (0, 1, [8, 8, 5, 5]), (1, 1, [1, 1, 10, 10])]
    text(tmp_path / "list.json", coco(["0.png", "1.png", "2.png"], drawn, kinds))
    found = look(recognise(tmp_path))
    assert found.statistics["labels"]["cell"]["piece_size"] == {"min": 16.0, "median": 25.0, "max": 100.0}
    assert [f.sentence for f in found.issues if f.kind == "never seen"] == ["No object is of the label 'clot'."]


@pytest.mark.real
def test_blood_cells(real_data):
    cohort = recognise(real_data("det2d_bccd"))
    assert (cohort.layout, cohort.task, cohort.labels) == ("voc", "detection", ("Platelets", "RBC", "WBC"))
    assert Counter(e.split for e in cohort.entries) == {"train": 205, "val": 87}
    counts = Counter(e.truth.names[int(v)] for e in cohort.in_splits("train").entries for v in e.truth.labels)
    assert counts == {"RBC": 2382, "WBC": 214, "Platelets": 209}
    faults = [f.case for f in look(cohort).issues if f.kind == "zero-area box"]
    assert faults == ["BloodImage_00338", "BloodImage_00343"]

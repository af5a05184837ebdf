"""Values show themselves in a notebook: images and labels as pictures, boxes and scores as tables."""

import io

import numpy as np
import pytest
from PIL import Image as Pillow

from medgrad.data import Boxes, Grid, Image, LabelMap, Scores
from medgrad.data.display import LABEL_COLOURS, MAX_PICTURE_SIZE


def opened(value):
    """Give the picture that a value shows, (rows, columns) or (rows, columns, 3)."""
    return np.asarray(Pillow.open(io.BytesIO(value._repr_png_())))


def test_an_image_shows_its_middle_plane_upright():
    array = np.zeros((4, 6, 3), np.float32)
    array[3, 5, 1] = 1  # on the patient's right and at the front, of the middle plane
    shown = opened(Image(array, Grid.from_shape(array.shape)))
    assert shown.shape == (6, 4)
    assert shown[0, 0] > shown[1:, 1:].max()


def test_a_picture_has_square_pixels():
    array = np.ones((4, 6, 3), np.uint8)
    assert opened(Image(array, Grid.from_shape(array.shape, spacing=(2, 1, 9)))).shape == (6, 8)


def test_a_large_picture_is_shrunk():
    assert max(opened(Image(np.zeros((2000, 100), np.uint8), Grid.from_shape((2000, 100)))).shape) == MAX_PICTURE_SIZE


def test_a_coloured_picture_keeps_its_colours():
    array = np.zeros((5, 5, 3), np.uint8)
    array[..., 0] = 200
    assert opened(Image(array, Grid.from_shape((5, 5))))[2, 2].tolist() == [200, 0, 0]


@pytest.mark.parametrize("array", [np.full((5, 5), np.nan), np.zeros((5, 5), bool), np.zeros((1, 1), np.int16)])
def test_no_image_is_too_odd_to_be_shown(array):
    assert opened(Image(array, Grid.from_shape(array.shape))).shape == array.shape


def test_a_row_of_features_is_no_picture():
    assert Image(np.zeros(5), Grid.from_shape((5,)))._repr_png_() is None


def test_labels_show_the_plane_with_the_most_of_them_a_colour_a_label():
    array = np.zeros((4, 4, 5), np.uint8)
    array[0, 0, 1] = 3
    array[:2, :, 4], array[2:, :, 4] = 1, 2
    shown = opened(LabelMap(array, Grid.from_shape(array.shape)))
    assert {tuple(colour) for colour in shown.reshape(-1, 3).tolist()} == set(LABEL_COLOURS[:2])


@pytest.mark.parametrize("values", [np.int32, bool, np.uint16])
def test_labels_of_any_whole_numbers_are_shown(values):
    array = np.zeros((4, 4, 2), values)
    assert not opened(LabelMap(array, Grid.from_shape(array.shape))).any()


def test_boxes_show_a_table_the_surest_first():
    corners = np.array([[0, 0, 1, 1], [2, 2, 3, 3.0]])
    table = Boxes(corners, np.array([0, 1]), np.array([0.2, 0.9]), {0: "cyst", 1: "<node>"})._repr_html_()
    assert table.index("&lt;node&gt;") < table.index("cyst")
    assert "<td>0.900</td><td>2.0, 2.0</td><td>3.0, 3.0</td>" in table


def test_boxes_of_an_expert_have_no_score_and_many_are_counted():
    table = Boxes(np.zeros((30, 6)), np.zeros(30, np.int64))._repr_html_()
    assert "<td>0</td><td></td>" in table
    assert "and 10 more" in table


def test_no_boxes_show_an_empty_table():
    assert "<tbody></tbody>" in Boxes(np.zeros((0, 4)), np.zeros(0, np.int64))._repr_html_()


def test_scores_show_a_table():
    assert "<td>benign</td><td>0.200</td>" in Scores(np.array([0.2, 0.8]), ("benign", "malignant"))._repr_html_()

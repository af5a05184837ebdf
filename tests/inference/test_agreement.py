"""How far answers agree, in figures that can be worked out by hand."""

import numpy as np
import pytest

from medgrad.answers import agreement
from medgrad.data import Boxes, Grid, LabelMap, Scores

LINE = Grid.from_shape((1, 10))


def labels(*values):
    return LabelMap(np.array([values], np.uint8), LINE)


def boxes(*corners, scores=None, kinds=None):
    n = len(corners)
    return Boxes(np.array(corners, float).reshape(-1, 4), np.array(kinds or [0] * n), np.array(scores or [0.5] * n))


def test_labels_agree_by_the_share_of_all_and_of_the_foreground():
    a, b = labels(0, 0, 0, 0, 0, 0, 1, 1, 2, 0), labels(0, 0, 0, 0, 0, 0, 1, 1, 1, 1)
    found = agreement([(a, b), (a, a)])
    assert found.off == pytest.approx(2 / 20)
    assert found.figures == {"equal": 18 / 20, "equal_foreground": 5 / 7}
    assert found.cases == 2


def test_probabilities_agree_by_their_largest_difference():
    a, b, c = (Scores(np.array([v, 1 - v]), ("x", "y")) for v in (0.5, 0.53, 0.4))
    assert agreement([(a, b), (a, c)]).off == pytest.approx(0.1)


def test_boxes_agree_where_each_has_a_partner_of_its_own():
    one, other = (0, 0, 10, 10), (20, 20, 30, 30)
    said = boxes(one, other, scores=[0.9, 0.6])
    assert agreement([(said, boxes(other, one, scores=[0.5, 0.9]))]).figures == {
        "matched": 1.0,
        "largest_score_difference": pytest.approx(0.1),
    }
    assert agreement([(said, boxes(one, one))]).off == pytest.approx(0.5)
    assert agreement([(boxes(one, one), said)]).off == pytest.approx(0.5)
    assert agreement([(said, boxes((0, 0, 10, 11), (20, 20, 30, 32)))]).off == pytest.approx(0.5)
    assert agreement([(said, boxes(one, other, kinds=[0, 1]))]).off == pytest.approx(0.5)
    assert agreement([(said, boxes())]).off == 1
    assert agreement([(boxes(), boxes())]).off == 0

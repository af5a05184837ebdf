"""Images of one number of channels: the truth with them, and answers as the image came."""

import numpy as np
import pytest

from medgrad.answers import restore
from medgrad.data import Case, Grid, Image, LabelMap, SyntheticImage
from medgrad.prepare import build_steps, prepare

GRID = Grid.from_shape((4, 5))
GREY = Image(np.arange(20, dtype=np.uint8).reshape(4, 5), GRID)
COLOURED = Image(np.stack([GREY.array, GREY.array + 3, GREY.array + 6], -1), GRID)


@pytest.mark.parametrize(("image", "to"), [(GREY, 3), (COLOURED, 1), (COLOURED, 3), (GREY, 0)])
def test_an_image_that_is_the_truth_is_converted_too_and_the_answer_comes_back(image, to):
    case, memos = prepare(Case("a", {"image": image}, image), steps := build_steps([{"name": "channels", "to": to}]))
    assert case.truth.channels == case.images["image"].channels == (to or image.channels)
    assert restore(case.truth, steps, memos).array.shape == image.array.shape


def test_a_truth_of_another_kind_stays():
    steps = build_steps([{"name": "channels", "to": 3}])
    for truth in (LabelMap(np.zeros((4, 5), np.uint8), GRID), SyntheticImage(GREY.array, GRID)):
        assert prepare(Case("a", {"image": GREY}, truth), steps)[0].truth is truth

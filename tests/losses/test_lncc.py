"""Local correlation: its sums by hand, its gradient to the digits of float64, and its value as MONAI's."""

import pytest
import torch
import torch.nn.functional as F

from medgrad.losses.similarity._windows import MATRIX_LENGTH, box_sum
from medgrad.losses.similarity.lncc import LNCC


@pytest.mark.parametrize("width", [1, 3, 5, 7, 9, 11])
def test_a_box_sum_is_a_convolution_with_ones(width):
    x = torch.rand(2, 1, 9, MATRIX_LENGTH + 2, 10, dtype=torch.float64)  # one axis is long
    want = F.conv3d(x, torch.ones(1, 1, *(width,) * 3, dtype=torch.float64), padding=width // 2)
    torch.testing.assert_close(box_sum(x, width, 3), want)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("shape", [(6, 7), (3, 4, 5)])
def test_the_written_gradient_is_right(shape, weighted):
    made = torch.Generator().manual_seed(0)
    one, other, weight = (torch.rand(2, 1, *shape, dtype=torch.float64, generator=made) for _ in range(3))
    measure = lambda a, b: LNCC(3)(a, b, weight if weighted else None)  # noqa: E731
    assert torch.autograd.gradcheck(measure, (one.requires_grad_(), other.requires_grad_()))


def test_inverted_contrast_is_as_alike():
    image = torch.rand(1, 1, 12, 12)
    inside = F.pad(torch.ones(1, 1, 8, 8), [2] * 4)  # beyond the edge both are 0
    assert float(LNCC(5)(1 - image, image, inside)) == pytest.approx(0, abs=1e-3)


def test_a_window_without_a_middle_is_refused():
    with pytest.raises(ValueError, match="odd"):
        LNCC(4)


@pytest.mark.peer
@pytest.mark.filterwarnings("ignore")
def test_the_value_is_that_of_monai():
    losses = pytest.importorskip("monai.losses")
    one, other = (torch.rand(1, 1, 20, 22, 24, requires_grad=True) for _ in range(2))
    theirs = 1 + losses.LocalNormalizedCrossCorrelationLoss(spatial_dims=3, kernel_size=9)(one, other)
    ours = LNCC(9)(one, other)
    assert float(ours) == pytest.approx(float(theirs), abs=1e-5)
    (want,), (got,) = torch.autograd.grad(theirs, one), torch.autograd.grad(ours, one)
    torch.testing.assert_close(got, want, rtol=1e-3, atol=1e-8)

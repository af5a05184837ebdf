"""Weights of classes may be whole numbers, as a person writes them into a recipe."""

import torch

from medgrad.losses.cross_entropy import CrossEntropy


def test_whole_numbers_are_weights_too():
    output, target = torch.randn(2, 3, 4, 4), torch.randint(0, 3, (2, 4, 4))
    assert torch.equal(
        CrossEntropy(weights=(1, 2, 3))(output, target), CrossEntropy(weights=(1.0, 2, 3))(output, target)
    )

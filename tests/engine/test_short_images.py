"""In bfloat16 on a processor, the gradient of a kernel that is longer than the image is right as well."""

import pytest
import torch
from torch import nn

from medgrad.engine.device import Mixed, Place, has_fast_bfloat16

FAST, FULL = Place("cpu", torch.bfloat16), Place("cpu", torch.float32)
SHAPES = [(2, 2, 2), (2, 2, 4), (2, 4, 4), (1, 1, 1), (3, 1, 8), (4, 4, 4), (1, 1), (2, 2), (4, 4)]


def gradient(place, shape, stride):
    torch.manual_seed(0)
    make = nn.Conv3d if len(shape) == 3 else nn.Conv2d
    network = place.model(make(64, 64, 3, stride, 1))
    out = Mixed(network, place)(torch.randn(4, 64, *shape))
    (out * torch.linspace(-1, 1, out.numel()).view_as(out)).sum().backward()
    return network.weight.grad


@pytest.mark.skipif(not has_fast_bfloat16(), reason="this processor does not train in bfloat16")
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("stride", [1, 2])
def test_the_gradient_of_a_short_image_is_that_of_full_precision(shape, stride):
    fast, full = gradient(FAST, shape, stride), gradient(FULL, shape, stride)
    assert float((fast - full).norm() / full.norm()) < 0.02

"""Convolutions that torch gets wrong on a processor are right here."""

import pytest
import torch
from torch import nn

from medgrad.engine.device import Mixed, Place, has_fast_bfloat16, in_order
from medgrad.engine.sound import Sound

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


@pytest.mark.parametrize(
    "place", [FULL, pytest.param(FAST, marks=pytest.mark.skipif(not has_fast_bfloat16(), reason="no bfloat16"))]
)
@pytest.mark.parametrize("shape", [(6, 6), (7, 12), (4, 6, 8)])
@pytest.mark.parametrize("channels", [1, 2, 3, 5, 12, 16])
def test_a_stride_over_few_channels_writes_nowhere_else(channels, shape, place):
    """Left to torch, this ends the process now and then, or gives a gradient that is wrong."""
    torch.manual_seed(0)
    make = nn.Conv3d if len(shape) == 3 else nn.Conv2d
    network = place.model(make(channels, 8, 1, 2))
    x = torch.randn(2, channels, *shape)
    exact = make(channels, 8, 1, 2).double()
    exact.load_state_dict(network.state_dict())
    for made, inputs in ((Mixed(network, place), in_order(x)), (exact, x.double())):
        out = made(inputs)
        (out * torch.linspace(-1, 1, out.numel(), dtype=out.dtype).view_as(out)).sum().backward()
    near = 0.02 if place is FAST else 1e-5
    for found, wanted in zip(network.parameters(), exact.parameters(), strict=True):
        assert float((found.grad - wanted.grad).norm() / wanted.grad.norm()) < near


def test_a_convolution_that_pads_keeps_its_stride():
    network = FULL.model(nn.Conv2d(3, 4, 1, 2, 1))
    x = torch.randn(1, 3, 6, 6)
    torch.testing.assert_close(Mixed(network, FULL)(x), network(x))


@pytest.mark.parametrize(
    ("channels", "shape", "settings"),
    [
        ((1, 8), (9, 10, 11), {}),
        ((3, 5), (9, 10, 11), {"padding": 1}),
        ((4, 4), (12, 7, 8), {"padding": (1, 0, 1), "stride": 2}),
        ((4, 8), (12, 9, 10), {"padding": 2, "dilation": 2, "groups": 2, "bias": False}),
    ],
)
@pytest.mark.parametrize("last", [False, True])
def test_a_single_volume_is_convolved_the_same_when_onednn_is_asked_by_name(
    channels, shape, settings, last, monkeypatch
):
    torch.manual_seed(0)
    layer, x = nn.Conv3d(*channels, 3, **settings), torch.randn(1, channels[0], *shape)
    x = x.contiguous(memory_format=torch.channels_last_3d) if last else x
    asked, named = [], torch.mkldnn_convolution
    monkeypatch.setattr(torch, "mkldnn_convolution", lambda *given: asked.append(1) or named(*given))
    with torch.no_grad():
        plain = layer(x)
        with Sound():
            found = layer(x)
    assert len(asked) == 1
    torch.testing.assert_close(found, plain, rtol=1e-4, atol=1e-5)
    with Sound():
        layer(x).sum().backward()
    assert len(asked) == 1  # what is learned from goes the usual way

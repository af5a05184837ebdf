"""Convolutions that torch gets wrong on a processor are right here."""

from contextlib import nullcontext

import pytest
import torch
from torch import nn
from torch.profiler import ProfilerActivity, profile

from medgrad.engine.compute.cpu_convolutions import SafeConvolutions, fold_neighbours, transposed_convolution_by_matmul
from medgrad.engine.compute.device import AutocastModule, Compute, has_fast_bfloat16, to_channels_last

FAST, FULL = Compute("cpu", torch.bfloat16), Compute("cpu", torch.float32)
PLACES = [FULL, pytest.param(FAST, marks=pytest.mark.skipif(not has_fast_bfloat16(), reason="no bfloat16"))]
SHAPES = [(2, 2, 2), (2, 2, 4), (2, 4, 4), (1, 1, 1), (3, 1, 8), (4, 4, 4), (1, 1), (2, 2), (4, 4)]


def gradient(place, shape, stride):
    torch.manual_seed(0)
    make = nn.Conv3d if len(shape) == 3 else nn.Conv2d
    network = place.move_model(make(64, 64, 3, stride, 1))
    out = AutocastModule(network, place)(torch.randn(4, 64, *shape))
    (out * torch.linspace(-1, 1, out.numel()).view_as(out)).sum().backward()
    return network.weight.grad


@pytest.mark.skipif(not has_fast_bfloat16(), reason="this processor does not train in bfloat16")
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("stride", [1, 2])
def test_the_gradient_of_a_short_image_is_that_of_full_precision(shape, stride):
    fast, full = gradient(FAST, shape, stride), gradient(FULL, shape, stride)
    assert float((fast - full).norm() / full.norm()) < 0.02


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("shape", [(6, 6), (7, 12), (4, 6, 8)])
@pytest.mark.parametrize("channels", [1, 2, 3, 5, 12, 16])
def test_a_stride_over_few_channels_writes_nowhere_else(channels, shape, place):
    """Left to torch, this ends the process now and then, or gives a gradient that is wrong."""
    torch.manual_seed(0)
    make = nn.Conv3d if len(shape) == 3 else nn.Conv2d
    network = place.move_model(make(channels, 8, 1, 2))
    x = torch.randn(2, channels, *shape)
    exact = make(channels, 8, 1, 2).double()
    exact.load_state_dict(network.state_dict())
    for made, inputs in ((AutocastModule(network, place), to_channels_last(x)), (exact, x.double())):
        out = made(inputs)
        (out * torch.linspace(-1, 1, out.numel(), dtype=out.dtype).view_as(out)).sum().backward()
    near = 0.02 if place is FAST else 1e-5
    for found, wanted in zip(network.parameters(), exact.parameters(), strict=True):
        assert float((found.grad - wanted.grad).norm() / wanted.grad.norm()) < near


def test_a_convolution_that_pads_keeps_its_stride():
    network = FULL.move_model(nn.Conv2d(3, 4, 1, 2, 1))
    x = torch.randn(1, 3, 6, 6)
    torch.testing.assert_close(AutocastModule(network, FULL)(x), network(x))


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
        with SafeConvolutions():
            found = layer(x)
    assert len(asked) == 1
    torch.testing.assert_close(found, plain, rtol=1e-4, atol=1e-5)
    with SafeConvolutions():
        layer(x).sum().backward()
    assert len(asked) == 1  # what is learned from goes the usual way


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize(
    ("channels", "shape", "blocks"),
    [((5, 3), (6, 7), (2, 2)), ((8, 4), (3, 5, 4), (2, 2, 2)), ((3, 8), (4, 5, 6), (1, 2, 2)), ((4, 1), (9,) * 3, 3)],
)
def test_a_single_sample_is_spread_as_by_a_transposed_convolution(channels, shape, blocks, last, bias):
    torch.manual_seed(0)
    make, order = {2: (nn.ConvTranspose2d, torch.channels_last), 3: (nn.ConvTranspose3d, torch.channels_last_3d)}[
        len(shape)
    ]
    layer, x = make(*channels, blocks, blocks, bias=bias), torch.randn(1, channels[0], *shape)
    x = (x.contiguous(memory_format=order) if last else x).requires_grad_()
    found = []
    for sound in (nullcontext(), SafeConvolutions()):
        with profile(activities=[ProfilerActivity.CPU]) as seen, sound:
            out = layer(x)
        (out * torch.linspace(-1, 1, out.numel()).view_as(out)).sum().backward()
        found.append([out, x.grad, *(p.grad for p in layer.parameters())])
        x.grad = None
        layer.zero_grad()
    assert not any("slow_conv" in event.key for event in seen.key_averages())
    torch.testing.assert_close(found[1], found[0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("settings", "inputs"),
    [
        ({"kernel_size": 3, "stride": 2}, (1, 4, 6, 6)),
        ({"kernel_size": 2, "stride": 2, "padding": 1}, (1, 4, 6, 6)),
        ({"kernel_size": 2, "stride": 2, "groups": 2}, (1, 4, 6, 6)),
        ({"kernel_size": 2, "stride": 2, "output_padding": 1}, (1, 4, 6, 6)),
        ({"kernel_size": 2, "stride": 2}, (3, 4, 6, 6)),
        ({"kernel_size": 2, "stride": 2}, (1, 4, 80, 80)),
    ],
)
def test_any_other_transposed_convolution_goes_the_usual_way(settings, inputs, monkeypatch):
    monkeypatch.setattr("medgrad.engine.compute.cpu_convolutions.transposed_convolution_by_matmul", None)
    layer, x = nn.ConvTranspose2d(4, 4, **settings), torch.randn(inputs)
    with SafeConvolutions():
        torch.testing.assert_close(layer(x), layer(x))


@pytest.mark.parametrize(
    ("channels", "shape", "kernel"),
    [
        ((8, 4), (16, 64, 64), 3),
        ((1, 3), (20, 56, 60), 3),
        ((4, 1), (5, 128, 128), (1, 3, 7)),
        ((3, 2), (8, 130, 132), (5, 3, 1)),
        ((4, 3), (40, 42, 40), 1),
    ],
)
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("place", PLACES)
def test_few_channels_are_computed_abreast_and_are_the_same(channels, shape, kernel, bias, place, monkeypatch):
    torch.manual_seed(0)
    sizes = (kernel,) * len(shape) if isinstance(kernel, int) else kernel
    layer = nn.Conv3d(*channels, sizes, padding=tuple(k // 2 for k in sizes), bias=bias)
    x, done = to_channels_last(torch.randn(1, channels[0], *shape)), []
    monkeypatch.setattr(
        "medgrad.engine.compute.cpu_convolutions.fold_neighbours",
        lambda *a, **k: done.append(1) or fold_neighbours(*a, **k),
    )
    with torch.no_grad():
        wanted, found = layer.double()(x.double()), AutocastModule(place.move_model(layer.float()), place)(x)
    assert done
    assert found.movedim(1, -1).is_contiguous()
    assert float((found - wanted).norm() / wanted.norm()) < (0.01 if place is FAST else 1e-5)


@pytest.mark.parametrize(
    ("settings", "inputs"),
    [
        ({"padding": 1, "stride": 2}, (1, 4, 16, 64, 64)),
        ({"padding": 0}, (1, 4, 16, 64, 64)),
        ({"padding": "same"}, (1, 4, 16, 64, 64)),
        ({"padding": 2, "dilation": 2}, (1, 4, 16, 64, 64)),
        ({"padding": 1, "groups": 4}, (1, 4, 16, 64, 64)),
        ({"padding": 1}, (2, 4, 16, 64, 64)),
        ({"padding": 1}, (1, 4, 17, 67, 67)),
        ({"padding": 1}, (1, 4, 8, 64, 64)),
    ],
)
def test_any_other_convolution_goes_the_usual_way(settings, inputs, monkeypatch):
    monkeypatch.setattr("medgrad.engine.compute.cpu_convolutions.fold_neighbours", None)
    layer, x = nn.Conv3d(4, 4, 3, **settings), to_channels_last(torch.randn(inputs))
    with SafeConvolutions(), torch.no_grad():
        torch.testing.assert_close(layer(x), layer(x))


def test_what_learns_is_not_computed_abreast(monkeypatch):
    monkeypatch.setattr("medgrad.engine.compute.cpu_convolutions.fold_neighbours", None)
    layer, x = nn.Conv3d(4, 4, 3, padding=1), to_channels_last(torch.randn(1, 4, 16, 64, 64))
    with SafeConvolutions():
        layer(x).sum().backward()
    assert layer.weight.grad is not None


@pytest.mark.parametrize("bias", [False, True])
def test_a_single_sample_is_spread_in_bfloat16_while_answering(bias, monkeypatch):
    torch.manual_seed(0)
    layer, x, done = nn.ConvTranspose3d(16, 4, 2, 2, bias=bias), to_channels_last(torch.randn(1, 16, 8, 9, 10)), []
    monkeypatch.setattr(
        "medgrad.engine.compute.cpu_convolutions.transposed_convolution_by_matmul",
        lambda *given: done.append(1) or transposed_convolution_by_matmul(*given),
    )
    with torch.no_grad():
        wanted, found = layer(x), AutocastModule(layer, FAST)(x)
    assert done
    assert float((found - wanted).norm() / wanted.norm()) < 0.01
    done.clear()
    AutocastModule(layer, FAST)(x).sum().backward()
    assert not done

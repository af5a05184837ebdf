"""Our instance norm gives torch's numbers, also by the way that is quick for few channels."""

import pytest
import torch
import torch.nn.functional as F

from medgrad.models import InstanceNorm
from medgrad.models._blocks import is_folding_faster, voxels_per_fold

LARGE = {2: (320, 210), 3: (40, 56, 41)}


def large(channels, dims):
    """Give the size of images of so many channels that are still worth taking together."""
    first, *others = LARGE[dims]
    return (first if channels < 8 else first // 2 if channels % 16 == 0 else first // 8), *others


def given(channels, dims, *, samples=2, dtype=torch.float64, shape=None):
    """Images whose channels differ much in mean and in spread, channels last."""
    torch.manual_seed(channels)
    scale = torch.linspace(0.1, 30, channels).view(-1, *[1] * dims)
    order = {2: torch.channels_last, 3: torch.channels_last_3d}[dims]
    return (
        (torch.randn(samples, channels, *(shape or LARGE[dims])) * scale + 5 * scale)
        .to(dtype)
        .contiguous(memory_format=order)
    )


def drawn(channels, *, affine=True):
    ours = InstanceNorm(channels, affine=affine)
    for p in ours.parameters():
        torch.nn.init.normal_(p)
    return ours


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("channels", [1, 2, 3, 4, 5, 8, 12, 13, 16, 40])
@pytest.mark.parametrize("affine", [True, False])
def test_gives_the_numbers_of_torch(channels, dims, affine):
    x, ours = given(channels, dims, shape=large(channels, dims)), drawn(channels, affine=affine).double()
    expected = F.instance_norm(x, weight=ours.weight, bias=ours.bias, eps=ours.eps)
    torch.testing.assert_close(ours(x), expected, rtol=1e-10, atol=1e-10)
    with torch.inference_mode():
        assert is_folding_faster(x)
        torch.testing.assert_close(ours(x), expected, rtol=1e-10, atol=1e-10)


def test_few_channels_are_taken_together_only_while_answering():
    x = given(5, 3, dtype=torch.float32)
    assert not is_folding_faster(x)
    with torch.no_grad():
        assert is_folding_faster(x)
        assert not is_folding_faster(x.contiguous())
        assert not is_folding_faster(x[..., :4])
        assert is_folding_faster(given(8, 3, dtype=torch.float32))
        assert not is_folding_faster(given(65, 3, dtype=torch.float32))


def test_bfloat16_is_normed_with_weights_in_float32():
    x, ours = given(5, 3, dtype=torch.bfloat16), drawn(5)
    exact = F.instance_norm(x.double(), weight=ours.weight.double(), bias=ours.bias.double(), eps=ours.eps)
    with torch.inference_mode():
        torch.testing.assert_close(ours(x).double(), exact, rtol=0.02, atol=0.02)


@pytest.mark.parametrize("channels", [3, 4, 8])
def test_few_channels_are_taken_together_in_bfloat16_as_exactly_as_by_torch(channels):
    x, ours = given(channels, 3, samples=1, dtype=torch.bfloat16), drawn(channels)
    exact = F.instance_norm(x.double(), weight=ours.weight.double(), bias=ours.bias.double(), eps=ours.eps)
    with torch.no_grad():
        assert is_folding_faster(x)
        folded, plain = ours.norm_sample_folded(x), ours.norm_sample(x)
    assert folded.dtype == torch.bfloat16
    assert (folded - exact).abs().max() <= 1.1 * (plain - exact).abs().max()


def test_even_channels_and_smaller_volumes_stay_with_torch_in_bfloat16():
    with torch.no_grad():
        assert not is_folding_faster(given(16, 3, dtype=torch.bfloat16))
        small = given(4, 3, dtype=torch.float32)[..., :8].contiguous(memory_format=torch.channels_last_3d)
        assert is_folding_faster(small)
        assert not is_folding_faster(small.bfloat16())


def test_no_digits_are_lost_that_torch_keeps():
    x, ours = given(4, 3, samples=1, dtype=torch.float32), drawn(4)
    exact = F.instance_norm(x.double(), weight=ours.weight.double(), bias=ours.bias.double(), eps=ours.eps)
    with torch.no_grad():
        folded, plain = (ours.norm_sample_folded(x) - exact).abs().max(), (ours.norm_sample(x) - exact).abs().max()
    assert folded <= 2 * plain
    assert folded < 1e-4


def test_the_order_of_memory_stays():
    with torch.no_grad():
        assert drawn(6)(given(6, 3, dtype=torch.float32)).is_contiguous(memory_format=torch.channels_last_3d)


@pytest.mark.parametrize("voxels", [1, 7, 1024, 89_600, 89_601])
def test_what_is_taken_together_divides_the_voxels(voxels):
    assert voxels % voxels_per_fold(3, voxels) == 0


@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning", "ignore::DeprecationWarning")
def test_can_be_traced_with_shapes_that_are_tensors():
    """As a MONAI bundle is written."""
    norm, x = InstanceNorm(4).eval(), torch.randn(1, 4, 6, 5)
    with torch.inference_mode():
        traced = torch.jit.trace(norm, (x,), check_trace=False)
        torch.testing.assert_close(traced(x), F.instance_norm(x))

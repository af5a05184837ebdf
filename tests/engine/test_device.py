"""Where numbers are crunched: the precision that is asked for, the order that is fast, and memory that stays."""

import pytest
import torch
from torch import nn

from medgrad import registry
from medgrad.data import Grid
from medgrad.engine.compute import device
from medgrad.engine.compute.device import AutocastModule, Compute, channels_last_format, choose_device, to_channels_last
from medgrad.errors import SettingError
from medgrad.models import InstanceNorm
from medgrad.models._blocks import replace_instance_norms
from medgrad.tasks import Batch

CPU = Compute("cpu", torch.float32)
SHAPES = [(2, 1, 6, 5), (2, 3, 6, 5), (2, 1, 4, 6, 5), (1, 1, 4, 6, 5), (2, 4, 4, 6, 5)]


@pytest.mark.parametrize("shape", SHAPES)
def test_order_changes_strides_and_no_numbers(shape):
    x = torch.randn(shape)
    ordered = to_channels_last(x)
    assert torch.equal(ordered, x)
    assert ordered.stride(1) == 1
    assert ordered.is_contiguous(memory_format=channels_last_format(x))


def test_order_is_found_again_after_slicing_and_mirroring():
    x = torch.randn(3, 1, 4, 6, 5)
    turned = to_channels_last(to_channels_last(x)[1:].flip([2, 4]))
    assert torch.equal(turned, x[1:].flip([2, 4]))
    assert turned.stride(1) == 1


def test_what_has_no_such_order_stays():
    x = torch.randn(3, 7)
    assert to_channels_last(x) is x


@pytest.mark.parametrize("dims", [2, 3])
def test_a_network_of_one_channel_runs_channels_last_from_its_first_layer(dims):
    """Its first level ran in the plain order, for 8 % of a training step in 3D."""
    network = CPU.move_model(registry.find("models", "unet")(1, 2, dims, channels=(8, 16)))
    batch = CPU.move_batch(Batch({"image": torch.randn(2, 1, *(8,) * dims)}, {}, [Grid.from_shape((8,) * dims)] * 2))
    first = network.down[0][0][0]
    assert first(batch.inputs["image"]).stride(1) == 1


@pytest.mark.parametrize("dims", [2, 3])
def test_bfloat16_says_nearly_what_float32_says(dims):
    torch.manual_seed(0)
    network = registry.find("models", "unet")(1, 3, dims, channels=(8, 16))
    x = torch.randn(2, 1, *(16,) * dims)
    exact = AutocastModule(network, CPU)(x)
    rough = AutocastModule(network, Compute("cpu", torch.bfloat16))(x)
    assert rough.dtype == torch.float32
    assert (rough - exact).norm() < 0.03 * exact.norm()
    assert not torch.equal(rough, exact)


def test_several_outputs_all_come_back_in_float32():
    network = registry.find("models", "unet")(1, 3, 2, channels=(4, 4, 4, 4), deep_supervision=True).train()
    out = AutocastModule(network, Compute("cpu", torch.bfloat16))(torch.randn(2, 1, 16, 16))
    assert isinstance(out, tuple)
    assert {o.dtype for o in out} == {torch.float32}


def test_the_flags_of_the_processor_decide(monkeypatch, tmp_path):
    for flags, fast in (("fma avx512f avx512_bf16", True), ("amx_bf16 amx_tile", True), ("fma avx2 avx512f", False)):
        file = tmp_path / "cpuinfo"
        file.write_text(f"flags\t: {flags}\n")
        monkeypatch.setattr(device, "Path", lambda _, file=file: file)
        device.has_fast_bfloat16.cache_clear()
        assert device.has_fast_bfloat16() is fast
        assert choose_device("auto", "cpu").dtype == (torch.bfloat16 if fast else torch.float32)
    monkeypatch.setattr(device, "Path", lambda _: tmp_path / "absent")
    device.has_fast_bfloat16.cache_clear()
    assert device.has_fast_bfloat16() is False
    device.has_fast_bfloat16.cache_clear()


def test_a_precision_that_is_asked_for_is_taken():
    assert choose_device("float32", "cpu") == CPU
    assert choose_device("bfloat16", "cpu").dtype == torch.bfloat16
    with pytest.raises(SettingError, match="'half'"):
        choose_device("half", "cpu")


def test_memory_is_kept_where_there_is_glibc(monkeypatch):
    device.keep_freed_memory.cache_clear()
    monkeypatch.setattr("sys.platform", "darwin")
    assert device.keep_freed_memory() is False
    device.keep_freed_memory.cache_clear()


class Foreign(nn.Module):
    """A network with the norms that other libraries use."""

    def __init__(self, affine):
        super().__init__()
        self.body = nn.Sequential(nn.Conv3d(1, 4, 3), nn.InstanceNorm3d(4, affine=affine), nn.ReLU())
        self.tracking = nn.InstanceNorm3d(4, track_running_stats=True)

    def forward(self, x):
        return self.tracking(self.body(x))


@pytest.mark.parametrize("affine", [True, False])
def test_swapped_norms_give_the_same_numbers_under_the_same_names(affine):
    torch.manual_seed(0)
    network = Foreign(affine).double()
    x = torch.randn(2, 1, 7, 6, 5, dtype=torch.float64)
    before, names = network(x), list(network.state_dict())
    swapped = replace_instance_norms(network)
    assert isinstance(swapped.body[1], InstanceNorm)
    assert isinstance(swapped.tracking, nn.InstanceNorm3d)
    assert list(swapped.state_dict()) == names
    network.tracking.reset_running_stats()
    torch.testing.assert_close(swapped(x), before, rtol=1e-12, atol=1e-12)

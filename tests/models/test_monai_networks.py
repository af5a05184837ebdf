"""A network of MONAI gives MONAI's own numbers, quicker, and its weights go back into MONAI's."""

import pytest
import torch

from medgrad import registry
from medgrad.models import InstanceNorm

pytestmark = pytest.mark.peer

BASIC = {"features": (4, 4, 8, 8, 8, 4)}
DYN = {"kernel_size": [3] * 3, "strides": [1, 2, 2], "upsample_kernel_size": [2] * 2, "filters": [4, 8, 8]}


@pytest.mark.parametrize(
    ("name", "settings", "shape"),
    [
        ("BasicUNet", BASIC, (32, 16, 32)),
        ("BasicUNet", BASIC, (21, 34, 18)),
        ("DynUNet", DYN, (8, 8, 8)),
        ("UNet", {"channels": (4, 8), "strides": (2,)}, (8, 8, 8)),
    ],
)
def test_the_numbers_are_monais(name, settings, shape):
    nets = pytest.importorskip("monai.networks.nets")
    torch.manual_seed(0)
    theirs = getattr(nets, name)(spatial_dims=3, in_channels=1, out_channels=2, **settings).eval()
    ours = registry.find("models", "monai")(1, 2, 3, network=name, **settings).eval()
    ours.network.load_state_dict(theirs.state_dict())
    x = torch.randn(2, 1, *shape)
    with torch.no_grad():
        torch.testing.assert_close(ours(x), theirs(x), rtol=1e-4, atol=1e-4)
    assert any(isinstance(module, InstanceNorm) for module in ours.modules())
    theirs.load_state_dict(ours.network.state_dict())

"""Small networks of every kind, and what their channels are."""

from functools import cache

import pytest
import torch
from torch import nn

from medgrad import registry
from medgrad.compress.structure.graph import build_graph

PYRAMID = {"channels": (4, 8, 8), "first": 1, "width": 8, "blocks": 1}
KINDS = {
    "unet": {"channels": (4, 8), "blocks": 1},
    "unet deep": {"channels": (4, 6, 8, 8), "deep_supervision": True, "blocks": 1, "decoder_blocks": 1},
    "unet residual deep": {
        "channels": (4, 6, 8, 8),
        "encoder": "residual",
        "deep_supervision": True,
        "blocks": 1,
        "decoder_blocks": 1,
    },
    "unet group": {"channels": (16, 32), "normalise": "group", "blocks": 1},
    "unet none": {"channels": (4, 8), "normalise": "none"},
    "resnet": {"channels": (4, 8), "blocks": (2, 1), "stem": 4},
    "vgg": {"channels": (4, 8, 8), "layers": (1, 1, 2)},
    "cnn": {"channels": (4, 6, 8)},
    "image_unet": {"channels": (4, 8), "blocks": 1},
    "autoencoder": {"body": "resnet", "channels": (4, 8), "blocks": (1, 1)},
    "autoencoder levels": PYRAMID | {"body": "retinanet"},
    "dncnn": {"depth": 4, "width": 8},
    "adversarial_pair": {"channels": (4, 8), "critic_channels": (4, 8)},
    "rectified_flow": {"channels": (8, 16), "steps": 2},
    "mlp": {"widths": (12, 8)},
    "mlp none": {"widths": (12, 8), "normalise": "none"},
    "logistic": {},
    "svm": {},
    "svm rbf": {"kernel": "rbf", "supports": 5},
    "yolo": PYRAMID | {"normalise": "batch", "bins": 4, "encoder": "residual"},
    "retinanet": PYRAMID | {"width": 16},
    "faster_rcnn": {"channels": (4, 8), "first": 1, "width": 8, "blocks": 1, "hidden": 8, "proposals": 4, "size": 2},
    "faster_rcnn levels": PYRAMID | {"hidden": 8, "proposals": 4, "size": 2, "normalise": "batch"},
    "monai": {"network": "BasicUNet", "features": (4, 4, 6, 6, 6, 4)},
    "monai unet": {"network": "UNet", "channels": (4, 6, 8), "strides": (2, 2), "num_res_units": 1},
}
SHAPES = {2: (16, 24), 3: (16, 16, 8)}
QUICK = [
    *[(kind, 2) for kind in ("unet group", "resnet", "vgg", "mlp", "mlp none", "logistic", "svm")],
    *[(kind, 2) for kind in ("retinanet", "faster_rcnn")],
    *[(kind, 2) for kind in ("image_unet", "autoencoder", "dncnn", "adversarial_pair", "rectified_flow")],
    *[(kind, 3) for kind in ("unet", "unet deep", "cnn", "yolo")],
]
"""Each network of ours, and both numbers of axes, in little time; the slow tests look at all."""

EVERY = [
    pytest.param(kind, dims, id=f"{kind}-{dims}D", marks=[] if (kind, dims) in QUICK else [pytest.mark.slow])
    for kind in KINDS
    for dims in (2, 3)
]


def make(kind, dims):
    """Make a network whose every number matters: nothing is 0, 1 or alike."""
    name = kind.split()[0]
    if name == "monai":
        pytest.importorskip("monai", reason="the monai extra is not installed")
    shaped = {"shape": SHAPES[dims]} if name in ("logistic", "mlp", "svm") else {}
    torch.manual_seed(0)
    model = registry.find("models", name)(2, 3, dims, **KINDS[kind], **shaped)
    for p in model.parameters():
        nn.init.normal_(p, std=1.0 if p.ndim < 2 else (2 / p[0].numel()) ** 0.5)
    for b in model.buffers():
        if b.ndim == 1 and b.is_floating_point():
            b.data.uniform_(0.5, 1.5)
    return model


def example(kind, dims, samples=1):
    """Give an input; one network of MONAI halves it four times."""
    shape = (32, *(16,) * (dims - 1)) if kind == "monai" else SHAPES[dims]
    return torch.randn(samples, 2, *shape, generator=torch.Generator().manual_seed(1))


@cache
def known(kind, dims):
    """The network and its graph, traced once for all tests."""
    model = make(kind, dims)
    return model, build_graph(model, example(kind, dims))

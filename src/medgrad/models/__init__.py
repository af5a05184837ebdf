"""Networks, one architecture a file: ``THIS(inputs, outputs, dims, **settings)``.

Each class is here by its own name too, such as ``UNet``, and is imported when first touched.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .. import registry
from ._blocks import InstanceNorm, join_label
from ._widths import CONVOLUTION, NORM, layer_width, layer_widths, with_widths

__all__ = ["CONVOLUTION", "NORM", "InstanceNorm", "join_label", "layer_width", "layer_widths", "with_widths"]

if TYPE_CHECKING:
    from .cnn import CNN as CNN
    from .faster_rcnn import FasterRCNN as FasterRCNN
    from .logistic import Logistic as Logistic
    from .mlp import MLP as MLP
    from .monai import Monai as Monai
    from .resnet import ResNet as ResNet
    from .retinanet import RetinaNet as RetinaNet
    from .svm import SVM as SVM
    from .unet import UNet as UNet
    from .vgg import VGG as VGG
    from .yolo import YOLO as YOLO
else:

    def __getattr__(name: str) -> Any:
        return registry.find_class("models", name)


def __dir__() -> list[str]:
    return sorted([*globals(), *registry.class_files("models")])

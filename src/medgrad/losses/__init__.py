"""Losses, one a file: ``THIS(output, target) -> Tensor``.

Each class is here by its own name too, such as ``DiceCE``, and is imported when first touched.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .. import registry

if TYPE_CHECKING:
    from .bce import BCE as BCE
    from .cross_entropy import CrossEntropy as CrossEntropy
    from .dice import Dice as Dice
    from .dice_ce import DiceCE as DiceCE
    from .focal import Focal as Focal
    from .hinge import Hinge as Hinge
    from .mse import MSE as MSE
    from .tversky import Tversky as Tversky
else:

    def __getattr__(name: str) -> Any:
        return registry.find_class("losses", name)


def __dir__() -> list[str]:
    return sorted([*globals(), *registry.class_files("losses")])

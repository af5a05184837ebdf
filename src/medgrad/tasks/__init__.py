"""Tasks, one a file: segmentation, classification, detection, registration.

Each class is here by its own name too, such as ``Segmentation``, and is imported when first touched.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .. import registry
from ._plans import Budget, plan_autoencoder
from ._task import (
    Batch,
    Inputs,
    Output,
    Sample,
    Task,
    full_resolution,
    input_names,
    network_arguments,
    run_network,
    stack_samples,
)

__all__ = [
    "Batch",
    "Budget",
    "Inputs",
    "Output",
    "Sample",
    "Task",
    "full_resolution",
    "input_names",
    "network_arguments",
    "plan_autoencoder",
    "run_network",
    "stack_samples",
]

if TYPE_CHECKING:
    from .classification import Classification as Classification
    from .detection import Detection as Detection
    from .registration import Registration as Registration
    from .segmentation import Segmentation as Segmentation
else:

    def __getattr__(name: str) -> Any:
        return registry.find_class("tasks", name)


def __dir__() -> list[str]:
    return sorted([*globals(), *registry.class_files("tasks")])

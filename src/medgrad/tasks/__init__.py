"""Tasks, one a file: segmentation, classification, detection, registration."""

from ._task import Batch, Output, Sample, Task, full_resolution, stack_samples

__all__ = ["Batch", "Output", "Sample", "Task", "full_resolution", "stack_samples"]

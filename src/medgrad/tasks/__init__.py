"""One problem a file, told in seven verbs."""

from ._task import Batch, Output, Sample, Task, full_resolution, stack

__all__ = ["Batch", "Output", "Sample", "Task", "full_resolution", "stack"]

"""One problem a file, told in seven verbs."""

from ._task import Batch, Output, Sample, Task, finest, stack

__all__ = ["Batch", "Output", "Sample", "Task", "finest", "stack"]

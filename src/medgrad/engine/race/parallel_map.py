"""Run independent jobs in turn in this process, or in parallel on a Ray cluster."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal, TypeVar

from ...errors import require_package

Result = TypeVar("Result")
Executor = Literal["here", "ray"]


def parallel_map(
    work: Callable[..., Result], shared: Any, jobs: Sequence[Sequence[Any]], *, executor: Executor = "here"
) -> Iterator[Result]:
    """Call ``work(shared, *job)`` for every job, and yield the results in the order of the jobs.

    On Ray (the extra ``cluster``; a running cluster is joined, else one is started here) the shared value is
    sent once, and all nodes must see the same folders.

    >>> list(parallel_map(lambda scale, value: scale * value, 2, [(1,), (3,)]))
    [2, 6]
    """
    if executor == "here":
        yield from (work(shared, *job) for job in jobs)
        return
    ray = require_package("ray", extra="cluster")
    if not ray.is_initialized():
        ray.init(include_dashboard=False, log_to_driver=False, configure_logging=False)
    known = ray.put(shared)
    remote = ray.remote(work)
    yield from (ray.get(one) for one in [remote.remote(known, *job) for job in jobs])

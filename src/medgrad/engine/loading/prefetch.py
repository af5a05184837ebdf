"""Prefetch batches in a thread while the device computes."""

from __future__ import annotations

from collections.abc import Iterator
from queue import Queue
from threading import Event, Thread
from typing import Any, TypeVar

Item = TypeVar("Item")


def prefetch(items: Iterator[Item], n_ahead: int) -> Iterator[Item]:
    """Yield the same items in the same order, with up to ``n_ahead`` of them made beforehand by a thread.

    With ``n_ahead`` 0 there is no prefetching. An error in the thread is raised here.

    >>> list(prefetch(iter("abc"), 2))
    ['a', 'b', 'c']
    """
    if n_ahead <= 0:
        yield from items
        return
    queue: Queue[tuple[str, Any]] = Queue(n_ahead)
    stop = Event()

    def produce() -> None:
        try:
            for item in items:
                queue.put(("item", item))
                if stop.is_set():
                    return
            queue.put(("end", None))
        except BaseException as reason:  # told to whoever waits
            queue.put(("error", reason))

    thread = Thread(target=produce, daemon=True)
    thread.start()
    try:
        while True:
            kind, value = queue.get()
            if kind == "end":
                return
            if kind == "error":
                raise value
            yield value
    finally:
        stop.set()
        while not queue.empty():
            queue.get_nowait()

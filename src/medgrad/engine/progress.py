"""Progress reporting: messages and progress bars."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Protocol


class Bar(Protocol):
    """Updates one progress bar."""

    def __call__(self, done: int, total: int, note: str = "", /) -> None: ...


class Progress(Protocol):
    """Receives messages and shows progress bars; the command line, a notebook or a test implements it."""

    def say(self, text: str) -> None: ...

    def bar(self, description: str) -> AbstractContextManager[Bar]: ...


class SilentProgress:
    """A progress reporter that shows nothing."""

    def say(self, text: str) -> None:
        """Ignore a message."""

    @contextlib.contextmanager
    def bar(self, what: str) -> Iterator[Bar]:
        """Yield a progress bar that is not shown."""
        del what

        def ignore(done: int, total: int, note: str = "", /) -> None:
            del done, total, note

        yield ignore

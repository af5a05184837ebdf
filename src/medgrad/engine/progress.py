"""How long work speaks to whoever asked for it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Protocol


class Bar(Protocol):
    """Shows how far a piece of work is."""

    def __call__(self, done: int, total: int, note: str = "", /) -> None: ...


class Progress(Protocol):
    """Takes sentences and shows bars; the command line draws them, a notebook may, a test need not."""

    def say(self, text: str) -> None: ...

    def bar(self, what: str) -> AbstractContextManager[Bar]: ...


class Silent:
    """Tells nothing."""

    def say(self, text: str) -> None:
        """Hear nothing."""

    @contextlib.contextmanager
    def bar(self, what: str) -> Iterator[Bar]:
        """Show nothing."""
        del what

        def shown(done: int, total: int, note: str = "", /) -> None:
            del done, total, note

        yield shown

"""Sentences and bars on the terminal; words go to stderr, so that stdout stays clean."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from ..engine.teller import Bar

QUIET_SECONDS = 20.0


class Terminal:
    """Speaks to a person; where nobody watches (a log file), a line now and then instead of a moving bar."""

    def __init__(self) -> None:
        self.console = Console(stderr=True, highlight=False)

    def say(self, text: str) -> None:
        """Print a sentence."""
        self.console.print(text, markup=False, soft_wrap=True)

    @contextlib.contextmanager
    def bar(self, what: str) -> Iterator[Bar]:
        """Show a bar with what is left to wait."""
        if not self.console.is_terminal:
            yield self.lines(what)
            return
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"),
        )
        with Progress(*columns, console=self.console) as progress:
            task = progress.add_task(what, total=None, note="")

            def show(done: int, total: int, note: str = "", /) -> None:
                progress.update(task, completed=done, total=total, note=note)

            yield show

    def lines(self, what: str) -> Bar:
        """Print a line every twenty seconds."""
        last = time.monotonic()

        def show(done: int, total: int, note: str = "", /) -> None:
            nonlocal last
            if time.monotonic() - last >= QUIET_SECONDS:
                last = time.monotonic()
                self.say(f"{what}: {done} of {total}  {note}")

        return show

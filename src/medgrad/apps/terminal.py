"""Messages and progress bars on the terminal; they go to stderr, so that stdout stays clean."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from ..engine.progress import Bar

QUIET_SECONDS = 20.0
"""Where nobody watches, a line is printed after so many seconds without one."""
WORTH_TELLING = 2.0
"""A bar that was shown for so many seconds leaves a line behind."""
STARTING = "Starting"
REFRESH = 4


class Terminal:
    """A progress reporter for the terminal: one moving line shows the current activity.

    Where stderr is no terminal (a log file), a line is printed now and then instead. As a context manager, it
    also shows the activity between bars.
    """

    def __init__(self) -> None:
        self.console = Console(stderr=True, highlight=False)
        self.what, self.now, self.since = STARTING, "", time.monotonic()
        self.last = time.monotonic()
        self.over = threading.Event()
        self.progress: Progress | None = None
        self.idle: TaskID | None = None

    def __enter__(self) -> Terminal:
        if self.console.is_terminal:
            self.progress = self.bars()
            self.progress.start()
            self.idle = self.progress.add_task(self.what, total=None, count="", note="")
        else:
            threading.Thread(target=self.print_now_and_then, daemon=True).start()
        return self

    def __exit__(self, *reason: object) -> None:
        self.over.set()
        if self.progress is not None:
            if self.idle is not None:
                self.progress.remove_task(self.idle)
            self.progress.stop()
            self.progress = None

    def say(self, text: str) -> None:
        """Print a message; until a bar is shown, it is the current activity."""
        self.console.print(text, markup=False, soft_wrap=True)
        self.last = time.monotonic()
        self.begin(text.rstrip(" ."))

    def begin(self, what: str, now: str = "") -> None:
        """Set the current activity."""
        self.what, self.now, self.since = what, now, time.monotonic()
        if self.progress is not None and self.idle is not None:
            self.progress.reset(self.idle, total=None, description=shortened(what))

    @contextlib.contextmanager
    def bar(self, what: str) -> Iterator[Bar]:
        """Show a progress bar with the remaining time."""
        before, began = self.what, time.monotonic()
        self.begin(what)
        with contextlib.ExitStack() as stack:
            yield self.moving(what, stack) if self.console.is_terminal else self.lines()
        if time.monotonic() - began > WORTH_TELLING and self.console.is_terminal:
            self.console.print(f"{what}: {self.now or 'done'} in {time.monotonic() - began:.0f} s", markup=False)
        self.begin(before)

    def moving(self, what: str, stack: contextlib.ExitStack) -> Bar:
        """Make a progress bar on the terminal; the stack removes it."""
        progress = self.progress or stack.enter_context(self.bars())
        task = progress.add_task(what, total=None, count="", note="")
        if self.idle is not None:
            progress.update(self.idle, visible=False)
            stack.callback(progress.update, self.idle, visible=True)
        stack.callback(progress.remove_task, task)

        def show(done: int, total: int, note: str = "", /) -> None:
            self.now = f"{done} of {total}  {note}".strip()
            progress.update(task, completed=done, total=total, count=f"{done}/{total}", note=note)

        return show

    def bars(self) -> Progress:
        """Build the progress display: activity, bar, elapsed and remaining time."""
        return Progress(
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TextColumn("{task.fields[count]}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}", markup=False),
            console=self.console,
            refresh_per_second=REFRESH,
        )

    def lines(self) -> Bar:
        """Make a progress bar that prints a line every twenty seconds."""

        def show(done: int, total: int, note: str = "", /) -> None:
            self.now = f"{done} of {total}  {note}".strip()
            self.print_if_quiet()

        return show

    def print_if_quiet(self) -> None:
        """Print the current activity, if nothing was printed for a while."""
        if time.monotonic() - self.last >= QUIET_SECONDS:
            self.last = time.monotonic()
            how_far = self.now or f"{self.last - self.since:.0f} s so far"
            self.console.print(f"{self.what}: {how_far}", markup=False, soft_wrap=True)

    def print_now_and_then(self) -> None:
        """Print the current activity every twenty seconds, in a thread."""
        while not self.over.wait(1.0):
            self.print_if_quiet()


def shortened(text: str, most: int = 48) -> str:
    """Shorten a text to a maximum length.

    >>> shortened("Learning to segment lungs", most=12)
    'Learning to…'
    """
    line = " ".join(text.split())
    return line if len(line) <= most else f"{line[: most - 1].rstrip()}…"

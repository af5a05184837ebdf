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
MIN_REPORTED_SECONDS = 2.0
"""A bar that was shown for so many seconds leaves a line behind."""
INITIAL_ACTIVITY = "Starting"
REFRESHES_PER_SECOND = 4


class Terminal:
    """A progress reporter for the terminal: one moving line shows the current activity.

    Where stderr is no terminal (a log file), a line is printed now and then instead. As a context manager, it
    also shows the activity between bars.
    """

    def __init__(self) -> None:
        self.console = Console(stderr=True, highlight=False)
        self.activity, self.position_text, self.activity_started = INITIAL_ACTIVITY, "", time.monotonic()
        self.last_printed = time.monotonic()
        self.stop_event = threading.Event()
        self.rich_progress: Progress | None = None
        self.idle_task: TaskID | None = None

    def __enter__(self) -> Terminal:
        if self.console.is_terminal:
            self.rich_progress = self.make_rich_progress()
            self.rich_progress.start()
            self.idle_task = self.rich_progress.add_task(self.activity, total=None, count="", note="")
        else:
            threading.Thread(target=self.print_periodically, daemon=True).start()
        return self

    def __exit__(self, *reason: object) -> None:
        self.stop_event.set()
        if self.rich_progress is not None:
            if self.idle_task is not None:
                self.rich_progress.remove_task(self.idle_task)
            self.rich_progress.stop()
            self.rich_progress = None

    def say(self, text: str) -> None:
        """Print a message; until a bar is shown, it is the current activity."""
        self.console.print(text, markup=False, soft_wrap=True)
        self.last_printed = time.monotonic()
        self.set_activity(text.rstrip(" ."))

    def set_activity(self, activity: str, position_text: str = "") -> None:
        """Set the current activity."""
        self.activity, self.position_text, self.activity_started = activity, position_text, time.monotonic()
        if self.rich_progress is not None and self.idle_task is not None:
            self.rich_progress.reset(self.idle_task, total=None, description=shorten(activity))

    @contextlib.contextmanager
    def bar(self, what: str) -> Iterator[Bar]:
        """Show a progress bar with the remaining time."""
        before, began = self.activity, time.monotonic()
        self.set_activity(what)
        with contextlib.ExitStack() as stack:
            yield self.make_terminal_bar(what, stack) if self.console.is_terminal else self.make_line_bar()
        if time.monotonic() - began > MIN_REPORTED_SECONDS and self.console.is_terminal:
            self.console.print(
                f"{what}: {self.position_text or 'done'} in {time.monotonic() - began:.0f} s", markup=False
            )
        self.set_activity(before)

    def make_terminal_bar(self, description: str, stack: contextlib.ExitStack) -> Bar:
        """Make a progress bar on the terminal; the stack removes it."""
        progress = self.rich_progress or stack.enter_context(self.make_rich_progress())
        task = progress.add_task(description, total=None, count="", note="")
        if self.idle_task is not None:
            progress.update(self.idle_task, visible=False)
            stack.callback(progress.update, self.idle_task, visible=True)
        stack.callback(progress.remove_task, task)

        def show(done: int, total: int, note: str = "", /) -> None:
            self.position_text = f"{done} of {total}  {note}".strip()
            progress.update(task, completed=done, total=total, count=f"{done}/{total}", note=note)

        return show

    def make_rich_progress(self) -> Progress:
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
            refresh_per_second=REFRESHES_PER_SECOND,
        )

    def make_line_bar(self) -> Bar:
        """Make a progress bar that prints a line every twenty seconds."""

        def show(done: int, total: int, note: str = "", /) -> None:
            self.position_text = f"{done} of {total}  {note}".strip()
            self.print_if_quiet()

        return show

    def print_if_quiet(self) -> None:
        """Print the current activity, if nothing was printed for a while."""
        if time.monotonic() - self.last_printed >= QUIET_SECONDS:
            self.last_printed = time.monotonic()
            how_far = self.position_text or f"{self.last_printed - self.activity_started:.0f} s so far"
            self.console.print(f"{self.activity}: {how_far}", markup=False, soft_wrap=True)

    def print_periodically(self) -> None:
        """Print the current activity every twenty seconds, in a thread."""
        while not self.stop_event.wait(1.0):
            self.print_if_quiet()


def shorten(text: str, max_length: int = 48) -> str:
    """Shorten a text to a maximum length.

    >>> shorten("Learning to segment lungs", max_length=12)
    'Learning to…'
    """
    line = " ".join(text.split())
    return line if len(line) <= max_length else f"{line[: max_length - 1].rstrip()}…"

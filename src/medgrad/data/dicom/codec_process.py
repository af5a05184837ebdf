"""Decode compressed pixels in a separate process, because C decoders crash on damaged data."""

from __future__ import annotations

import atexit
import json
import math
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from ...errors import FormatError
from ..file_errors import in_one_line

LONGEST_S, LONGEST_S_PER_MB = 10.0, 5.0
WATCHED_EVERY_S = 1.0
COMPLAINTS = "Corrupt JPEG data", "premature end", "bad Huffman code"


@dataclass(frozen=True)
class Packed:
    """The compressed pixels of a file, and the options of their decoder."""

    path: Path
    options: Mapping[str, Any]
    data: bytes


Unpacked = NDArray[Any] | FormatError


class Helper:
    """A decoder process, started when it is first needed."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.process: subprocess.Popen[bytes] | None = None
        self.deadline = math.inf

    def ask(self, batch: Sequence[Packed]) -> list[Unpacked]:
        """Decode files; the result is an error for a file at which the process crashes or exceeds the time limit."""
        with self.lock:
            found: list[Unpacked] = []
            while len(found) < len(batch):
                try:
                    self.answered(batch[len(found) :], found)
                except (OSError, EOFError, ValueError):
                    self.close()
                    broken = FormatError(
                        f"{str(batch[len(found)].path)!r} makes its decoder break down. Its packed pixels are damaged: "
                        "copy it again."
                    )
                    found.append(broken)
                finally:
                    self.deadline = math.inf
            return found

    def answered(self, batch: Sequence[Packed], found: list[Unpacked]) -> None:
        """Send files to the process, and append each result to ``found`` as it comes."""
        process = self.running()
        self.deadline = math.inf
        send(process, batch)
        for one in batch:
            self.deadline = time.monotonic() + LONGEST_S + LONGEST_S_PER_MB * len(one.data) / 1e6
            found.append(received(process))

    def running(self) -> subprocess.Popen[bytes]:
        """Give the running process; start a new one if the last has ended."""
        if self.process is None or self.process.poll() is not None:
            self.process = started()
            threading.Thread(target=self.watch, args=(self.process,), daemon=True).start()
        return self.process

    def watch(self, process: subprocess.Popen[bytes]) -> None:
        """Kill the process when the deadline passes."""
        while process.poll() is None:
            if time.monotonic() > self.deadline:
                process.kill()
            time.sleep(WATCHED_EVERY_S)

    def close(self) -> None:
        """End the process."""
        if self.process is not None:
            self.process.kill()
            self.process.communicate()
            self.process = None


HELPERS: dict[tuple[int, int], Helper] = {}
LARGE = 2**25
"""Series of so many bytes of pixels are worth a second helper, which takes a while to start."""
AT_ONCE = 2**23
"""Files are sent together up to so many bytes of pixels."""


def decoded_apart(every: Iterable[Packed], sizes: Iterable[int]) -> Iterator[NDArray[Any]]:
    """Decode compressed pixels in decoder processes, and yield them in order; ``sizes`` are the decoded sizes in bytes.

    A forked process has decoder processes of its own.
    """
    batches, whole = batched(every, sizes)
    if whole < LARGE or len(batches) < 2 or processors() < 2:
        for batch in batches:
            yield from checked(helper(0).ask(batch))
        return
    with ThreadPoolExecutor(2) as pool:
        coming: deque[Future[list[Unpacked]]] = deque()
        for number, batch in enumerate(batches):
            coming.append(pool.submit(helper(number % 2).ask, batch))
            if len(coming) > 2:
                yield from checked(coming.popleft().result())
        while coming:
            yield from checked(coming.popleft().result())


def batched(every: Iterable[Packed], sizes: Iterable[int]) -> tuple[list[list[Packed]], int]:
    """Group files into batches of limited size, and give the total size."""
    batches: list[list[Packed]] = []
    whole = room = 0
    for one, size in zip(every, sizes, strict=True):
        if size > room:
            batches.append([])
            room = AT_ONCE
        batches[-1].append(one)
        room, whole = room - size, whole + size
    return batches, whole


def checked(found: Sequence[Unpacked]) -> Iterator[NDArray[Any]]:
    """Yield decoded arrays, and raise the first error."""
    for one in found:
        if isinstance(one, FormatError):
            raise one
        yield one


def helper(number: int) -> Helper:
    """Give the numbered decoder process of this process."""
    return HELPERS.setdefault((os.getpid(), number), Helper())


def processors() -> int:
    """Count the CPUs that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def started() -> subprocess.Popen[bytes]:
    """Start a decoder process, which ends with this process."""
    process = subprocess.Popen(
        [sys.executable, "-m", f"{__package__}.codec_main"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)},
    )
    atexit.register(ended, process, os.getpid())
    return process


def ended(process: subprocess.Popen[bytes], owner: int) -> None:
    """Kill a decoder process, if this process started it."""
    if os.getpid() == owner and process.poll() is None:
        process.kill()
        process.communicate()


def send(process: subprocess.Popen[bytes], batch: Sequence[Packed]) -> None:
    """Send a batch of compressed pixels to the decoder process."""
    assert process.stdin is not None
    question = [
        {"path": str(one.path.absolute()), "options": dict(one.options), "bytes": len(one.data)} for one in batch
    ]
    process.stdin.write(json.dumps(question).encode() + b"\n")
    process.stdin.writelines(one.data for one in batch)
    process.stdin.flush()


def received(process: subprocess.Popen[bytes]) -> Unpacked:
    """Receive a decoded array, or the error why there is none."""
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        raise EOFError
    answer = json.loads(line)
    if "error" in answer:
        return FormatError(answer["error"])
    kind = np.dtype(answer["dtype"])
    raw = bytearray(math.prod(answer["shape"]) * kind.itemsize)
    view = memoryview(raw)
    while len(view):
        n = process.stdout.readinto(view)  # type: ignore[attr-defined]
        if not n:
            raise EOFError
        view = view[n:]
    return np.frombuffer(raw, kind).reshape(answer["shape"])


def serve(
    decode: Callable[[Path, dict[str, Any], bytes], NDArray[Any]], questions: IO[bytes], answers: IO[bytes]
) -> None:
    """Decode the requested files one after the other, until there are no more requests.

    The stderr of the C libraries is read, since some of them fill damaged parts with grey and only print a
    warning.
    """
    with tempfile.TemporaryFile() as said:
        os.dup2(said.fileno(), 2)
        for line in questions:
            batch = json.loads(line)
            data = [questions.read(one["bytes"]) for one in batch]  # all of them before the first answer
            for one, pixels in zip(batch, data, strict=True):
                answer(partial(decode, Path(one["path"]), one["options"], pixels), Path(one["path"]), said, answers)


def answer(decode: Callable[[], NDArray[Any]], path: Path, said: IO[bytes], answers: IO[bytes]) -> None:
    """Decode the pixels of a file and send them, or the error."""
    try:
        array = np.ascontiguousarray(decode())
        said.seek(0)
        words = said.read(100_000).decode("utf-8", "replace")
        if words:
            said.seek(0)
            said.truncate()
        if complaint := next((w for w in words.splitlines() if any(c in w for c in COMPLAINTS)), None):
            raise FormatError(f"{str(path)!r} has damaged packed pixels ({complaint[:80]}). Copy it again.")
    except BaseException as reason:  # some decoders raise what is no Exception
        said.seek(0)
        said.truncate()
        answers.write(json.dumps({"error": told_of(path, reason)}).encode() + b"\n")
    else:
        head = {"dtype": array.dtype.str, "shape": array.shape}
        answers.write(json.dumps(head).encode() + b"\n")
        answers.write(array.reshape(-1).view(np.uint8).data)
    answers.flush()


def told_of(path: Path, reason: BaseException) -> str:
    """Give a message for an error that names the file."""
    if isinstance(reason, FormatError):
        return str(reason)
    return f"{str(path)!r} cannot be unpacked: {in_one_line(reason)}. Is it whole and undamaged?"

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
from ..file_errors import one_line_message

LONGEST_S, LONGEST_S_PER_MB = 10.0, 5.0
POLL_S = 1.0
DAMAGE_WARNINGS = "Corrupt JPEG data", "premature end", "bad Huffman code"


@dataclass(frozen=True)
class CompressedPixels:
    """The compressed pixels of a file, and the options of their decoder."""

    path: Path
    options: Mapping[str, Any]
    data: bytes


DecodeResult = NDArray[Any] | FormatError


class DecoderProcess:
    """A decoder process, started when it is first needed."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.process: subprocess.Popen[bytes] | None = None
        self.deadline = math.inf

    def decode(self, batch: Sequence[CompressedPixels]) -> list[DecodeResult]:
        """Decode files; the result is an error for a file at which the process crashes or exceeds the time limit."""
        with self.lock:
            results: list[DecodeResult] = []
            while len(results) < len(batch):
                try:
                    self.collect_results(batch[len(results) :], results)
                except (OSError, EOFError, ValueError):
                    self.close()
                    broken = FormatError(
                        f"{str(batch[len(results)].path)!r} makes its decoder break down. Its packed "
                        "pixels are damaged: "
                        "copy it again."
                    )
                    results.append(broken)
                finally:
                    self.deadline = math.inf
            return results

    def collect_results(self, batch: Sequence[CompressedPixels], results: list[DecodeResult]) -> None:
        """Send files to the process, and append each result to ``results`` as it comes."""
        process = self.ensure_running()
        self.deadline = math.inf
        send_batch(process, batch)
        for one in batch:
            self.deadline = time.monotonic() + LONGEST_S + LONGEST_S_PER_MB * len(one.data) / 1e6
            results.append(receive_array(process))

    def ensure_running(self) -> subprocess.Popen[bytes]:
        """Give the running process; start a new one if the last has ended."""
        if self.process is None or self.process.poll() is not None:
            self.process = start_process()
            threading.Thread(target=self.kill_after_deadline, args=(self.process,), daemon=True).start()
        return self.process

    def kill_after_deadline(self, process: subprocess.Popen[bytes]) -> None:
        """Kill the process when the deadline passes."""
        while process.poll() is None:
            if time.monotonic() > self.deadline:
                process.kill()
            time.sleep(POLL_S)

    def close(self) -> None:
        """End the process."""
        if self.process is not None:
            self.process.kill()
            self.process.communicate()
            self.process = None


DECODERS: dict[tuple[int, int], DecoderProcess] = {}
SECOND_PROCESS_BYTES = 2**25
"""Series of so many bytes of pixels are worth a second helper, which takes a while to start."""
BATCH_BYTES = 2**23
"""Files are sent together up to so many bytes of pixels."""


def decode_in_processes(files: Iterable[CompressedPixels], sizes: Iterable[int]) -> Iterator[NDArray[Any]]:
    """Decode compressed pixels in decoder processes, and yield them in order; ``sizes`` are the decoded sizes in bytes.

    A forked process has decoder processes of its own.
    """
    batches, whole = make_batches(files, sizes)
    if whole < SECOND_PROCESS_BYTES or len(batches) < 2 or count_cpus() < 2:
        for batch in batches:
            yield from raise_first_error(decoder_process(0).decode(batch))
        return
    with ThreadPoolExecutor(2) as pool:
        coming: deque[Future[list[DecodeResult]]] = deque()
        for number, batch in enumerate(batches):
            coming.append(pool.submit(decoder_process(number % 2).decode, batch))
            if len(coming) > 2:
                yield from raise_first_error(coming.popleft().result())
        while coming:
            yield from raise_first_error(coming.popleft().result())


def make_batches(files: Iterable[CompressedPixels], sizes: Iterable[int]) -> tuple[list[list[CompressedPixels]], int]:
    """Group files into batches of limited size, and give the total size."""
    batches: list[list[CompressedPixels]] = []
    whole = room = 0
    for one, size in zip(files, sizes, strict=True):
        if size > room:
            batches.append([])
            room = BATCH_BYTES
        batches[-1].append(one)
        room, whole = room - size, whole + size
    return batches, whole


def raise_first_error(results: Sequence[DecodeResult]) -> Iterator[NDArray[Any]]:
    """Yield decoded arrays, and raise the first error."""
    for one in results:
        if isinstance(one, FormatError):
            raise one
        yield one


def decoder_process(index: int) -> DecoderProcess:
    """Give the numbered decoder process of this process."""
    return DECODERS.setdefault((os.getpid(), index), DecoderProcess())


def count_cpus() -> int:
    """Count the CPUs that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def start_process() -> subprocess.Popen[bytes]:
    """Start a decoder process, which ends with this process."""
    process = subprocess.Popen(
        [sys.executable, "-m", f"{__package__}.codec_main"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)},
    )
    atexit.register(end_process, process, os.getpid())
    return process


def end_process(process: subprocess.Popen[bytes], owner_pid: int) -> None:
    """Kill a decoder process, if this process started it."""
    if os.getpid() == owner_pid and process.poll() is None:
        process.kill()
        process.communicate()


def send_batch(process: subprocess.Popen[bytes], batch: Sequence[CompressedPixels]) -> None:
    """Send a batch of compressed pixels to the decoder process."""
    assert process.stdin is not None
    question = [
        {"path": str(one.path.absolute()), "options": dict(one.options), "bytes": len(one.data)} for one in batch
    ]
    process.stdin.write(json.dumps(question).encode() + b"\n")
    process.stdin.writelines(one.data for one in batch)
    process.stdin.flush()


def receive_array(process: subprocess.Popen[bytes]) -> DecodeResult:
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


def serve_requests(
    decode: Callable[[Path, dict[str, Any], bytes], NDArray[Any]], requests: IO[bytes], replies: IO[bytes]
) -> None:
    """Decode the requested files one after the other, until there are no more requests.

    The stderr of the C libraries is read, since some of them fill damaged parts with grey and only print a
    warning.
    """
    with tempfile.TemporaryFile() as stderr:
        os.dup2(stderr.fileno(), 2)
        for line in requests:
            batch = json.loads(line)
            data = [requests.read(one["bytes"]) for one in batch]  # all of them before the first answer
            for one, pixels in zip(batch, data, strict=True):
                decode_and_reply(
                    partial(decode, Path(one["path"]), one["options"], pixels), Path(one["path"]), stderr, replies
                )


def decode_and_reply(decode: Callable[[], NDArray[Any]], path: Path, stderr: IO[bytes], replies: IO[bytes]) -> None:
    """Decode the pixels of a file and send them, or the error."""
    try:
        array = np.ascontiguousarray(decode())
        stderr.seek(0)
        words = stderr.read(100_000).decode("utf-8", "replace")
        if words:
            stderr.seek(0)
            stderr.truncate()
        if complaint := next((w for w in words.splitlines() if any(c in w for c in DAMAGE_WARNINGS)), None):
            raise FormatError(f"{str(path)!r} has damaged packed pixels ({complaint[:80]}). Copy it again.")
    except BaseException as reason:  # some decoders raise what is no Exception
        stderr.seek(0)
        stderr.truncate()
        replies.write(json.dumps({"error": error_message(path, reason)}).encode() + b"\n")
    else:
        head = {"dtype": array.dtype.str, "shape": array.shape}
        replies.write(json.dumps(head).encode() + b"\n")
        replies.write(array.reshape(-1).view(np.uint8).data)
    replies.flush()


def error_message(path: Path, error: BaseException) -> str:
    """Give a message for an error that names the file."""
    if isinstance(error, FormatError):
        return str(error)
    return f"{str(path)!r} cannot be unpacked: {one_line_message(error)}. Is it whole and undamaged?"

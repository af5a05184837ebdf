"""Decoding in a process of its own, because decoders in C end the whole process when data are damaged."""

from __future__ import annotations

import atexit
import json
import math
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from ...errors import FormatError
from ._damage import in_one_line

LONGEST_S, LONGEST_S_PER_MB = 10.0, 5.0
COMPLAINTS = "Corrupt JPEG data", "premature end", "bad Huffman code"


class Helper:
    """A process that decodes one file at a time for this process, started when it is first needed."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.process: subprocess.Popen[bytes] | None = None

    def ask(self, path: Path) -> NDArray[Any]:
        """Have a file decoded, or raise if the process dies or takes too long over it."""
        with self.lock:
            process = self.process = self.process if self.process and self.process.poll() is None else started()
            seconds = LONGEST_S + LONGEST_S_PER_MB * path.stat().st_size / 1e6
            timer = threading.Timer(seconds, process.kill)
            timer.start()
            try:
                return exchanged(process, path)
            except FormatError:
                raise
            except (OSError, EOFError, ValueError) as reason:
                self.close()
                raise FormatError(
                    f"{str(path)!r} makes its decoder break down. Its packed pixels are damaged: copy it again."
                ) from reason
            finally:
                timer.cancel()

    def close(self) -> None:
        """End the process."""
        if self.process is not None:
            self.process.kill()
            self.process.communicate()
            self.process = None


HELPERS: dict[int, Helper] = {}


def decoded_apart(path: Path) -> NDArray[Any]:
    """Decode the pixels of a file in the helper of this process; a forked process has one of its own."""
    helper = HELPERS.setdefault(os.getpid(), Helper())
    return helper.ask(path.absolute())


def started() -> subprocess.Popen[bytes]:
    """Start a helper, which ends with this process."""
    process = subprocess.Popen(
        [sys.executable, "-m", f"{__package__}._codec_main"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)},
    )
    atexit.register(ended, process, os.getpid())
    return process


def ended(process: subprocess.Popen[bytes], owner: int) -> None:
    """End a helper, if it is this process that started it."""
    if os.getpid() == owner and process.poll() is None:
        process.kill()
        process.communicate()


def exchanged(process: subprocess.Popen[bytes], path: Path) -> NDArray[Any]:
    """Send a path and receive an array."""
    if process.stdin is None or process.stdout is None:
        raise EOFError
    process.stdin.write(json.dumps(os.fsdecode(path)).encode() + b"\n")
    process.stdin.flush()
    line = process.stdout.readline()
    if not line:
        raise EOFError
    answer = json.loads(line)
    if "error" in answer:
        raise FormatError(answer["error"])
    kind = np.dtype(answer["dtype"])
    raw = bytearray(math.prod(answer["shape"]) * kind.itemsize)
    view = memoryview(raw)
    while len(view):
        n = process.stdout.readinto(view)  # type: ignore[attr-defined]
        if not n:
            raise EOFError
        view = view[n:]
    return np.frombuffer(raw, kind).reshape(answer["shape"])


def serve(decode: Callable[[Path], NDArray[Any]], questions: IO[bytes], answers: IO[bytes]) -> None:
    """Decode one file after the other, until there are no more questions.

    What the C libraries print is read, since some of them fill damaged parts with greys and only print that they did.
    """
    with tempfile.TemporaryFile() as said:
        os.dup2(said.fileno(), 2)
        for line in questions:
            path = Path(json.loads(line))
            said.seek(0)
            said.truncate()
            try:
                array = np.ascontiguousarray(decode(path))
                said.seek(0)
                words = said.read(100_000).decode("utf-8", "replace")
                if complaint := next((w for w in words.splitlines() if any(c in w for c in COMPLAINTS)), None):
                    raise FormatError(f"{str(path)!r} has damaged packed pixels ({complaint[:80]}). Copy it again.")
            except BaseException as reason:  # some decoders raise what is no Exception
                answers.write(json.dumps({"error": told_of(path, reason)}).encode() + b"\n")
            else:
                head = {"dtype": array.dtype.str, "shape": array.shape}
                answers.write(json.dumps(head).encode() + b"\n")
                answers.write(array.reshape(-1).view(np.uint8).data)
            answers.flush()


def told_of(path: Path, reason: BaseException) -> str:
    """Give the sentence that names the file."""
    if isinstance(reason, FormatError):
        return str(reason)
    return f"{str(path)!r} cannot be unpacked: {in_one_line(reason)}. Is it whole and undamaged?"

"""Atomic file writes: a file is written whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path

from ..errors import MedgradError


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file atomically: at any moment either the old or the new file is there, whole.

    The bytes are written under another name, synced to the disk, and renamed.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as reason:
        temporary.unlink(missing_ok=True)
        raise MedgradError(
            f"{str(path)!r} could not be written: {reason.strerror}. What was there before is whole. "
            "Make room and start again: it goes on from there."
        ) from reason


def write_text(path: Path, text: str) -> None:
    """Write a text file atomically, in UTF-8."""
    write_bytes(path, text.encode("utf-8"))

"""The process that ``codec_process`` starts: it decodes one file after the other until there are no more questions."""

from __future__ import annotations

import os
import sys

from .codec_process import serve
from .unpack import unpacked


def without_core_dumps() -> None:
    """Leave no image of the memory behind when a decoder breaks down."""
    try:
        import resource
    except ImportError:  # not on Windows
        return
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


if __name__ == "__main__":
    without_core_dumps()
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what libraries print must not mix with the answers
    serve(unpacked, sys.stdin.buffer, answers)

"""The main program of the decoder process: it decodes files until there are no more requests."""

from __future__ import annotations

import os
import sys

from .codec_process import serve_requests
from .decode_compressed import decode_compressed


def disable_core_dumps() -> None:
    """Disable core dumps, so that a crashing decoder leaves no memory image behind."""
    try:
        import resource
    except ImportError:  # not on Windows
        return
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


if __name__ == "__main__":
    disable_core_dumps()
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what libraries print must not mix with the answers
    serve_requests(decode_compressed, sys.stdin.buffer, answers)

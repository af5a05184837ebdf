"""The worker process of ``workers``: it reads headers and cases on request."""

from __future__ import annotations

import os
import signal
import sys

from .. import registry
from ..machine.allocator import keep_freed_memory
from .measure import serve_requests

if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # whoever started it ends it
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what libraries print must not mix with the answers
    keep_freed_memory()
    for name in registry.names("data.formats"):
        registry.find("data.formats", name)  # while nothing has been asked yet
    serve_requests(sys.stdin.buffer, answers)

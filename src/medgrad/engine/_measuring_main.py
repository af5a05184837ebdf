"""The process that ``measuring`` starts: it measures one case after another until there are no more questions."""

from __future__ import annotations

import os
import signal
import sys

from .measuring import serve

if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # whoever started it ends it
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what libraries print must not mix with the answers
    serve(sys.stdin.buffer, answers)

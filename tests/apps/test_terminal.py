"""What a person sees while work goes on: a line that moves, or a line now and then where nobody watches."""

import os
import pty
import re
import subprocess
import sys
import time

import pytest

from medgrad.apps import terminal as progress
from medgrad.apps.terminal import Terminal, shorten

WORK = """
import time
from medgrad.apps.terminal import Terminal
with Terminal() as terminal:
    time.sleep(0.6)
    terminal.say("Planning ...")
    time.sleep(0.6)
    with terminal.bar("Learning") as bar:
        for step in range(3):
            bar(step + 1, 3, "loss 0.1")
            time.sleep(0.4)
"""


def test_on_a_terminal_the_line_moves_before_between_and_within_bars(tmp_path):
    ours, theirs = pty.openpty()
    process = subprocess.Popen([sys.executable, "-c", WORK], stderr=theirs, stdout=subprocess.DEVNULL)
    os.close(theirs)
    seen = b""
    while True:
        try:
            piece = os.read(ours, 65536)
        except OSError:
            break
        if not piece:
            break
        seen += piece
    assert process.wait() == 0
    text = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", seen.decode())
    frames = text.split("\r")
    for words in ("Starting", "Planning", "Learning"):
        assert sum(words in frame for frame in frames) >= 2, words
    assert "3/3" in text
    assert "loss 0.1" in text


def test_without_a_terminal_work_that_says_nothing_still_prints_a_line(capsys, monkeypatch):
    monkeypatch.setattr(progress, "QUIET_SECONDS", 0.2)
    with Terminal() as terminal:
        terminal.say("Planning ...")
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline and capsys.readouterr().err.count("Planning: ") < 1:
            time.sleep(0.1)
        with terminal.bar("Learning") as bar:
            bar(1, 2, "loss 0.5")
            time.sleep(0.25)
            bar(2, 2, "loss 0.4")
    assert time.monotonic() < deadline
    assert "Learning: 2 of 2  loss 0.4" in capsys.readouterr().err


def test_without_a_terminal_quick_work_prints_its_sentences_alone(capsys):
    with Terminal() as terminal:
        terminal.say("One.")
        with terminal.bar("Looking") as bar:
            bar(1, 1)
    assert capsys.readouterr().err == "One.\n"


@pytest.mark.parametrize("text, short", [("A b", "A b"), ("x" * 60, "x" * 47 + "…"), ("two\nlines", "two lines")])
def test_what_is_done_fits_on_a_line(text, short):
    assert shorten(text) == short

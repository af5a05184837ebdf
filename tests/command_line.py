"""Commands run as the terminal would, in this process, and the small sets that they run on."""

import json
import re
import sys
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from io import StringIO

import numpy as np
from PIL import Image as Pillow
from tiny_set import RECIPE

from medgrad.apps.cli import main

FLAT = RECIPE.replace("[[2, 2, 2]]", "[[2, 2]]").replace("[16, 16, 16]", "[24, 24]")
CLASSES = """
[model]
name = "cnn"
channels = [8, 16]

[training]
batch = 8
validations = 4

[optimiser]
name = "adamw"
rate = 1e-2
"""


@dataclass(frozen=True)
class Ended:
    code: int
    out: str
    err: str

    @property
    def found(self):
        return json.loads(self.out)


def medgrad(*words):
    """Run a command in this process: as the terminal would, but without importing torch again."""
    before, out, err, code = sys.argv, StringIO(), StringIO(), 0
    sys.argv = ["medgrad", *map(str, words)]
    try:
        with redirect_stdout(out), redirect_stderr(err):
            main()
    except SystemExit as end:
        code = end.code or 0
    finally:
        sys.argv = before
    return Ended(code, out.getvalue(), err.getvalue())


def done(*words):
    """Run a command that must succeed, and give the one object that it prints."""
    ended = medgrad(*words, "--json")
    assert ended.code == 0, ended.err
    return ended.found


def one_line(ended, *words):
    """Check that a user's error is told in one line that has these words."""
    assert ended.code == 1, (ended.code, ended.err)
    assert "Traceback" not in ended.err
    last = ended.err.strip().splitlines()[-1]
    assert last.startswith("medgrad: ")
    assert "not foreseen" not in last
    assert not re.search(r"^(medgrad: )?[A-Z]\w+Error", last)
    for word in words:
        assert word in last
    assert ended.out == ""


def make_pictures(folder, cases=16, size=24):
    """Write pictures in class folders: a bright square, or none."""
    for number in range(cases):
        rng = np.random.default_rng(number)
        array = rng.integers(0, 90, (size, size), dtype=np.uint8)
        ill = number % 2
        if ill:
            y, x = rng.integers(2, size - 10, 2)
            array[y : y + 8, x : x + 8] += 150
        path = folder / ("ill" if ill else "well") / f"scan_{number:02d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Pillow.fromarray(array).save(path)
    return folder


def make_flat(folder, cases=8, size=24):
    """Write pictures with a bright square, and the square's mask, as PNG."""
    for number in range(cases):
        rng = np.random.default_rng(number)
        mask = np.zeros((size, size + 4), np.uint8)
        y, x = rng.integers(1, size - 10, 2)
        mask[y : y + 9, x : x + 9] = 255
        image = (mask // 2 + rng.integers(0, 60, mask.shape)).astype(np.uint8)
        for name, array in (("images", image), ("masks", mask)):
            (folder / name).mkdir(parents=True, exist_ok=True)
            Pillow.fromarray(array).save(folder / name / f"p{number}.png")
    return folder


def recipe(folder, text=RECIPE):
    path = folder / "tiny.toml"
    path.write_text(text)
    return path

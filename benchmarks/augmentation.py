"""Random changes of (1, 64, 64, 64) patches with labels: ours beside batchgeneratorsv2, nnU-Net's default set.

The same kinds of change with the same chances: turned and scaled, noise, blur, brightness, contrast, lower resolution,
gamma, mirrored. Each side on one thread, as in a worker of nnU-Net; ours in batches of two, as it trains.

batchgeneratorsv2 has an environment of its own: name its Python by --peers or MEDGRAD_PEERS (python -m venv peers,
peers/bin/pip install batchgeneratorsv2). Without one nothing is measured.

Bound: at least 2 times as many samples a second of the processor.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from _augment_peer import SAMPLES, SIZE
from _race import Side, compared, race, serve, settings, told

BOUND, BATCH, ROUNDS = 2.0, 2, 9


def ours() -> Callable[[], None]:
    """Give what changes so many samples, with the chances of nnU-Net's set."""
    import torch

    from medgrad.augment import augment
    from medgrad.augment.blur import Blur
    from medgrad.augment.flip import Flip
    from medgrad.augment.intensity import Intensity
    from medgrad.augment.low_resolution import LowResolution
    from medgrad.augment.noise import Noise
    from medgrad.augment.spatial import Spatial
    from medgrad.engine.compute.device import keep_freed_memory

    keep_freed_memory()
    steps = [
        Spatial(p=0.36, degrees=30, scale=0.5, shift=0, elastic=0),
        Noise(p=0.1, max_std=0.3),
        Blur(p=0.1, min_std=0.5, max_std=1.0),
        Intensity(p=0.15, brightness=0.25, contrast=0.4, gamma=0),
        LowResolution(p=0.125, min_scale=0.5),
        Intensity(p=0.4, brightness=0, contrast=0, gamma=0.5),
        Flip(axes=(0, 1, 2)),
    ]
    shape = (BATCH, *(SIZE,) * 3)
    images, labels = torch.randn(shape).unsqueeze(1), torch.randint(0, 3, shape)
    count = iter(range(10**9))

    def task() -> None:
        for _ in range(SAMPLES // BATCH):
            seeds = [(0, next(count)) for _ in range(BATCH)]
            augment(images, {"labels": labels}, {"labels": "labels"}, steps=steps, seeds=seeds)

    return task


def peer_version(python: str) -> str:
    """Give the version of batchgeneratorsv2 that a Python has, empty where it has none."""
    words = "import torch, batchgeneratorsv2, importlib.metadata as m; print(m.version('batchgeneratorsv2'))"
    try:
        return subprocess.run([python, "-c", words], capture_output=True, check=False, text=True).stdout.strip()
    except OSError:
        return ""


def run(threads: int = 1, rounds: int = 0, peers: str = "") -> dict[str, Any]:
    """Race both; ``held`` tells whether the bound does, ``skipped`` why nothing was measured."""
    version = peer_version(peers)
    if not version:
        wanted = f"{peers!r} has none" if peers else "--peers or MEDGRAD_PEERS names none"
        return {"skipped": f"Skipped: this needs a Python with batchgeneratorsv2, and {wanted}."}
    other = str(Path(__file__).with_name("_augment_peer.py"))
    sides = {"ours": Side(__file__, "ours", threads=threads), "theirs": Side(other, "theirs", python=peers)}
    figures = compared(race(sides, rounds or ROUNDS), 1)
    row = {
        "what": f"(1, {SIZE}, {SIZE}, {SIZE}), float32",
        "ratio": figures["ratio"],
        "bound": BOUND,
        "by the clock": figures["ratio_wall"],
        "ours samples/s": SAMPLES / figures["ours_cpu"],
        "batchgeneratorsv2": SAMPLES / figures["theirs_cpu"],
        "its version": version,
    }
    claim = f"at least {BOUND:g} times as many samples a second of the processor"
    return {"rows": [row], "claim": claim, "held": figures["ratio"] >= BOUND}


if __name__ == "__main__":
    given = settings(__doc__ or "")
    if given.side:
        serve(ours())
    else:
        sys.exit(told(run(given.threads, given.rounds, given.peers)))

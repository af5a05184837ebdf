"""Convolutions that give few channels, while answering about one volume: ours beside torch's own.

They are those of a pruned network's largest level, where three quarters of what a processor takes at once would be
padding. Both sides get the same numbers, channels last, in the precision that ``auto`` takes here and in float32; each
has a process of its own, and they are asked in turns; the quickest of the rounds counts. Differences are of the largest
number that comes out.

Bound: every layer at least 1.15 times as fast in each precision, and the same numbers to 0.01 (bfloat16) or 1e-5.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

from _race import Side, race, serve, settings, told

FASTER, ROUNDS, TURNS = 1.15, 7, 5
NEAR = {"bfloat16": 0.01, "float32": 1e-5}
LAYERS = {
    "1 to 4 channels, 40 x 56 x 40": (1, 4, (40, 56, 40), 3, 1),
    "8 to 4 channels, 40 x 56 x 40": (8, 4, (40, 56, 40), 3, 1),
    "4 to 4 channels, 96 x 96 x 96": (4, 4, (96, 96, 96), 3, 1),
    "8 to 2 channels, 64 x 64 x 64": (8, 2, (64, 64, 64), 3, 1),
    "16 to 4 channels, 20 x 28 x 20 doubled": (16, 4, (20, 28, 20), 2, 2),
}


def layer(name: str, precision: str, side: str) -> Callable[[], dict[str, float]]:
    """Make one layer of ours or torch's, which answers several times and says how far it is from float64."""
    import torch
    from torch import nn

    from medgrad.engine.compute.cpu_convolutions import SafeConvolutions
    from medgrad.engine.compute.device import choose_device, to_channels_last

    torch.manual_seed(0)
    inputs, outputs, shape, kernel, stride = LAYERS[name]
    make, around = (nn.Conv3d, 1) if stride == 1 else (nn.ConvTranspose3d, 0)
    network = make(inputs, outputs, kernel, stride, around, bias=False)
    place, x = choose_device(precision), to_channels_last(torch.randn(1, inputs, *shape))
    with torch.inference_mode():
        exact = network.double()(x.double())
    network, x = place.move_model(network.float()), x.to(place.dtype)
    rounded = place.dtype == torch.bfloat16

    def answer() -> dict[str, float]:
        way = SafeConvolutions() if side == "ours" else nullcontext()
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=rounded), way:
            for _ in range(TURNS):
                out = network(x)
        return {"off": float((out - exact).abs().max() / exact.abs().max()), "bfloat16": float(rounded)}

    return answer


def row_of(name: str, precision: str, threads: int, rounds: int) -> dict[str, Any]:
    """Race ours against torch's."""
    found = race({s: Side(__file__, name, precision, s, threads=threads) for s in ("ours", "torch")}, rounds)
    clock = "cpu" if threads == 1 else "wall"
    taken = {s: min(r[clock] for r in rows) / TURNS for s, rows in found.items()}
    return {
        "layer": name,
        "precision": "bfloat16" if found["ours"][0]["value"]["bfloat16"] else "float32",
        "ms": 1e3 * taken["ours"],
        "torch's, ms": 1e3 * taken["torch"],
        "times as fast": taken["torch"] / taken["ours"],
        "off": found["ours"][0]["value"]["off"],
        "torch's, off": found["torch"][0]["value"]["off"],
    }


def run(threads: int = 1, rounds: int = 0) -> dict[str, Any]:
    """Race every layer; ``held`` tells whether the bounds do."""
    from medgrad.engine.compute.device import has_fast_bfloat16

    precisions = ("auto", "float32") if has_fast_bfloat16() else ("float32",)
    rows = [row_of(name, p, threads, rounds or ROUNDS) for p in precisions for name in LAYERS]
    held = all(r["times as fast"] >= FASTER and r["off"] <= NEAR[r["precision"]] for r in rows)
    return {"rows": rows, "claim": f"every layer at least {FASTER:g} times as fast, and the same numbers", "held": held}


if __name__ == "__main__":
    given = settings(__doc__ or "")
    if given.side:
        serve(layer(*given.side))
    else:
        sys.exit(told(run(given.threads, given.rounds)))

"""One step of every optimiser, on the weights of a U-Net of 31 million parameters.

Each is raced against torch's ``AdamW(parameters)`` as it comes and against torch's fused AdamW, all three in turns. The
figures are those of the step alone: the closure, here the slope of a bowl whose bottom jumps at each step, is timed and
taken off. What it costs besides is told by the calls of the closure, each of which would be a pass through the network
and back. The quickest of the rounds counts, since whatever else the machine does can only add to it.

Bound: our adamw at least 3 times as fast as torch's as it comes, and within 1.1 times torch's fused one.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

from _race import Side, race, serve, settings, told

FASTER, WITHIN, ROUNDS = 3.0, 1.1, 9
CHANNELS = (64, 128, 256, 512, 1024)
PEERS = ("torch", "torch fused")


def network() -> Any:
    """Make the U-Net of the first paper: two axes, 64 to 1,024 channels."""
    import torch

    from medgrad import registry

    torch.manual_seed(0)
    return registry.find("models", "unet")(1, 2, 2, channels=CHANNELS)


def optimiser(name: str, model: Any) -> Any:
    """Make one of torch's two peers, or ours by its name."""
    import torch

    from medgrad import registry

    if name in PEERS:
        return torch.optim.AdamW(model.parameters(), **({"fused": True} if name.endswith("fused") else {}))
    return registry.find("descent.optimisers", name)(model.named_parameters())


def step_of(name: str) -> Callable[[], dict[str, float]]:
    """Give one step, which tells how often the closure was called and what that took."""
    import torch

    weights = list((model := network()).parameters())
    stepper = optimiser(name, model)
    bottom = [0.1 * torch.randn_like(w) for w in weights]
    inside = {"calls": 0, "wall": 0.0, "cpu": 0.0}

    @torch.no_grad()
    def slope() -> Any:
        wall, cpu = time.perf_counter(), time.process_time()
        loss = 0.0
        for number, (w, low) in enumerate(zip(weights, bottom, strict=True)):
            away = w - (low if inside["calls"] else low.neg_())
            loss += (1 + number % 7) / 2 * float(torch.linalg.vector_norm(away)) ** 2
            w.grad = away.mul_(1 + number % 7)
        inside["calls"] += 1
        inside["wall"] += time.perf_counter() - wall
        inside["cpu"] += time.process_time() - cpu
        return torch.tensor(loss)

    def step() -> dict[str, float]:
        inside.update(calls=0, wall=0.0, cpu=0.0)
        stepper.step(slope)
        return dict(inside)

    return step


def seconds(rows: list[dict[str, Any]], clock: str) -> float:
    """Give the seconds of the quickest step without its closures."""
    return min(r[clock] - r["value"][clock] for r in rows)


def row_of(name: str, threads: int, rounds: int) -> dict[str, Any]:
    """Race one of ours against both of torch's."""
    sides = {s: Side(__file__, s, threads=threads) for s in (name, *PEERS)}
    found = race(sides, rounds)
    clock = "cpu" if threads == 1 else "wall"
    taken = {s: seconds(found[s], clock) for s in sides}
    return {
        "optimiser": name,
        "ms": 1e3 * taken[name],
        "calls": statistics.mean(r["value"]["calls"] for r in found[name]),
        "torch's AdamW, ms": 1e3 * taken["torch"],
        "faster than it": taken["torch"] / taken[name],
        "torch's fused, ms": 1e3 * taken["torch fused"],
        "times its cost": taken[name] / taken["torch fused"],
    }


def run(threads: int = 1, rounds: int = 0) -> dict[str, Any]:
    """Race every optimiser of the folder; ``held`` tells whether the bounds do."""
    from medgrad import registry

    rows = [row_of(name, threads, rounds or ROUNDS) for name in registry.names("descent.optimisers")]
    ours = next(r for r in rows if r["optimiser"] == "adamw")
    held = ours["faster than it"] >= FASTER and ours["times its cost"] <= WITHIN
    claim = f"adamw at least {FASTER:g} times as fast as torch's as it comes, and within {WITHIN:g} times its fused one"
    return {"rows": rows, "claim": claim, "held": held}


if __name__ == "__main__":
    given = settings(__doc__ or "")
    if given.side:
        serve(step_of(given.side[0]))
    else:
        sys.exit(told(run(given.threads, given.rounds)))

"""A training step of two U-Nets of MONAI on (2, 1, 64, 64, 64): as they ship, and the very same networks our way.

As they ship: float32, torch's own AdamW. Our way is what ``medgrad fit`` does with them: bfloat16 where the processor
multiplies it, channels last, our instance norm, fused AdamW, and memory that is kept. Both minimise the same loss.
Then both train narrower copies from the same weights on the same 200 batches, and are judged on batches never seen.

Bound: at least 4.5 times as fast, and losses that agree to 0.02 on unseen data. It was set on a processor with AMX. One
that multiplies bfloat16 in vectors only gains about half as much from it, and misses the bound.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from _networks import LARGE, SMALL, as_it_ships, batch, our_way
from _race import Side, compared, race, serve, settings, told

BOUNDS = {"BasicUNet": 4.5, "DynUNet": 4.5}
TOLERANCE, STEPS, ROUNDS, SIZES = 0.02, 200, 7, (64, 32)


def cost() -> Any:
    """Give the loss of both sides: Dice and cross-entropy."""
    from medgrad import registry

    return registry.find("losses", "dice_ce")()


def learner(side: str, name: str, widths: dict[str, Any]) -> tuple[Callable[[Any, Any], float], Any]:
    """Give what takes one step on a batch, and the network as it is asked."""
    import torch

    if side == "theirs":
        network = model = as_it_ships(name, widths)
        bring: Callable[[Any], Any] = lambda x: x  # noqa: E731
    else:
        from medgrad.engine.compute.device import AutocastModule, to_channels_last

        network, place = our_way(name, widths)
        model, bring = AutocastModule(network, place), to_channels_last
    loss, fused = cost(), {"fused": True} if side == "ours" else {}
    optimiser = torch.optim.AdamW(network.parameters(), 1e-3, **fused)

    def step(inputs: Any, labels: Any) -> float:
        value = loss(model(bring(inputs)), labels)
        optimiser.zero_grad()
        value.backward()
        optimiser.step()
        return float(value.detach())

    return step, model


def step_of(side: str, name: str) -> Callable[[], float]:
    """Give one step at full size, again and again on the same batch."""
    step, _ = learner(side, name, LARGE[name])
    inputs, labels = batch(0, SIZES[0])
    return lambda: step(inputs, labels)


def training_of(side: str, name: str) -> Callable[[], float]:
    """Give a whole training of a narrower copy, and its loss on unseen data."""
    import torch

    def train() -> float:
        step, model = learner(side, name, SMALL[name])
        for seed in range(STEPS):
            step(*batch(seed, SIZES[1]))
        with torch.no_grad():
            unseen = [batch(seed, SIZES[1]) for seed in range(10_000, 10_008)]
            return sum(float(cost()(model.eval()(x).float(), y)) for x, y in unseen) / len(unseen)

    return train


def run(threads: int = 1, rounds: int = 0) -> dict[str, Any]:
    """Race both networks; ``held`` tells whether every bound does."""
    rows, held = [], True
    for name, bound in BOUNDS.items():
        sides = {s: Side(__file__, "step", s, name, threads=threads) for s in ("ours", "theirs")}
        found = race(sides, rounds or ROUNDS)
        sides = {s: Side(__file__, "training", s, name, threads=threads) for s in ("ours", "theirs")}
        ended = race(sides, 1, warm=0)
        figures = compared(found, threads)
        losses = [ended[s][0]["value"] for s in ("ours", "theirs")]
        first = [found[s][0]["value"] for s in ("ours", "theirs")]
        held &= figures["ratio"] >= bound and abs(losses[0] - losses[1]) <= TOLERANCE
        rows.append(
            {
                "network": name,
                "ratio": figures["ratio"],
                "bound": bound,
                "by the clock": figures["ratio_wall"],
                "ours s": figures["ours_cpu" if threads == 1 else "ours_wall"],
                "MONAI s": figures["theirs_cpu" if threads == 1 else "theirs_wall"],
                "early loss, ours": first[0],
                "MONAI": first[1],
                f"unseen after {STEPS}, ours": losses[0],
                "MONAI ": losses[1],
            }
        )
    return {"rows": rows, "claim": f"every bound, and losses that agree to {TOLERANCE} on unseen data", "held": held}


if __name__ == "__main__":
    given = settings(__doc__ or "")
    if given.side:
        serve({"step": step_of, "training": training_of}[given.side[0]](*given.side[1:]))
    else:
        sys.exit(told(run(given.threads, given.rounds)))

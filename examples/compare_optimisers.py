"""Two optimisers on one small problem: curves side by side, and what each costs.

Run: python examples/compare_optimisers.py
"""

from __future__ import annotations

import torch

from medgrad import registry
from medgrad.descent.gradients import build_gradients
from medgrad.engine.training.loop import train
from medgrad.tasks import stack_samples


def losses(name: str, *, rate: float, steps: int = 40) -> list[float]:
    """Give the loss at every step of learning to find squares in noise."""
    torch.manual_seed(0)
    task = registry.find("tasks", "segmentation")(dims=2)
    model = registry.find("models", "unet")(1, task.outputs.channels, 2, channels=(8, 16))
    batch = stack_samples([task.encode(task.example(seed)) for seed in range(8)])
    optimiser = registry.find("descent.optimisers", name)(model.named_parameters(), rate=rate)
    schedule = registry.find("descent.schedules", "cosine")(warmup=0.1)
    learning = train(
        model,
        task,
        [batch] * steps,
        optimiser=optimiser,
        gradients=build_gradients([{"name": "clipped", "norm": 5.0}]),
        schedule=schedule,
        n_steps=steps,
    )
    return [step.loss for step in learning]


def main() -> None:
    """Print a line for every tenth step."""
    curves = {"adamw": losses("adamw", rate=3e-3), "nesterov": losses("nesterov", rate=3e-2)}
    print("step  " + "  ".join(f"{name:>8}" for name in curves))
    for step in range(0, 40, 10):
        print(f"{step:4}  " + "  ".join(f"{curve[step]:8.3f}" for curve in curves.values()))


if __name__ == "__main__":
    main()

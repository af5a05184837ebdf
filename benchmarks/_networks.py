"""The two networks of MONAI that are raced, as they ship and trained our way, and the data that both learn from."""

from __future__ import annotations

from typing import Any

LABELS = 3
LARGE: dict[str, dict[str, Any]] = {
    "BasicUNet": {"features": (32, 32, 64, 128, 256, 32)},
    "DynUNet": {
        "kernel_size": [3] * 5,
        "strides": [1, 2, 2, 2, 2],
        "upsample_kernel_size": [2] * 4,
        "filters": [32, 64, 128, 256, 320],
    },
}
SMALL: dict[str, dict[str, Any]] = {
    "BasicUNet": {"features": (16, 16, 32, 64, 128, 16)},
    "DynUNet": LARGE["DynUNet"] | {"filters": [16, 32, 64, 128, 160]},
}


def as_it_ships(name: str, settings: dict[str, Any]) -> Any:
    """Make a network of MONAI, its weights drawn from seed 0."""
    import torch
    from monai.networks import nets

    torch.manual_seed(0)
    return getattr(nets, name)(spatial_dims=3, in_channels=1, out_channels=LABELS, **settings)


def our_way(name: str, settings: dict[str, Any]) -> tuple[Any, Any]:
    """Make the same network with the same weights as ``medgrad fit`` does, and name the place where it runs."""
    import torch

    from medgrad import registry
    from medgrad.engine.compute.device import choose_device, keep_freed_memory

    keep_freed_memory()
    place = choose_device()
    torch.manual_seed(0)
    return place.move_model(registry.find("models", "monai")(1, LABELS, 3, network=name, **settings)), place


def trained_our_way(name: str, settings: dict[str, Any], steps: int) -> tuple[Any, float]:
    """Train a network for a short while as ``medgrad fit`` does, and give it with its last loss."""
    import torch

    from medgrad import registry
    from medgrad.engine.compute.device import AutocastModule, to_channels_last

    network, place = our_way(name, settings)
    model, cost = AutocastModule(network, place), registry.find("losses", "dice_ce")()
    optimiser, last = torch.optim.AdamW(network.parameters(), 1e-3, fused=True), 0.0
    for seed in range(steps):
        inputs, labels = batch(seed, 32)
        value = cost(model(to_channels_last(inputs)), labels)
        optimiser.zero_grad()
        value.backward()
        optimiser.step()
        last = float(value.detach())
    return network, last


def batch(seed: int, size: int) -> tuple[Any, Any]:
    """Make two volumes with two kinds of balls in noise, and their labels."""
    import torch

    chance = torch.Generator().manual_seed(seed)
    axes = torch.stack(torch.meshgrid(*[torch.arange(size)] * 3, indexing="ij"))
    labels = torch.zeros(2, size, size, size, dtype=torch.int64)
    for one in labels:
        for label in (1, 2, 1, 2):
            centre = torch.randint(size // 5, size - size // 5, (3, 1, 1, 1), generator=chance)
            radius = size * (0.1 + 0.1 * torch.rand(1, generator=chance))
            one[((axes - centre) ** 2).sum(0) < radius**2] = label
    values = torch.tensor([0.0, 1.0, -1.0])[labels]
    return (values + 0.7 * torch.randn(values.shape, generator=chance)).unsqueeze(1), labels

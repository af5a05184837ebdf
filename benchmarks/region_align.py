"""Features of 512 regions of 256 channels at one size, ours beside one that samples each point.

The other is what can be built of ``grid_sample``: all points of all bins are sampled with the features of their image,
then averaged a bin; the images are taken one after another, so that none is copied for each region. Both average 2
points along each axis, and count a table of 256 channels, 100 x 100 elements (in 3D 32 channels, 24 x 40 x 40), of 2
images.

Bound: forward, and forward and backward, at least 5 times as fast, and the same values and gradients to 1e-4.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from _race import Side, compared, race, serve, settings, told

BOUND, ROUNDS, REGIONS, IMAGES, SAMPLES = 5.0, 5, 512, 2, 2
SIZES = {"2D": ((256, 100, 100), (7, 7)), "3D": ((32, 24, 40, 40), (5, 5, 5))}
CLOSE = 1e-4


def drawn(which: str) -> tuple[Any, Any, Any, tuple[int, ...]]:
    """Give features, boxes, the image of each and the size wanted."""
    import torch

    chance = torch.Generator().manual_seed(0)
    (channels, *shape), size = SIZES[which]
    features = torch.randn(IMAGES, channels, *shape, generator=chance)
    length = torch.tensor([float(s) for s in shape])
    low = torch.rand(REGIONS, len(shape), generator=chance) * length * 0.7
    high = low + 2 + torch.rand(REGIONS, len(shape), generator=chance) * length * 0.25
    return features, torch.cat([low, high], dim=1), torch.randint(IMAGES, (REGIONS,), generator=chance), size


def by_points(features: Any, boxes: Any, batch: Any, size: tuple[int, ...]) -> Any:
    """Sample every point and average those of a bin."""
    import torch
    import torch.nn.functional as F

    dims = len(size)
    axes = []
    for axis, (length, bins) in enumerate(zip(features.shape[2:], size, strict=True)):
        steps = (torch.arange(bins * SAMPLES) + 0.5) / (bins * SAMPLES)
        low, high = boxes[:, axis, None], boxes[:, dims + axis, None]
        axes.append((low + steps * (high - low)) / (length - 1) * 2 - 1)
    shape = [len(boxes), *(a.shape[1] for a in axes)]
    spread = [a.reshape(-1, *[a.shape[1] if i == j else 1 for j in range(dims)]) for i, a in enumerate(axes)]
    points = torch.stack([a.expand(shape) for a in reversed(spread)], dim=-1)
    found = features.new_empty(len(boxes), features.shape[1], *size)
    for image in range(len(features)):
        mine = (batch == image).nonzero()[:, 0]
        there = points[mine].flatten(0, 1)[None]  # all regions of the image below one another
        said = F.grid_sample(features[image : image + 1], there, padding_mode="border", align_corners=True)
        said = said[0].unflatten(1, (len(mine), -1)).transpose(0, 1)
        found = found.index_copy(0, mine, (F.avg_pool2d if dims == 2 else F.avg_pool3d)(said, SAMPLES))
    return found


def side(name: str, which: str, how: str, file: str) -> None:
    """Do one side, and leave the values (and the gradient) in a file."""
    import torch

    from medgrad.models.boxes import roi_align

    features, boxes, batch, size = drawn(which)
    pull = torch.randn(REGIONS, features.shape[1], *size, generator=torch.Generator().manual_seed(1))
    align: Callable[..., Any] = by_points
    if name == "ours":
        align = lambda f, b, i, s: roi_align(f, b, i, size=s, samples=SAMPLES)  # noqa: E731

    def task() -> None:
        if how == "forward":
            with torch.no_grad():
                kept[:] = [align(features, boxes, batch, size)]
            return
        leaf = features.clone().requires_grad_()
        (align(leaf, boxes, batch, size) * pull).sum().backward()
        kept[:] = [leaf.grad]

    kept: list[Any] = []
    task()
    torch.save(kept[0], file)
    serve(task)


def run(threads: int = 1, rounds: int = 0) -> dict[str, Any]:
    """Race both in two and three axes, forward alone and with the way back."""
    rows = [one(which, how, threads, rounds or ROUNDS) for which in SIZES for how in ("forward", "and backward")]
    claim = f"at least {BOUND:g} times as fast everywhere, and equal to {CLOSE:g}"
    return {"rows": rows, "claim": claim, "held": all(r["ratio"] >= BOUND and r["difference"] <= CLOSE for r in rows)}


def one(which: str, how: str, threads: int, rounds: int) -> dict[str, Any]:
    """Race both once."""
    import torch

    with tempfile.TemporaryDirectory() as folder:
        files = {name: str(Path(folder) / name) for name in ("ours", "theirs")}
        found = race({n: Side(__file__, n, which, how, f, threads=threads) for n, f in files.items()}, rounds)
        mine, other = (torch.load(files[n], weights_only=True) for n in ("ours", "theirs"))
    ratio = compared(found, threads)
    return {
        "what": f"{which}, {how}",
        "ours ms": ratio["ours_cpu"] * 1e3,
        "sampled ms": ratio["theirs_cpu"] * 1e3,
        "ratio": ratio["ratio"],
        "difference": float((mine - other).abs().max() / other.abs().max()),
    }


if __name__ == "__main__":
    given = settings(__doc__ or "")
    if given.side:
        side(*given.side)
    else:
        sys.exit(told(run(given.threads, given.rounds)))

"""Memory of putting windows together: 25 classes over 256 x 256 x 256, ours beside MONAI's sliding window and arg-max.

No network: a predictor that costs nothing gives every window logits of its own, so what is blended differs wherever
windows overlap. Both sides use the same windows (64 a side, half overlapping) and the same weights.

Bound: at most 0.35 of MONAI's peak memory, and the same labels.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

from _race import Side, peak_mb, race, serve, settings, told

BOUND = 0.35
CLASSES, SIZE, PATCH, TURNS = 25, 256, 64, 61


def predictor() -> Any:
    """Make what stands in for a network: logits cut out of a bank of noise, at a place told by the window's own."""
    import torch
    from torch import nn

    class Noise(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            chance = torch.Generator().manual_seed(0)
            self.bank = torch.randn(1, CLASSES, PATCH + TURNS, PATCH, PATCH, generator=chance)

        def forward(self, x: Any) -> Any:
            where = int(x[0, 0, 0, 0, 0])
            return self.bank.narrow(2, where // PATCH % TURNS, PATCH).clone()  # MONAI writes into it

    return Noise().eval()


def ours(network: Any, places: Any) -> Any:
    """Make ready to answer as ``medgrad predict`` does."""
    import torch

    from medgrad.data import Case, Grid, Image
    from medgrad.engine.compute.device import Compute
    from medgrad.engine.evaluation.infer import predictor
    from medgrad.tasks.segmentation import Segmentation

    task = Segmentation(labels=tuple(f"label {i}" for i in range(1, CLASSES)))
    case = Case("noise", {"image": Image(places, Grid.from_shape(places.shape))})
    place = Compute("cpu", torch.float32)
    made = predictor([network], task, patch=(PATCH,) * 3, place=place)
    return lambda: made.predict(case).array


def theirs(network: Any, places: Any) -> Any:
    """Make ready to answer as MONAI's bundles do, with the weights that ours has."""
    import torch
    from monai.inferers import sliding_window_inference

    from medgrad.engine.compute.torch_ops import TORCH
    from medgrad.inference.sliding_window import gaussian_weights

    inputs, weights = torch.from_numpy(places)[None, None], gaussian_weights((PATCH,) * 3, TORCH)

    def answer() -> Any:
        with torch.inference_mode():
            output = sliding_window_inference(inputs, (PATCH,) * 3, 1, network, overlap=0.5, roi_weight_map=weights)
            return output.argmax(1)[0].to(torch.uint8).numpy()

    return answer


def side(name: str, file: str) -> None:
    """Do one side: tell how much more memory it took than what was there before, and leave its labels in a file."""
    import numpy as np

    places = np.arange(SIZE**3, dtype=np.float32).reshape((SIZE,) * 3)
    network, ready = predictor(), {"ours": ours, "theirs": theirs}[name]
    ready(network, np.ascontiguousarray(places[: PATCH + 1, :PATCH, :PATCH]))()  # imports and first calls
    answer = ready(network, places)
    before = peak_mb()

    def task() -> float:
        labels = answer()
        took = peak_mb() - before
        np.save(file, labels)
        return took

    serve(task)


def run(threads: int = 1) -> dict[str, Any]:
    """Have each side stitch once, in a fresh process."""
    import numpy as np

    with tempfile.TemporaryDirectory() as folder:
        files = {s: str(Path(folder) / f"{s}.npy") for s in ("ours", "theirs")}
        found = race({s: Side(__file__, s, f, threads=threads) for s, f in files.items()}, 1, warm=0)
        differ = float(np.mean(np.load(files["ours"]) != np.load(files["theirs"])))
    mine, other = (found[s][0]["value"] for s in ("ours", "theirs"))
    row = {
        "what": f"{CLASSES} classes, {SIZE}^3, windows of {PATCH}^3",
        "ours MB": mine,
        "MONAI MB": other,
        "ratio": mine / other,
        "labels differ": differ,
        "seconds, ours to MONAI": found["ours"][0]["cpu"] / found["theirs"][0]["cpu"],
    }
    claim = f"at most {BOUND} of MONAI's peak memory, the same labels"
    return {"rows": [row], "claim": claim, "held": mine / other <= BOUND and differ == 0}


if __name__ == "__main__":
    given = settings(__doc__ or "")
    if given.side:
        side(*given.side)
    else:
        sys.exit(told(run(given.threads)))

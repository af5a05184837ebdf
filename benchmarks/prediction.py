"""Labels for a whole volume of 128 x 128 x 128 in windows of 96 x 96 x 96, half overlapping: the same trained network.

MONAI: its sliding window with Gaussian weights, float32, and the arg-max. Ours: what ``medgrad predict`` does.
The network is trained for a short while first, since random weights make labels that hang on the last bit.

Bound: at least 5 times as fast, and labels that agree on 99.5 % of the elements. A processor that multiplies bfloat16
in vectors only (no AMX) gains about half as much from it, and may miss the bound.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from _networks import LABELS, LARGE, as_it_ships, batch, our_way, trained_our_way
from _race import Side, compared, race, serve, settings, told

BOUND, AGREEMENT = 5.0, 0.995
SIZE, PATCH, STEPS, ROUNDS = 128, 96, 120, 3


def train(name: str, file: str) -> Callable[[], float]:
    """Train a network for a short while, and leave its weights in a file."""
    from safetensors.torch import save_file

    def task() -> float:
        network, loss = trained_our_way(name, LARGE[name], STEPS)
        save_file({k: v.contiguous().clone() for k, v in network.network.state_dict().items()}, file)
        return loss

    return task


def ours(name: str, weights: dict[str, Any], volume: Any) -> Callable[[], Any]:
    """Make ready to answer as ``medgrad predict`` does."""
    import numpy as np

    from medgrad.data import Case, Grid, Image
    from medgrad.engine.compute.device import AutocastModule
    from medgrad.engine.evaluation.infer import predictor
    from medgrad.tasks.segmentation import Segmentation

    network, place = our_way(name, LARGE[name])
    network.network.load_state_dict(weights)
    model, task = AutocastModule(network, place), Segmentation(labels=tuple(f"label {i}" for i in range(1, LABELS)))
    case = Case(
        "balls", {"image": Image(np.ascontiguousarray(volume[0, 0].numpy()), Grid.from_shape(volume.shape[2:]))}
    )
    made = predictor([model], task, patch=(PATCH,) * 3, place=place)
    return lambda: made.predict(case).array


def theirs(name: str, weights: dict[str, Any], volume: Any) -> Callable[[], Any]:
    """Make ready to answer as MONAI's bundles do."""
    import torch
    from monai.inferers import sliding_window_inference

    network = as_it_ships(name, LARGE[name]).eval()
    network.load_state_dict(weights)

    def answer() -> Any:
        with torch.inference_mode():
            output = sliding_window_inference(volume, (PATCH,) * 3, 1, network, overlap=0.5, mode="gaussian")
            return output.argmax(1)[0].to(torch.uint8).numpy()

    return answer


def predict(side: str, name: str, weights: str, file: str) -> Callable[[], None]:
    """Answer about one volume, and leave the labels in a file."""
    import numpy as np
    from safetensors.torch import load_file

    volume = batch(77, SIZE)[0][:1]
    answer = {"ours": ours, "theirs": theirs}[side](name, load_file(weights), volume)
    return lambda: np.save(file, answer())


def compare(name: str, folder: Path, threads: int, rounds: int) -> tuple[dict[str, float], float]:
    """Race both sides with the same weights; give the figures and how far their labels agree."""
    import numpy as np

    weights = str(folder / f"{name}.safetensors")
    race({"train": Side(__file__, "train", name, weights, threads=threads)}, 1, warm=0)
    files = {s: str(folder / f"{s}.npy") for s in ("ours", "theirs")}
    sides = {s: Side(__file__, "predict", s, name, weights, f, threads=threads) for s, f in files.items()}
    figures = compared(race(sides, rounds), threads)
    return figures, float(np.mean(np.load(files["ours"]) == np.load(files["theirs"])))


def run(threads: int = 1, rounds: int = 0) -> dict[str, Any]:
    """Race both networks; ``held`` tells whether the bounds do."""
    rows, held, bound = [], True, BOUND
    kind = "cpu" if threads == 1 else "wall"
    for name in LARGE:
        with tempfile.TemporaryDirectory() as folder:
            figures, agreement = compare(name, Path(folder), threads, rounds or ROUNDS)
        held &= figures["ratio"] >= bound and agreement >= AGREEMENT
        rows.append(
            {
                "network": name,
                "ratio": figures["ratio"],
                "bound": bound,
                "by the clock": figures["ratio_wall"],
                "ours s": figures[f"ours_{kind}"],
                "MONAI s": figures[f"theirs_{kind}"],
                "labels agree": agreement,
            }
        )
    return {"rows": rows, "claim": f"every bound, and labels that agree on {AGREEMENT:.1%}", "held": held}


if __name__ == "__main__":
    given = settings(__doc__ or "")
    if given.side:
        serve({"train": train, "predict": predict}[given.side[0]](*given.side[1:]))
    else:
        sys.exit(told(run(given.threads, given.rounds)))

"""Labels for a volume of 128 x 128 x 128 in windows of 96 x 96 x 96: one trained network, by every engine there is.

torch: what ``medgrad predict RUN`` does, in bfloat16 where the processor multiplies that faster. The others: what
``medgrad predict ARTEFACT`` does with what ``medgrad export`` wrote, in float32 and in 8 bits, in each precision that
the engine has. All are asked in turns. Agreement is with torch in float32.

Bound: what ``predict`` chooses agrees on 99.9 % of the elements, and on 99 % in 8 bits, loses at most 0.002 and 0.005
of the Dice, and takes at most a tenth longer than the quickest that does; 8 bits take at most a third of the room; no
export is refused. With OpenVINO it is at least 1.5 times as fast as torch, and 2.5 times in 8 bits.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
from collections.abc import Callable
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from _networks import LABELS, LARGE, batch, trained_our_way
from _race import Side, race, serve, settings, told

SIZE, PATCH, STEPS, ROUNDS = 128, 96, 120, 3
AGREEMENT = {"float32": 0.999, "int8": 0.99}
DICE = {"float32": 0.002, "int8": 0.005}
FASTER = {"openvino": 1.5, "openvino-int8": 2.5}
SMALLER, CHOICE = 3.0, 1.1
TARGETS = ("onnx", "openvino")
CASES, VAL = 10, 3


def learned(name: str, folder: Path, patch: int, steps: int, settings: dict[str, Any]) -> Path:
    """Train a network for a short while, and leave it as a run that knows its cases."""
    import json

    from medgrad.engine.runs.checkpoint import write_checkpoint
    from medgrad.engine.runs.recipe import recipe_from_tables
    from medgrad.engine.runs.run import Run

    network, _ = trained_our_way(name, settings, steps)
    run = Run(folder / "run")
    table = {
        "task": {"kind": "segmentation", "labels": [f"label {i}" for i in range(1, LABELS)]},
        "model": {"name": "monai", "network": name, **settings},
        "training": {"patch": [patch] * 3},
    }
    run.write_recipe(recipe_from_tables(table))
    write_checkpoint(run.best_checkpoint, {"channels": 1, "model": network.state_dict(), "ema": None})
    (run.folder / "cohort.json").write_text(json.dumps(cohort(folder / "cases", patch)), encoding="utf-8")
    return run.folder


def cohort(folder: Path, size: int) -> dict[str, Any]:
    """Write cases that the network did not see, and say who may measure ranges and who judges."""
    from medgrad.data import Grid, Image, LabelMap
    from medgrad.data.cohorts.layouts import recognise
    from medgrad.data.formats import write
    from medgrad.survey.file_hashes import hash_case

    for number in range(CASES):
        inputs, labels = batch(1000 + number, size)
        grid = Grid.from_shape(inputs.shape[2:])
        write(folder / "images" / f"c{number}.nii.gz", Image(inputs[0, 0].numpy(), grid, "mr"))
        write(folder / "labels" / f"c{number}.nii.gz", LabelMap(labels[0].numpy().astype("uint8"), grid))
    rows = [
        {"id": e.id, "patient": e.id, "split": "val" if n < VAL else "train", "hash": hash_case(e)}
        for n, e in enumerate(recognise(folder).entries)
    ]
    return {"root": str(folder), "task": "segmentation", "cases": rows}


def prepare(name: str, folder: str, patch: str, steps: str, small: str) -> Callable[[], int]:
    """Make ready to train, and to export to every target in both precisions; what does not agree is not there after."""
    from _networks import SMALL

    from medgrad.errors import MedgradError
    from medgrad.export import export

    def task() -> int:
        network = (SMALL if small == "small" else LARGE)[name]
        run = learned(name, Path(folder), int(patch), int(steps), network)
        for to in TARGETS:
            for int8 in (False, True):
                with suppress(MedgradError):
                    export(run, target_name=to, as_int8=int8)
        return len(TARGETS)

    return task


def by_torch(run: Path, case: Any, precision: str) -> Callable[[], Any]:
    """Make ready to answer with the run, in a precision."""
    from medgrad.engine.compute.device import AutocastModule, choose_device, keep_freed_memory
    from medgrad.engine.evaluation.infer import predictor
    from medgrad.engine.runs.run import open_run

    keep_freed_memory()
    trained, place = open_run(run), choose_device(precision)
    models = [AutocastModule(place.move_model(m.network), place) for m in trained.networks]
    patch = trained.recipe.training.patch
    made = predictor(models, trained.task, patch=patch, place=place)
    return lambda: made.predict(case).array


def by_engine(folder: Path, case: Any, engine: str, way: str, threads: int) -> Callable[[], Any]:
    """Make ready to answer with an artefact, by one engine in one precision."""
    from medgrad import registry
    from medgrad.inference.artefact.artefact import open_artefact
    from medgrad.inference.artefact.predictor import predictor_of
    from medgrad.machine.allocator import keep_freed_memory

    keep_freed_memory()
    artefact = open_artefact(folder)
    ask = registry.find("inference.artefact.backends", engine).open(artefact.network_file, threads=threads, way=way)
    made = predictor_of(artefact, ask)
    return lambda: made.predict(case).array


def answer(folder: str, what: str, engine: str, way: str, size: str, threads: str, file: str) -> Callable[[], None]:
    """Answer about one volume, and leave the labels in a file."""
    import numpy as np

    from medgrad.data import Case, Grid, Image

    volume = np.ascontiguousarray(batch(77, int(size))[0][0, 0].numpy())
    case, run = Case("balls", {"image": Image(volume, Grid.from_shape(volume.shape))}), Path(folder) / "run"
    if engine == "torch":
        ready = by_torch(run, case, way)
    else:
        ready = by_engine(run / "exported" / what, case, engine, way, int(threads))
    return lambda: np.save(file, ready())


def contestants(exported: Path) -> list[tuple[str, str, str]]:
    """List what was exported, who reads it, and in which precision."""
    from medgrad import registry
    from medgrad.export._target import Target

    found = [("", "torch", "float32"), ("", "torch", "auto")]
    for to in TARGETS:
        target: Target = registry.find("export", to)
        for name in ("onnxruntime", "openvino"):
            engine = registry.find("inference.artefact.backends", name)
            if Path(target.network_file).suffix in engine.reads:
                there = [f"{to}{bits}" for bits in ("", "-int8") if (exported / f"{to}{bits}").exists()]
                found += [(what, name, way) for what in there for way in engine.ways()]
    return found


def chosen(folder: Path, threads: int) -> dict[str, str]:
    """Say which engine ``predict`` takes for each artefact."""
    from medgrad.inference.artefact.artefact import open_artefact
    from medgrad.inference.artefact.select_backend import select_backend

    there = sorted((folder / "run" / "exported").iterdir())
    return {one.name: select_backend(open_artefact(one), n_threads=threads)[1].name for one in there}


def size_of(folder: Path) -> int:
    """Count the bytes of an artefact's network."""
    return sum(p.stat().st_size for p in folder.glob("network.*"))


def mean_dice(truth: Any, said: Any) -> float:
    """Give the mean Dice of the labels."""
    each = [2 * ((truth == n) & (said == n)).sum() / ((truth == n).sum() + (said == n).sum()) for n in range(1, LABELS)]
    return float(statistics.mean(each))


def compare(name: str, folder: Path, threads: int, rounds: int, sizes: tuple[int, int, int], small: str) -> list[Any]:
    """Race all contestants with the same weights, and give a row for each."""
    import numpy as np

    size, patch, steps = sizes
    words = (name, str(folder), str(patch), str(steps), small)
    race({"prepare": Side(__file__, "prepare", *words, threads=threads)}, 1, warm=0)
    sides, files = {}, {}
    entered = contestants(folder / "run" / "exported")
    for what, engine, way in entered:
        key = f"{what or 'run'}, {engine}, {way}"
        files[key] = str(folder / f"{len(files)}.npy")
        words = (str(folder), what, engine, way, str(size), str(threads), files[key])
        sides[key] = Side(__file__, "answer", *words, threads=threads)
    times = race(sides, rounds)
    kind = "cpu" if threads == 1 else "wall"
    seconds = {key: statistics.median(row[kind] for row in rows) for key, rows in times.items()}
    first, taken = np.load(files["run, torch, float32"]), chosen(folder, threads)
    truth = batch(77, size)[1][0].numpy()
    rows = []
    for (what, engine, way), key in zip(entered, seconds, strict=True):
        exported = folder / "run" / "exported" / what
        plain = folder / "run" / "exported" / what.partition("-")[0]
        rows.append(
            {
                "what": f"{name}: {key}",
                "seconds": seconds[key],
                "ratio to torch": seconds["run, torch, auto"] / seconds[key],
                "labels agree": float(np.mean(np.load(files[key]) == first)),
                "Dice": mean_dice(truth, np.load(files[key])),
                "MB": size_of(exported) / 1e6 if what else None,
                "times smaller": size_of(plain) / size_of(exported) if what else None,
                "predict takes it": "yes" if taken.get(what) == f"{engine}, {way}" else "",
                "artefact": what,
            }
        )
    return rows


def holds(rows: list[dict[str, Any]]) -> bool:
    """Tell whether the rows of one network keep every bound."""
    held = {row["artefact"] for row in rows} >= {f"{to}{bits}" for to in TARGETS for bits in ("", "-int8")}
    dice = next(row["Dice"] for row in rows if not row["artefact"])
    for what in {row["artefact"] for row in rows} - {""}:
        mine, kind = [row for row in rows if row["artefact"] == what], "int8" if what.endswith("int8") else "float32"
        taken = [row for row in mine if row["predict takes it"]]
        fit = [row["seconds"] for row in mine if row["labels agree"] >= AGREEMENT[kind]]
        held &= bool(taken) and all(row["labels agree"] >= AGREEMENT[kind] for row in taken)
        held &= all(row["Dice"] >= dice - DICE[kind] and row["seconds"] <= CHOICE * min(fit) for row in taken)
        held &= all(row["ratio to torch"] >= FASTER.get(what, 0.0) for row in taken)
        held &= kind != "int8" or mine[0]["times smaller"] >= SMALLER
    return held


def run(
    threads: int = 1, rounds: int = 0, *, sizes: tuple[int, int, int] = (SIZE, PATCH, STEPS), small: str = ""
) -> dict[str, Any]:
    """Race all engines on both networks; ``held`` tells whether the bounds do."""
    rows, held = [], True
    for package in ("onnxruntime", "openvino", "nncf"):
        if find_spec(package) is None:
            return {"skipped": f"{package} is not installed; type: pip install 'medgrad[onnx,openvino]'"}
    for name in LARGE:
        with tempfile.TemporaryDirectory() as folder:
            found = compare(name, Path(folder), threads, rounds or ROUNDS, sizes, small or "large")
        held &= holds(found)
        rows += [{k: v for k, v in row.items() if k != "artefact"} for row in found]
    return {"rows": rows, "claim": "every bound of agreement, of Dice, of room, of speed and of choice", "held": held}


if __name__ == "__main__":
    given = settings(__doc__ or "")
    if given.side:
        serve({"prepare": prepare, "answer": answer}[given.side[0]](*given.side[1:]))
    else:
        sys.exit(told(run(given.threads, given.rounds)))

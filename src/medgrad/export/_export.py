"""Export a run as an artefact, and check its agreement with the run before it is kept."""

from __future__ import annotations

import io
import json
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from .. import registry
from ..answers import Agreement, agreement
from ..data.atomic_files import write_bytes, write_text
from ..engine.evaluation.infer import answer as answer_with_torch
from ..engine.progress import Progress, Silent
from ..engine.runs.checkpoint import read_learned
from ..engine.runs.run import Run, Trained, open_run
from ..errors import MedgradError, SettingError
from ..inference.artefact.artefact import EXAMPLE, FILE, VERSION, Artefact, hash_of, is_artefact
from ..inference.artefact.fastest import ROOM, read, stored, usable
from ..inference.artefact.predictor import Forward, predictor_of
from ..version import VERSION as MEDGRAD
from ._cases import Sides, choose_cases, feed
from ._finish import FLOAT32, as_float32, examples, finish
from ._target import ExportModule, Target


@dataclass(frozen=True)
class Exported:
    """The result of an export: folder, size of the network, and agreement with its run."""

    folder: Path
    bytes: int
    agreement: Agreement
    on: str
    ways: Mapping[str, Any]


def export(
    run: Path | str,
    out: Path | str | None = None,
    *,
    to: str = "onnx",
    int8: bool = False,
    calibrate: Path | str | None = None,
    tolerance: float | None = None,
    progress: Progress | None = None,
) -> Exported:
    """Write an artefact, or raise if its answers differ from the run's by more than ``tolerance``.

    By default that is 0.001 of the elements or of a probability, and 0.01 of the boxes; in 8 bits 0.01 of the
    elements, and 0.05 of a probability or of the boxes. The artefact is written as a whole or not at all.
    """
    run, progress, kind = Path(run), progress or Silent(), to.replace("-", "_")
    target: Target = registry.find("export", kind)
    shrink = getattr(target, "shrink", None)
    if int8 and shrink is None:
        raise SettingError(f"--int8 is for --to onnx and --to openvino, not for {to}.")
    folder = Path(out) if out is not None else run / "exported" / (f"{to}-int8" if int8 else to)
    check_output_folder(folder)
    trained = open_run(run, device="cpu")
    trained.task.check_export()
    precision = "int8" if int8 else "float32"
    limit = trained.task.answer_kind.tolerance[precision] if tolerance is None else tolerance
    about = facts(run, trained, target=to, network=target.network, precision=precision, tolerance=limit)
    sides = choose_cases(run, folder=None if calibrate is None else Path(calibrate), measures=int8)
    finished = finish(trained, about["planes"], about)
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = folder.with_name(f".{folder.name}.{os.getpid()}.part")
    temporary.mkdir()
    try:
        progress.say(f"Writing the network as {to}.")
        target.write(finished, temporary)
        artefact = Artefact(temporary, about)
        if int8 and shrink is not None:
            shown = feed(artefact, sides.measure)
            progress.say(f"Measuring ranges on {len(shown)} windows of {len(sides.measure)} training patients.")
            shrink(finished, temporary, shown)
        done = judged(artefact, trained, finished, target, sides, limit, progress)
        put_in_place(temporary, folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return Exported(folder, *done)


def facts(
    run: Path, trained: Trained, *, target: str, network: str, precision: str, tolerance: float
) -> dict[str, Any]:
    """Return the content of ``artefact.json``, without the results of the check."""
    recipe = trained.recipe
    weights = [each.weights for each in (Run(run).folds or [Run(run)])]
    return {
        "artefact": VERSION,
        "medgrad": MEDGRAD,
        "target": target,
        "precision": precision,
        "network": network,
        "output": trained.task.outputs.shape,
        "answer": trained.task.outputs.answer,
        "classes": trained.task.outputs.channels if trained.task.outputs.shape == "dense" else 0,
        "task": trained.task.settings(),
        "prepare": [dict(link) for link in recipe.prepare],
        "patch": list(recipe.training.patch),
        "overlap": recipe.answering.overlap,
        "sparing": recipe.answering.sparing,
        "coarse": recipe.answering.coarse,
        "flips": list(recipe.answering.flips) if trained.task.outputs.shape == "dense" else [],
        "planes": read_learned(weights[0])[1],
        "inputs": dict(trained.takes.known) if trained.takes else {},
        "weights": {path.relative_to(run).as_posix(): hash_of(path) for path in weights},
        "tolerance": tolerance,
    }


def judged(
    artefact: Artefact,
    trained: Trained,
    finished: ExportModule,
    target: Target,
    sides: Sides,
    limit: float,
    progress: Progress,
) -> tuple[int, Agreement, str, dict[str, Any]]:
    """Check that the exported network agrees with its run, and write the result; raise if it does not."""
    engines = usable(artefact)
    native = target.engine if target.engine in engines else engines[0]
    ask = registry.find(ROOM, native).open(artefact.network)
    windows = examples(trained.task, artefact.about["planes"], artefact.patch)
    made_up, largest = on_windows(artefact, finished, ask, windows)
    cases, wanted = originals(trained, sides, progress)
    found = compared(artefact, ask, cases, wanted) if cases else made_up
    if found.off > limit:
        raise MedgradError(
            f"The exported network and the run agree too little on {found.cases} {sides.judged_on}: {found.words} "
            f"(off by {found.off:.4g}, allowed {limit:g}). Give --tolerance to keep it, or export without --int8."
        )
    confirmed = verify(artefact, target, sides, cases, wanted, limit)
    ways = others(artefact, native, engines, cases, wanted, found)
    out = io.BytesIO()
    np.savez_compressed(out, allow_pickle=False, **stored(artefact, windows, ask))
    write_bytes(artefact.folder / EXAMPLE, out.getvalue())
    files = {
        p.relative_to(artefact.folder).as_posix(): hash_of(p) for p in sorted(artefact.folder.rglob("*")) if p.is_file()
    }
    told = found.as_dict() | {"on": sides.judged_on, "engine": native, "largest_output_difference": largest}
    told |= confirmed
    whole = {**artefact.about, "agreement": told, "ways": ways, "files": files}
    write_text(artefact.folder / FILE, json.dumps(whole, indent=1) + "\n")
    size = sum(p.stat().st_size for p in artefact.network.parent.glob(f"{artefact.network.stem}.*"))
    return size, found, sides.judged_on, ways


def on_windows(
    artefact: Artefact, finished: ExportModule, ask: Forward, windows: Sequence[NDArray[np.float32]]
) -> tuple[Agreement, float]:
    """Compare the exported network with the torch module on synthetic windows: decoded answers, and raw outputs."""
    pairs, largest = [], 0.0
    for shown in windows:
        with torch.inference_mode():
            said = finished.module(torch.from_numpy(shown))
        wanted = [s.numpy() for s in (said if isinstance(said, tuple) else (said,))]
        got = ask(shown)
        largest = max([largest, *(float(np.abs(w - g).max()) for w, g in zip(wanted, got, strict=True))])
        pairs.append((read(artefact, wanted), read(artefact, got)))
    return agreement(pairs), largest


def originals(trained: Trained, sides: Sides, progress: Progress) -> tuple[list[Any], list[Any]]:
    """Load the cases for evaluation, and answer about each with torch in float32."""
    run, cases, said = replace(trained, models=as_float32(trained), place=FLOAT32), [], []
    with progress.bar("Asking the run") as bar:
        for number, (cohort, entry) in enumerate(sides.judge):
            case = cohort.load(entry)
            cases.append(case)
            said.append(answer_with_torch(run, case))
            bar(number + 1, len(sides.judge), "")
    return cases, said


def compared(artefact: Artefact, ask: Forward, cases: Sequence[Any], wanted: Sequence[Any]) -> Agreement:
    """Compare the answers of an artefact with those of its run."""
    try:
        predictor = predictor_of(artefact, ask)
        return agreement([(said, predictor.answer(case)) for case, said in zip(cases, wanted, strict=True)])
    except ValueError as reason:
        raise MedgradError(f"The exported network does not run on the cases: {reason} Try --to onnx.") from reason


def others(
    artefact: Artefact,
    native: str,
    engines: Sequence[str],
    cases: Sequence[Any],
    wanted: Sequence[Any],
    found: Agreement,
) -> dict[str, Any]:
    """Compare every installed backend, in each of its precisions, with the run; empty without cases."""
    if not cases:
        return {}
    ways = {}
    for name in engines:
        for way in registry.find(ROOM, name).ways():
            is_native = name == native and way == "float32"
            ask = None if is_native else registry.find(ROOM, name).open(artefact.network, way=way)
            ways[f"{name}, {way}"] = (found if ask is None else compared(artefact, ask, cases, wanted)).as_dict()
    return ways


def verify(
    artefact: Artefact, target: Target, sides: Sides, cases: Sequence[Any], wanted: Sequence[Any], limit: float
) -> dict[str, Any]:
    """Compare a target's own preparation and inference with the run; raise if they differ too much."""
    ask = getattr(target, "confirm", None)
    if ask is None or not cases:
        return {}
    entries = [entry for _, entry in sides.judge]
    found: Agreement | None = ask(artefact.folder, list(zip(entries, cases, strict=True)), wanted)
    if found is not None and found.off > limit:
        raise MedgradError(
            f"{artefact.about['target']}, with its own preparation, and the run agree too little on {found.cases} "
            f"{sides.judged_on}: {found.words} (off by {found.off:.4g}, allowed {limit:g}). "
            "Give --tolerance to keep it."
        )
    return {} if found is None else {artefact.about["target"]: found.as_dict()}


def check_output_folder(folder: Path) -> None:
    """Raise if the output folder exists and is no artefact."""
    if folder.exists() and not is_artefact(folder) and (not folder.is_dir() or any(folder.iterdir())):
        raise SettingError(f"{str(folder)!r} is there and is no artefact, so it is left alone. Give another place.")


def put_in_place(temporary: Path, folder: Path) -> None:
    """Move a finished folder to its place, and delete an older artefact there."""
    old = folder.with_name(f".{folder.name}.{os.getpid()}.old")
    if folder.exists():
        folder.rename(old)
    temporary.rename(folder)
    shutil.rmtree(old, ignore_errors=True)

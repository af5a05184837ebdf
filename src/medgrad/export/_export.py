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
from ..data.checksum import hash_file
from ..engine.evaluation.infer import answer_case as answer_with_torch
from ..engine.progress import Progress, SilentProgress
from ..engine.runs.checkpoint import read_weights
from ..engine.runs.run import Run, TrainedRun, open_run
from ..errors import MedgradError, SettingError
from ..inference.artefact.artefact import EXAMPLE, FILE, VERSION, Artefact, is_artefact
from ..inference.artefact.predictor import Forward, predictor_of
from ..inference.artefact.select_backend import (
    BACKENDS_PACKAGE,
    decode_outputs,
    list_usable_backends,
    make_example_arrays,
)
from ..version import VERSION as MEDGRAD
from ._cases import ExportCases, choose_cases, load_network_inputs
from ._module import FLOAT32, build_export_module, float32_networks, make_example_inputs
from ._target import ExportModule, Target


@dataclass(frozen=True)
class ExportResult:
    """The result of an export: folder, size of the network, and agreement with its run."""

    folder: Path
    n_bytes: int
    agreement: Agreement
    evaluated_on: str
    agreement_by_backend: Mapping[str, Any]


def export(
    run: Path | str,
    out: Path | str | None = None,
    *,
    target_name: str = "onnx",
    as_int8: bool = False,
    calibration_folder: Path | str | None = None,
    tolerance: float | None = None,
    progress: Progress | None = None,
) -> ExportResult:
    """Write an artefact, or raise if its answers differ from the run's by more than ``tolerance``.

    By default that is 0.001 of the elements or of a probability, and 0.01 of the boxes; in 8 bits 0.01 of the
    elements, and 0.05 of a probability or of the boxes. The artefact is written as a whole or not at all.
    """
    run, progress, kind = Path(run), progress or SilentProgress(), target_name.replace("-", "_")
    target: Target = registry.find("export", kind)
    quantise = getattr(target, "quantise", None)
    if as_int8 and quantise is None:
        raise SettingError(f"--int8 is for --to onnx and --to openvino, not for {target_name}.")
    folder = Path(out) if out is not None else run / "exported" / (f"{target_name}-int8" if as_int8 else target_name)
    check_output_folder(folder)
    trained = open_run(run, device="cpu")
    trained.task.check_export()
    precision = "int8" if as_int8 else "float32"
    max_disagreement = trained.task.answer_kind.tolerance[precision] if tolerance is None else tolerance
    manifest = make_manifest(
        run,
        trained,
        target_name=target_name,
        network=target.network_file,
        precision=precision,
        tolerance=max_disagreement,
    )
    export_cases = choose_cases(
        run, folder=None if calibration_folder is None else Path(calibration_folder), needs_calibration=as_int8
    )
    export_module = build_export_module(trained, manifest["channels"], manifest)
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = folder.with_name(f".{folder.name}.{os.getpid()}.part")
    temporary.mkdir()
    try:
        progress.say(f"Writing the network as {target_name}.")
        target.write(export_module, temporary)
        artefact = Artefact(temporary, manifest)
        if as_int8 and quantise is not None:
            shown = load_network_inputs(artefact, export_cases.calibration)
            progress.say(
                f"Measuring ranges on {len(shown)} windows of {len(export_cases.calibration)} training patients."
            )
            quantise(export_module, temporary, shown)
        done = check_agreement(artefact, trained, export_module, target, export_cases, max_disagreement, progress)
        replace_folder(temporary, folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return ExportResult(folder, *done)


def make_manifest(
    run: Path, trained: TrainedRun, *, target_name: str, network: str, precision: str, tolerance: float
) -> dict[str, Any]:
    """Return the content of ``artefact.json``, without the results of the check."""
    recipe = trained.recipe
    weights = [each.weights_file for each in (Run(run).fold_runs or [Run(run)])]
    return {
        "artefact": VERSION,
        "medgrad": MEDGRAD,
        "target": target_name,
        "precision": precision,
        "network": network,
        "output": trained.task.outputs.shape,
        "answer": trained.task.outputs.answer,
        "classes": trained.task.outputs.channels if trained.task.outputs.shape == "dense" else 0,
        "task": trained.task.settings(),
        "prepare": [dict(link) for link in recipe.prepare],
        "patch": list(recipe.training.patch),
        "overlap": recipe.inference.overlap,
        "coarse_to_fine": recipe.inference.coarse_to_fine,
        "first_pass_stride": recipe.inference.first_pass_stride,
        "tta_flips": list(recipe.inference.tta_flips) if trained.task.outputs.shape == "dense" else [],
        "channels": read_weights(weights[0])[1],
        "inputs": dict(trained.input_spec.training_images) if trained.input_spec else {},
        "weights": {path.relative_to(run).as_posix(): hash_file(path) for path in weights},
        "tolerance": tolerance,
    }


def check_agreement(
    artefact: Artefact,
    trained: TrainedRun,
    export_module: ExportModule,
    target: Target,
    export_cases: ExportCases,
    max_disagreement: float,
    progress: Progress,
) -> tuple[int, Agreement, str, dict[str, Any]]:
    """Check that the exported network agrees with its run, and write the result; raise if it does not."""
    engines = list_usable_backends(artefact)
    native = target.backend if target.backend in engines else engines[0]
    forward = registry.find(BACKENDS_PACKAGE, native).open(artefact.network_file)
    windows = make_example_inputs(trained.task, artefact.manifest["channels"], artefact.patch)
    made_up, largest = compare_on_windows(artefact, export_module, forward, windows)
    cases, wanted = answer_with_run(trained, export_cases, progress)
    found = compare_answers(artefact, forward, cases, wanted) if cases else made_up
    if found.off > max_disagreement:
        raise MedgradError(
            f"The exported network and the run agree too little on {found.cases} "
            f"{export_cases.evaluated_on}: {found.words} "
            f"(off by {found.off:.4g}, allowed {max_disagreement:g}). Give --tolerance to keep it, or "
            "export without --int8."
        )
    verification = verify(artefact, target, export_cases, cases, wanted, max_disagreement)
    agreement_by_backend = compare_backends(artefact, native, engines, cases, wanted, found)
    out = io.BytesIO()
    np.savez_compressed(out, allow_pickle=False, **make_example_arrays(artefact, windows, forward))
    write_bytes(artefact.folder / EXAMPLE, out.getvalue())
    files = {
        p.relative_to(artefact.folder).as_posix(): hash_file(p)
        for p in sorted(artefact.folder.rglob("*"))
        if p.is_file()
    }
    agreement_facts = found.as_dict() | {
        "on": export_cases.evaluated_on,
        "engine": native,
        "largest_output_difference": largest,
    }
    agreement_facts |= verification
    whole = {**artefact.manifest, "agreement": agreement_facts, "ways": agreement_by_backend, "files": files}
    write_text(artefact.folder / FILE, json.dumps(whole, indent=1) + "\n")
    size = sum(p.stat().st_size for p in artefact.network_file.parent.glob(f"{artefact.network_file.stem}.*"))
    return size, found, export_cases.evaluated_on, agreement_by_backend


def compare_on_windows(
    artefact: Artefact, export_module: ExportModule, forward: Forward, windows: Sequence[NDArray[np.float32]]
) -> tuple[Agreement, float]:
    """Compare the exported network with the torch module on synthetic windows: decoded answers, and raw outputs."""
    pairs, largest = [], 0.0
    for shown in windows:
        with torch.inference_mode():
            output = export_module.module(torch.from_numpy(shown))
        wanted = [s.numpy() for s in (output if isinstance(output, tuple) else (output,))]
        got = forward(shown)
        largest = max([largest, *(float(np.abs(w - g).max()) for w, g in zip(wanted, got, strict=True))])
        pairs.append((decode_outputs(artefact, wanted), decode_outputs(artefact, got)))
    return agreement(pairs), largest


def answer_with_run(trained: TrainedRun, export_cases: ExportCases, progress: Progress) -> tuple[list[Any], list[Any]]:
    """Load the cases for evaluation, and answer about each with torch in float32."""
    run, cases, answers = replace(trained, networks=float32_networks(trained), compute=FLOAT32), [], []
    with progress.bar("Asking the run") as bar:
        for number, (cohort, entry) in enumerate(export_cases.evaluation):
            case = cohort.load_case(entry)
            cases.append(case)
            answers.append(answer_with_torch(run, case))
            bar(number + 1, len(export_cases.evaluation), "")
    return cases, answers


def compare_answers(
    artefact: Artefact, forward: Forward, cases: Sequence[Any], expected_answers: Sequence[Any]
) -> Agreement:
    """Compare the answers of an artefact with those of its run."""
    try:
        predictor = predictor_of(artefact, forward)
        return agreement([(said, predictor.answer(case)) for case, said in zip(cases, expected_answers, strict=True)])
    except ValueError as reason:
        raise MedgradError(f"The exported network does not run on the cases: {reason} Try --to onnx.") from reason


def compare_backends(
    artefact: Artefact,
    native_backend: str,
    backend_names: Sequence[str],
    cases: Sequence[Any],
    expected_answers: Sequence[Any],
    native_agreement: Agreement,
) -> dict[str, Any]:
    """Compare every installed backend, in each of its precisions, with the run; empty without cases."""
    if not cases:
        return {}
    ways = {}
    for name in backend_names:
        for way in registry.find(BACKENDS_PACKAGE, name).precisions():
            is_native = name == native_backend and way == "float32"
            ask = (
                None if is_native else registry.find(BACKENDS_PACKAGE, name).open(artefact.network_file, precision=way)
            )
            ways[f"{name}, {way}"] = (
                native_agreement if ask is None else compare_answers(artefact, ask, cases, expected_answers)
            ).as_dict()
    return ways


def verify(
    artefact: Artefact,
    target: Target,
    export_cases: ExportCases,
    cases: Sequence[Any],
    expected_answers: Sequence[Any],
    max_disagreement: float,
) -> dict[str, Any]:
    """Compare a target's own preparation and inference with the run; raise if they differ too much."""
    verify_target = getattr(target, "verify", None)
    if verify_target is None or not cases:
        return {}
    entries = [entry for _, entry in export_cases.evaluation]
    found: Agreement | None = verify_target(artefact.folder, list(zip(entries, cases, strict=True)), expected_answers)
    if found is not None and found.off > max_disagreement:
        raise MedgradError(
            f"{artefact.manifest['target']}, with its own preparation, and the run agree too little on {found.cases} "
            f"{export_cases.evaluated_on}: {found.words} (off by {found.off:.4g}, allowed {max_disagreement:g}). "
            "Give --tolerance to keep it."
        )
    return {} if found is None else {artefact.manifest["target"]: found.as_dict()}


def check_output_folder(folder: Path) -> None:
    """Raise if the output folder exists and is no artefact."""
    if folder.exists() and not is_artefact(folder) and (not folder.is_dir() or any(folder.iterdir())):
        raise SettingError(f"{str(folder)!r} is there and is no artefact, so it is left alone. Give another place.")


def replace_folder(temporary: Path, folder: Path) -> None:
    """Move a finished folder to its place, and delete an older artefact there."""
    old = folder.with_name(f".{folder.name}.{os.getpid()}.old")
    if folder.exists():
        folder.rename(old)
    temporary.rename(folder)
    shutil.rmtree(old, ignore_errors=True)

"""``medgrad predict``: predict new images with a run or an exported artefact."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

import typer

from ...engine.progress import Progress
from ...errors import MedgradError, SettingError
from ._arguments import Device, Threads
from ._checks import (
    check_choice,
    check_device,
    check_exists,
    check_new_folder,
    check_number,
    check_part,
    check_run,
    is_run,
)

OUTPUT_FORMATS = (
    "nifti",
    "dicom",
    "json",
    "coco",
    "dicomseg",
    "dicomseg-fractional",
    "labelmap",
    "sr",
    "map",
    "capture",
    "rtstruct",
)


def predict(
    run: Annotated[Path, typer.Argument(help="The run, or what export made of it.")],
    source: Annotated[Path, typer.Argument(metavar="INPUT", help="A file, a DICOM series, or a folder of either.")],
    *,
    out: Annotated[Path, typer.Option("--out", "-o", help="Where to write the answers.")],
    kind: Annotated[str, typer.Option("--format", help=f"Not as the input, but {', '.join(OUTPUT_FORMATS)}.")] = "",
    device: Device = None,
    engine: Annotated[str, typer.Option(help="onnxruntime or openvino, not the quickest (artefacts only).")] = "",
    ram: Annotated[
        str, typer.Option(help="The most memory to hold, such as 4G; what would take more is refused.")
    ] = "",
    threads: Threads = 0,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Predict new images; each answer lies on its image's own grid, and is written in its format."""
    source, out = Path(source), Path(out)
    check_choice("--format", kind, OUTPUT_FORMATS)
    check_part("--engine", engine, "inference.artefact.backends")
    check_device(device)
    check_number("--threads", threads, minimum=0)
    by_artefact = (Path(run) / "artefact.json").is_file()
    if device and by_artefact:
        raise SettingError("An artefact answers on the processor. Leave --device out, or give the run itself.")
    if engine and not by_artefact:
        raise SettingError("--engine is for what export wrote; a run answers with torch. Export it first.")
    if not by_artefact:
        check_run(run, source)
    check_exists(source)
    if is_run(source):
        raise SettingError(
            f"{str(source)!r} is a run. Name what is to be answered about: a file, a series or a folder."
        )
    check_new_folder(out, source if source.is_dir() else source.parent)

    from ...answers import kind_of
    from ...engine.progress import SilentProgress
    from ...inference.pipeline.inputs import find_inputs
    from ...inference.pipeline.memory_limit import parse_bytes

    most = parse_bytes(ram) if ram else 0
    progress = progress or SilentProgress()
    if by_artefact:
        channels, asked, taken = start_artefact_prediction(
            Path(run), source, out, output_format=kind, engine=engine, max_memory=most, n_threads=threads
        )
    else:
        channels, asked, taken = start_run_prediction(
            run, source, out, output_format=kind, device=device, max_memory=most, n_threads=threads
        )
    total = len(find_inputs(source, channels))
    if "engine" in taken:
        progress.say(f"Answering with {taken['engine']}.")
    answers, failed = [], []
    with progress.bar("Answering") as bar:
        for number, answered in enumerate(asked):
            bar(number + 1, total, "")
            if answered.failure_reason:
                failed.append({"input": answered.source, "why": answered.failure_reason})
                progress.say(f"{answered.source}: {answered.failure_reason}")
                continue
            for sentence in answered.messages:
                progress.say(f"{answered.source}: {sentence}")
            written = [str(p) for p in answered.written_files]
            summary = kind_of(answered.answer).summary(answered.answer)
            answers.append({"input": answered.source, "written": written, "said": summary})
    if not answers:
        raise MedgradError(f"No answer could be given: {failed[0]['why']}")
    text = "\n".join(f"{a['input']}: {a['said']} -> {', '.join(a['written'])}" for a in answers)
    return {"text": text, "answers": answers, "failed": failed, **taken}


PreparedPrediction = tuple[tuple[str, ...], Iterable[Any], dict[str, Any]]
"""The channels of a case, the answers as they are asked for, and what is to be said about who answers."""


def start_run_prediction(
    run: Path, source: Path, out: Path, *, output_format: str, device: str | None, max_memory: int, n_threads: int
) -> PreparedPrediction:
    """Start the prediction with a run."""
    from ...engine.compute.device import set_threads
    from ...engine.evaluation.predict import predict_with_run as predictions_of
    from ...engine.runs.run import Run, open_run
    from ...machine.cores import choose_threads

    Run(Path(run)).load_recipe().build_task().check_predict()
    trained = open_run(run, device=device)
    used = set_threads(choose_threads(n_threads))
    asked = predictions_of(trained, source, out, file_format=output_format, memory=max_memory)
    return trained.task.channels, asked, {"threads": used}


def start_artefact_prediction(
    folder: Path, source: Path, out: Path, *, output_format: str, engine: str, max_memory: int, n_threads: int
) -> PreparedPrediction:
    """Start the prediction with an artefact and the fastest backend that agrees; torch is not needed."""
    from ...data.dicom.write.equipment import Algorithm
    from ...inference.artefact.artefact import open_artefact
    from ...inference.artefact.predictor import predictor_of
    from ...inference.artefact.select_backend import select_backend
    from ...inference.pipeline.pipeline import predict_all
    from ...machine.cores import choose_threads

    artefact = open_artefact(folder)
    used = choose_threads(n_threads)
    forward, chosen, tried = select_backend(artefact, backend_name=engine, n_threads=used)
    predictor = predictor_of(artefact, forward, file_format=output_format)
    asked = predict_all(
        predictor,
        source,
        out,
        task=artefact.task_name,
        dims=artefact.dims,
        file_format=output_format,
        algorithm=Algorithm(f"{artefact.task_name} by {chosen.name}", artefact.weight_files),
        memory=max_memory,
        takes=artefact.input_spec,
    )
    rows = [{"engine": t.name, "seconds": t.seconds, **t.agreement.as_dict()} for t in tried]
    return artefact.channels, asked, {"engine": chosen.name, "threads": used, "tried": rows}


THIS = predict

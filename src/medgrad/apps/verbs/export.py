"""``medgrad export``: export a run for runtimes without torch."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from ... import registry
from ...engine.progress import Progress
from ._checks import check_choice, check_cohort_folder, check_new_folder, check_number, check_output_unused, check_run


def export(
    run: Annotated[Path, typer.Argument(help="The run.")],
    *,
    to: Annotated[str, typer.Option(help="onnx, openvino, torch-export or monai-bundle.")] = "onnx",
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Where to (default: into the run).")] = None,
    int8: Annotated[bool, typer.Option("--int8", help="In 8 bits, measured on training patients.")] = False,
    calibrate: Annotated[Path | None, typer.Option(help="Cases to measure on, if the run's own are gone.")] = None,
    tolerance: Annotated[float | None, typer.Option(help="How far off answers may be, as a share.")] = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Write a run as an artefact that answers without torch; it fails unless both give the same answers."""
    check_choice("--to", to, [n.replace("_", "-") for n in registry.names("export")])
    check_number("--tolerance", tolerance, minimum=0)
    check_run(run)
    check_new_folder(out, run)
    check_output_unused(out, "artefact.json", description="artefact")
    if calibrate is not None:
        check_cohort_folder(calibrate)

    from ...export import export as make

    done = make(
        run, out, target_name=to, as_int8=int8, calibration_folder=calibrate, tolerance=tolerance, progress=progress
    )
    text = (
        f"{done.folder}: {done.n_bytes / 1e6:.3g} MB, agrees with the run on {done.agreement.cases} "
        f"{done.evaluated_on}: "
        f"{done.agreement.words}"
    )
    agreed = {**done.agreement.as_dict(), "on": done.evaluated_on}
    return {
        "text": text,
        "artefact": str(done.folder),
        "bytes": done.n_bytes,
        "agreement": agreed,
        "ways": done.agreement_by_backend,
    }


THIS = export

"""``medgrad make``: make images with a run that learned to generate them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from ...engine.progress import Progress
from ._arguments import Device, Seed
from ._checks import check_device, check_new_folder, check_number, check_output_unused, check_run


def make(
    run: Annotated[Path, typer.Argument(help="A run of the task generation.")],
    *,
    out: Annotated[Path, typer.Option("--out", "-o", help="The folder to write into.")],
    number: Annotated[int, typer.Option("--number", "-n", help="How many images to make.")] = 16,
    seed: Seed = 0,
    device: Device = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Make images from noise, each by its own seed; make.json says which, and by which weights."""
    check_number("--number", number, minimum=1)
    check_number("--seed", seed, minimum=0)
    check_device(device)
    check_run(Path(run))
    check_new_folder(Path(out), Path(run))
    check_output_unused(Path(out), "make.json", description="images that make wrote")

    from ...data.checksum import hash_file
    from ...engine.evaluation.opened_run import open_run
    from ...engine.progress import SilentProgress

    opened = open_run(run, device=device)
    cases = [opened.task.noise_case(f"synthetic_{index:04d}", (seed, index)) for index in range(number)]
    progress = progress or SilentProgress()
    made: list[dict[str, Any]] = []
    with progress.bar("Making") as bar:
        for index, case in enumerate(cases):
            answer = opened.predict_case(case)
            made.append({"file": str(write_made(Path(out), case.id, answer)), "seed": [seed, index]})
            bar(index + 1, number, "")
    weights = [hash_file(path) for path in opened.trained.weight_files]
    record = {"run": str(run), "weights_sha256": weights, "synthetic": True, "images": made}
    (Path(out) / "make.json").write_text(json.dumps(record, indent=2), encoding="utf-8")
    text = "\n".join(str(one["file"]) for one in made)
    return {"text": text, "record": str(Path(out) / "make.json"), **record}


def write_made(out: Path, name: str, image: Any) -> Path:
    """Write a made image: a volume as NIfTI, a flat one as TIFF, whose values are real numbers."""
    from ...data.formats import write

    return write(out / f"{name}{'.nii.gz' if image.grid.dims == 3 else '.tiff'}", image)


THIS = make

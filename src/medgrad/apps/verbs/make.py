"""``medgrad make``: make images with a run that learned to generate them; copies of patients are withheld."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ...engine.progress import Progress
from ...errors import MedgradError
from ._arguments import Device, Seed
from ._checks import (
    check_choice,
    check_device,
    check_exists,
    check_new_folder,
    check_number,
    check_output_unused,
    check_run,
)

if TYPE_CHECKING:
    from ...data import Case
    from ...data.dicom.write.equipment import Algorithm
    from ...engine.evaluation.memorisation import MemorisationCheck


def make(
    run: Annotated[Path, typer.Argument(help="A run of the task generation.")],
    *,
    out: Annotated[Path, typer.Option("--out", "-o", help="The folder to write into.")],
    number: Annotated[int, typer.Option("--number", "-n", help="How many images to make.")] = 16,
    label: Annotated[str, typer.Option(help="Of which class, if the run learned classes; else as they occurred.")] = "",
    kind: Annotated[str, typer.Option("--format", help="dicom, not NIfTI or TIFF.")] = "",
    seed: Seed = 0,
    data: Annotated[
        Path | None, typer.Option(help="Where the images that the run learned from are now, if they were moved.")
    ] = None,
    device: Device = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Make images from noise, each by its own seed; copies of training patients are withheld, and make.json says so."""
    check_number("--number", number, minimum=1)
    check_number("--seed", seed, minimum=0)
    check_choice("--format", kind, ("dicom",))
    check_device(device)
    check_run(Path(run))
    check_new_folder(Path(out), Path(run))
    if data is not None:
        check_exists(data)
    check_output_unused(Path(out), "make.json", description="images that make wrote")

    from ...data.dicom.write.equipment import Algorithm
    from ...engine.evaluation.memorisation import check_memorisation
    from ...engine.evaluation.opened_run import open_run
    from ...engine.progress import SilentProgress

    opened = open_run(run, device=device)
    cases = [opened.task.noise_case(f"synthetic_{index:04d}", (seed, index), label) for index in range(number)]
    progress = progress or SilentProgress()
    answers = []
    with progress.bar("Making") as bar:
        for index, case in enumerate(cases):
            answers.append(opened.predict_case(case))
            bar(index + 1, number, "")
    progress.say("Looking for copies of training patients ...")
    checked = check_memorisation(run, [answer.array for answer in answers], data=data, seed=seed, device=device)
    for sentence in describe_check(checked):
        progress.say(sentence)
    withheld = set(checked.copies.copies) if checked.copies else set()
    algorithm = Algorithm(f"{opened.task.kind} by {opened.recipe.model['name']}", opened.trained.weight_files)
    made = [
        {
            "file": str(write_made(folder_of(Path(out), case) / case.id, answer, case, algorithm if kind else None)),
            "seed": [seed, index],
            **case.metadata,
        }
        for index, (case, answer) in enumerate(zip(cases, answers, strict=True))
        if index not in withheld
    ]
    if not made:
        raise MedgradError(
            "Every image is a copy of a training patient, so none was written. Learn from more patients."
        )
    record = {
        "run": str(run),
        "weights_sha256": list(algorithm.weight_hashes),
        "synthetic": True,
        "images": made,
        "withheld": sorted(withheld),
        "memorisation": checked.as_dict(),
    }
    (Path(out) / "make.json").write_text(json.dumps(record, indent=2), encoding="utf-8")
    text = "\n".join(str(one["file"]) for one in made)
    return {"text": text, "record": str(Path(out) / "make.json"), **record}


def describe_check(checked: MemorisationCheck) -> list[str]:
    """Say in sentences what was found of copies and of membership."""
    if checked.reason:
        return [checked.reason]
    said = [check.reason for check in (checked.copies, checked.membership) if check is not None and check.reason]
    if checked.copies is not None and checked.copies.copies:
        said.append(
            f"{len(checked.copies.copies)} images are as near to a training patient as a copy, and are withheld."
        )
    if checked.is_flagged:
        said.append("This run has memorised training patients. Do not hand it on.")
    return said


def folder_of(out: Path, case: Case) -> Path:
    """Give the folder that a made image is written into: one for each class, where the run learned classes."""
    if "label" not in case.metadata:
        return out
    folder = out / re.sub(r"[^\w .-]", "_", case.metadata["label"])
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def write_made(path: Path, image: Any, case: Case, dicom_by: Algorithm | None) -> Path:
    """Write a made image: a volume as NIfTI, a flat one as TIFF, whose values are real numbers, or as a DICOM series.

    ``path`` has no ending.
    """
    if dicom_by is not None:
        from ...data.dicom.write.synthetic import write_synthetic_series

        return write_synthetic_series(path, image, label=case.metadata.get("label", ""), made_by=dicom_by)[0].parent
    from ...data.formats import write

    return write(path.with_name(f"{path.name}{'.nii.gz' if image.grid.dims == 3 else '.tiff'}"), image)


THIS = make

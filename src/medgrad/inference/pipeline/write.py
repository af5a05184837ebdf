"""An answer on its way out: written in the format in which its image came, and told in a few numbers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from ...data import Boxes, Deformation, Image, LabelMap, Scores, Source
from ...data.atomic_files import write_text
from ...data.cohorts import Entry
from ...data.dicom.write.equipment import Algorithm
from ...data.formats import Kind, holding, read, suffix_of, write, write_boxes
from ...errors import MedgradError
from ..decode import likeliest
from .write_dicom import CHANCES, LABELS, is_dicom, put_chances, put_labels

WRITTEN_AS = {".nii": ".nii", ".nii.gz": ".nii.gz", ".png": ".png", ".tif": ".tif", ".tiff": ".tif", ".npy": ".npz"}


def write_answer(
    said: Any,
    entry: Entry,
    source: Source,
    out: Path,
    kind: str,
    *,
    maker: Algorithm | None = None,
    image: Image | None = None,
) -> list[Path]:
    """Write one answer: labels in the input's format (or in ``kind``), probabilities as JSON.

    ``image`` is what was read from the source, where it is still at hand; else it is read again where it is needed.
    """
    with holding([]):  # the headers of a series are read once, however often an object refers to them
        return put_one(said, entry, source, out, kind, maker or Algorithm(), image)


def put_one(
    said: Any, entry: Entry, source: Source, out: Path, kind: str, maker: Algorithm, image: Image | None
) -> list[Path]:
    """Write one answer."""
    if kind in CHANCES:
        if not isinstance(said, Image):
            raise MedgradError(
                f"--format {kind} is for the chances of labels, which this answer is not. Leave --format out."
            )
        return put_chances(out / f"{entry.id}.dcm", said, source, kind, maker)
    if isinstance(said, LabelMap):
        if kind == "json":
            path = out / f"{entry.id}.json"
            write_text(path, json.dumps(volumes(said), indent=1) + "\n")
            return [path]
        ending = ".nii.gz" if kind == "nifti" else ".dcm" if kind in LABELS else WRITTEN_AS.get(suffix_of(source.path))
        if ending is None:
            ending = ".dcm" if is_dicom(source.path) else (".nii.gz" if said.grid.dims == 3 else ".png")
        path = out / f"{entry.id}{ending}"
        if ending == ".dcm":
            return put_labels(path, said, source, kind or "dicomseg", maker, image=image)
        return [write(path, said)]
    if isinstance(said, Boxes):
        if kind == "sr":
            from ...data.dicom.write.box_report import write_report

            return [write_report(out / f"{entry.id}.dcm", said, (image or read(source)).grid, source, maker=maker)]
        way: Kind = "coco" if kind == "coco" else "json" if kind == "json" else "csv"
        path = out / f"{entry.id}{'.coco.json' if way == 'coco' else f'.{way}'}"
        return [write_boxes(path, said, (image or read(source)).grid, kind=way, image_name=source.path.name)]
    if isinstance(said, Scores):
        path = out / f"{entry.id}.json"
        write_text(path, json.dumps(scores(said), indent=1) + "\n")
        return [path]
    if isinstance(said, Deformation):
        raise MedgradError("A run that registers answers about two images: medgrad register FIXED MOVING --run RUN.")
    raise MedgradError(f"An answer of the kind {type(said).__name__} cannot be written yet.")


def summary(said: Any) -> dict[str, Any]:
    """Tell an answer in a few numbers: volumes, probabilities, or how many boxes of each label are likely right."""
    if isinstance(said, (LabelMap, Image)):
        return volumes(likeliest(said) if isinstance(said, Image) else said)
    if isinstance(said, Boxes):
        sure = np.ones(len(said.labels)) if said.scores is None else said.scores
        return {name: int(((said.labels == kind) & (sure >= 0.5)).sum()) for kind, name in said.names.items()}
    return scores(said)


def volumes(labels: LabelMap) -> dict[str, Any]:
    """How much there is of each label: elements and, where the spacing is known, millilitres (or square mm)."""
    found = {}
    for value, name in labels.names.items():
        count = int((labels.array == value).sum())
        unit = labels.grid.voxel_mm
        size = {"volume_ml": count * unit / 1000} if labels.grid.dims == 3 else {"area_mm2": count * unit}
        found[name] = {"elements": count} | (size if labels.grid.measured else {})
    return found


def scores(said: Scores) -> dict[str, Any]:
    """The probability of each class, and the most likely one."""
    values = {n: round(float(v), 6) for n, v in zip(said.names, said.values, strict=True)}
    return {"probabilities": values} | ({"answer": said.best} if said.exclusive else {})

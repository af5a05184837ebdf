"""Answer about new images, each answer in the format in which the image came."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..data import Boxes, Deformation, Entry, LabelMap, Scores, Source
from ..data.cohort import Cohort
from ..data.formats import format_of, read, rows, suffix_of, write
from ..data.formats._boxes_write import Kind, write_boxes
from ..errors import FormatError, MedgradError
from .answer import answer
from .checkpoint import write_text
from .pictures import write_overlay
from .run import Trained

WRITTEN_AS = {".nii": ".nii", ".nii.gz": ".nii.gz", ".png": ".png", ".tif": ".tif", ".tiff": ".tif", ".npy": ".npz"}


@dataclass(frozen=True)
class Answered:
    """One input, where its answer was written, and what to tell; ``failed`` says why there is none."""

    source: str
    written: tuple[Path, ...] = ()
    said: Any = None
    failed: str = ""


def inputs_of(path: Path, channels: tuple[str, ...]) -> list[Entry]:
    """Find what is to be answered about: one file, one DICOM series, or every image of a folder.

    Where a network takes several channels, files that differ only in ``_0000``, ``_0001`` are one case. Every row of a
    table of numbers is one.
    """
    if not path.exists():
        raise FormatError(f"{str(path)!r} does not exist. Check the path.")
    if rows.claims(path):
        name = channels[0] if channels else "features"
        return [Entry(one, {name: Source(path, item)}) for one, item in rows.named_rows(path)]
    if path.is_file() or is_series(path):
        return [Entry(name_of(path), {channels[0] if channels else "image": Source(path)})]
    files = sorted(p for p in path.iterdir() if not p.name.startswith(".") and (p.is_file() or is_series(p)))
    files = [p for p in files if is_series(p) or is_image(p)]
    if not files:
        raise FormatError(f"{str(path)!r} holds no image that can be read.")
    if len(channels) < 2:
        return [Entry(name_of(p), {channels[0] if channels else "image": Source(p)}) for p in files]
    cases: dict[str, dict[str, Source]] = {}
    for file in files:
        name, _, number = name_of(file).rpartition("_")
        if not number.isdigit() or int(number) >= len(channels):
            raise FormatError(
                f"{file.name!r}: the run takes the channels {', '.join(channels)}; name the files of a case "
                "NAME_0000, NAME_0001, ... in this order."
            )
        cases.setdefault(name, {})[channels[int(number)]] = Source(file)
    return [Entry(name, {c: found[c] for c in channels if c in found}) for name, found in cases.items()]


def is_series(path: Path) -> bool:
    """Tell whether a folder is read as one thing (a DICOM series)."""
    if not path.is_dir():
        return False
    try:
        return format_of(path) is not None
    except MedgradError:
        return False


def is_image(path: Path) -> bool:
    """Tell whether a file is in a format that holds images."""
    try:
        return format_of(path).read is not None and not rows.claims(path)
    except MedgradError:
        return False


def name_of(path: Path) -> str:
    """Give a file's name without its ending."""
    return path.name[: -len(suffix_of(path))] if path.is_file() and suffix_of(path) else path.name


def predict(trained: Trained, path: Path, out: Path, *, kind: str = "") -> Iterator[Answered]:
    """Answer about every input, write each answer, and yield what happened; one bad file does not stop the others."""
    channels = trained.task.channels
    entries = inputs_of(path, channels)
    cohort = Cohort(path, "inputs", trained.task.kind, tuple(entries), dims=trained.task.dims)
    for entry in entries:
        source = next(iter(entry.images.values()))
        try:
            case = cohort.load(entry)
            said = answer(
                trained.models,
                trained.task,
                case,
                steps=trained.steps,
                patch=trained.recipe.training.patch,
                place=trained.place,
                how=trained.recipe.answering,
            )
            written = put(said, entry, source, out, kind)
            if isinstance(said, Boxes) and not kind:
                written.append(write_overlay(out / f"{entry.id}.png", case, said))
            yield Answered(str(source), tuple(written), said)
        except (MedgradError, ValueError, OSError) as reason:
            yield Answered(str(source), failed=" ".join(str(reason).split()))


def put(said: Any, entry: Entry, source: Source, out: Path, kind: str) -> list[Path]:
    """Write one answer: labels in the input's format (or in ``kind``), probabilities as JSON."""
    if isinstance(said, LabelMap):
        if kind == "json":
            path = out / f"{entry.id}.json"
            write_text(path, json.dumps(volumes(said), indent=1) + "\n")
            return [path]
        ending = {"nifti": ".nii.gz", "dicomseg": ".dcm"}.get(kind) or WRITTEN_AS.get(suffix_of(source.path))
        if ending is None:
            ending = ".dcm" if is_dicom(source.path) else (".nii.gz" if said.grid.dims == 3 else ".png")
        path = out / f"{entry.id}{ending}"
        if ending == ".dcm":
            from ..data.formats.dicomseg import write_segmentation

            return [write_segmentation(path, said, source)]
        return [write(path, said)]
    if isinstance(said, Boxes):
        if kind == "sr":
            from ..data.formats._boxes_write_sr import write_report

            return [write_report(out / f"{entry.id}.dcm", said, read(source).grid, source)]
        way: Kind = "coco" if kind == "coco" else "json" if kind == "json" else "csv"
        path = out / f"{entry.id}{'.coco.json' if way == 'coco' else f'.{way}'}"
        return [write_boxes(path, said, read(source).grid, kind=way, image_name=source.path.name)]
    if isinstance(said, Scores):
        path = out / f"{entry.id}.json"
        write_text(path, json.dumps(scores(said), indent=1) + "\n")
        return [path]
    if isinstance(said, Deformation):
        raise MedgradError("A run that registers answers about two images: medgrad register FIXED MOVING --run RUN.")
    raise MedgradError(f"An answer of the kind {type(said).__name__} cannot be written yet.")


def in_short(said: Any) -> dict[str, Any]:
    """Tell an answer in a few numbers: volumes, probabilities, or how many boxes of each label are likely right."""
    if isinstance(said, LabelMap):
        return volumes(said)
    if isinstance(said, Boxes):
        sure = np.ones(len(said.labels)) if said.scores is None else said.scores
        return {name: int(((said.labels == kind) & (sure >= 0.5)).sum()) for kind, name in said.names.items()}
    return scores(said)


def is_dicom(path: Path) -> bool:
    """Tell whether an image came as DICOM."""
    return ".dcm" in format_of(path).suffixes


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

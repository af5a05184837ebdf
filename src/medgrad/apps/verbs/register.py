"""``medgrad register``: register two images, rigidly, affinely or by a deformation."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ... import registry
from ...engine.progress import Progress
from ...errors import SettingError
from ._arguments import Device, Threads
from ._checks import (
    check_choice,
    check_device,
    check_exists,
    check_new_folder,
    check_number,
    check_run,
    parse_path_pair,
    read_task_name,
)

if TYPE_CHECKING:
    from ...data import Deformation, Grid, Image, LabelMap
    from ...data.transform import Transform

TRANSFORM_KINDS = ("rigid", "similarity", "affine", "deformable")
PathPair = tuple[Path, Path]


def register(
    fixed: Annotated[Path, typer.Argument(help="The image that stays.")],
    moving: Annotated[Path, typer.Argument(help="The image that is moved onto it.")],
    *,
    out: Annotated[Path, typer.Option("--out", "-o", help="The folder to write.")],
    kind: Annotated[str, typer.Option(help="rigid, similarity, affine or deformable.")] = "deformable",
    similarity: Annotated[str, typer.Option(help="How alike is measured; auto looks at the images.")] = "auto",
    max_rotation: Annotated[float, typer.Option(help="The largest turn to look for, in degrees; 0 for none.")] = 60.0,
    effort: Annotated[float, typer.Option(help="How many times as many steps a stage may take.")] = 1.0,
    smoothness: Annotated[
        float | None, typer.Option(help="What bending costs, from 0.03 to 1000; without it, the pair itself is asked.")
    ] = None,
    roi: Annotated[
        list[str] | None,
        typer.Option(metavar="FIXED,MOVING", help="Masks of both images, with a comma: only what is not 0 counts."),
    ] = None,
    run: Annotated[Path | None, typer.Option(help="A run of fit --task registration, to begin with.")] = None,
    device: Device = None,
    threads: Threads = 0,
    labels: Annotated[
        list[str] | None,
        typer.Option(metavar="FIXED,MOVING", help="Label maps of both images, with a comma, to judge by."),
    ] = None,
    landmarks: Annotated[
        list[str] | None,
        typer.Option(metavar="FIXED.csv,MOVING.csv", help="Landmarks of both images, with a comma, to judge by."),
    ] = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Register two images: rigid, similarity, affine, or deformable by a diffeomorphism."""
    check_choice("--kind", kind, TRANSFORM_KINDS)
    check_choice("--similarity", similarity, ["auto", *registry.names("losses.similarity")])
    check_number("--max-rotation", max_rotation, minimum=0, maximum=180)
    check_number("--effort", effort, minimum=0)
    check_number("--smoothness", smoothness, minimum=0)
    check_device(device)
    check_number("--threads", threads, minimum=0)
    masks, tables, rois = (
        parse_path_pair("--labels", labels),
        parse_path_pair("--landmarks", landmarks),
        parse_path_pair("--roi", roi),
    )
    for path in (fixed, moving):
        check_exists(path)
    if run is not None:
        check_run(run)
        if (task := read_task_name(Path(run))) not in (None, "registration"):
            raise SettingError(f"{str(run)!r} was made for {task}. Give a run that fit made with --task registration.")
    check_new_folder(out, fixed, moving)
    check_landmark_tables(tables)

    from ...data.formats import read
    from ...engine.compute.device import set_threads
    from ...engine.progress import SilentProgress
    from ...machine.cores import choose_threads
    from ...registration.register import RegistrationOptions
    from ...registration.register import register as line_up
    from ...registration.result_folder import write_result

    still, other = read(fixed), read(moving)
    settings = RegistrationOptions(max_rotation=max_rotation, step_factor=effort, smoothness=smoothness)
    regions = read_regions(rois, still.grid, other.grid) if rois else None
    truths = read_truths(masks, tables, still.grid, other.grid)
    threads = set_threads(choose_threads(threads))
    begun = predict_transform(run, still, other, device) if run else None
    found = line_up(
        still,
        other,
        kind=kind,  # type: ignore[arg-type]
        similarity=similarity,
        options=settings,
        initial=begun,
        regions=regions,
        progress=progress or SilentProgress(),
    )
    figures = registration_metrics(truths, found.transform.to_deformation(), n_threads=threads)
    files = write_result(out, found, still, other, requested_kind=kind, metrics=figures)
    return {
        "out": str(out),
        "kind": found.kind,
        "similarity": found.similarity,
        "smoothness": found.smoothness,
        "told": list(found.messages),
        "threads": threads,
        "metrics": {name: {"value": value} for name, value in figures.items()},
        "files": files,
    }


def check_landmark_tables(tables: PathPair | None) -> None:
    """Raise unless tables of landmarks, where given, have columns of coordinates; no image is read."""
    from ...data.formats import check_landmarks

    for path in tables or ():
        check_landmarks(path)


def predict_transform(run: Path, fixed: Image, moving: Image, device: str | None) -> Transform:
    """Predict the transform with a registration run."""
    from ...engine.runs.run import open_run
    from ...registration.with_network import register_with_network

    return register_with_network(open_run(run, device=device), fixed, moving)


def read_regions(rois: PathPair, fixed: Grid, moving: Grid) -> tuple[LabelMap, LabelMap]:
    """Read the region masks of both images."""
    from ...data.formats import read_labels

    return read_labels(rois[0], reference_grid=fixed), read_labels(rois[1], reference_grid=moving)


def read_truths(labels: PathPair | None, landmarks: PathPair | None, fixed: Grid, moving: Grid) -> list[Any]:
    """Read the truth of both images (labels and landmarks), before any computation."""
    from ...data import Pair
    from ...data.formats import read_labels, read_landmarks

    truths = []
    if labels:
        truths.append(Pair(read_labels(labels[0], reference_grid=fixed), read_labels(labels[1], reference_grid=moving)))
    if landmarks:
        both = Pair(read_landmarks(landmarks[0], fixed), read_landmarks(landmarks[1], moving))
        truths.append(match_landmarks(both))
    return truths


def match_landmarks(landmark_pair: Any) -> Any:
    """Keep the landmarks that both images have, by name; without names they correspond in order."""
    import numpy as np

    from ...data import Landmarks, Pair

    one, other = landmark_pair.fixed, landmark_pair.moving
    if not one.names or not other.names:
        return landmark_pair
    shared = [n for n in one.names if n in other.names]
    if not shared:
        raise ValueError("The two tables of landmarks have no name in common.")
    pick = lambda marks: np.stack([marks.points[marks.names.index(n)] for n in shared])  # noqa: E731
    return Pair(Landmarks(pick(one), tuple(shared)), Landmarks(pick(other), tuple(shared)))


def registration_metrics(
    truth_pairs: list[Any], deformation: Deformation, *, n_threads: int = 1
) -> dict[str, float | None]:
    """Compute every metric of a deformation for which the truth is given."""
    from ...machine.threads import run_together
    from ...metrics import folded_fraction, inverse_consistency_mm, log_jacobian, tre_mm, warped_dice

    of_pairs = [
        partial(metric.compute, truth, deformation) for truth in truth_pairs for metric in (warped_dice, tre_mm)
    ]
    alone = [
        partial(metric.compute, None, deformation) for metric in (folded_fraction, log_jacobian, inverse_consistency_mm)
    ]
    figures: dict[str, float | None] = {}
    for found in run_together([*of_pairs, *alone], n_threads=n_threads):
        figures |= found
    return figures


THIS = register

"""``medgrad register``: register two images, rigidly, affinely or by a deformation."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ... import registry
from ...engine.progress import Progress
from ._arguments import Device, Threads
from ._options import (
    check_choice,
    check_device,
    check_new_folder,
    check_number,
    check_registers,
    check_run,
    check_there,
    pair_of,
)

if TYPE_CHECKING:
    from ...data import Deformation, Grid, Image, LabelMap
    from ...data.transform import Transform

KINDS = ("rigid", "similarity", "affine", "deformable")
Two = tuple[Path, Path]


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
    check_choice("--kind", kind, KINDS)
    check_choice("--similarity", similarity, ["auto", *registry.names("losses.similarity")])
    check_number("--max-rotation", max_rotation, least=0, most=180)
    check_number("--effort", effort, least=0)
    check_number("--smoothness", smoothness, least=0)
    check_device(device)
    check_number("--threads", threads, least=0)
    masks, tables, rois = pair_of("--labels", labels), pair_of("--landmarks", landmarks), pair_of("--roi", roi)
    for path in (fixed, moving):
        check_there(path)
    if run is not None:
        check_run(run)
        check_registers(run, wanted=True)
    check_new_folder(out, fixed, moving)
    check_tables_of_points(tables)

    from ...data.formats import read
    from ...engine.compute.device import use_threads
    from ...engine.progress import Silent
    from ...machine.cores import fitting_threads
    from ...registration.register import Settings
    from ...registration.register import register as line_up
    from ...registration.result_folder import save

    still, other = read(fixed), read(moving)
    settings = Settings(turns=max_rotation, effort=effort, smoothness=smoothness)
    regions = within(rois, still.grid, other.grid) if rois else None
    truths = known(masks, tables, still.grid, other.grid)
    threads = use_threads(fitting_threads(threads))
    begun = asked(run, still, other, device) if run else None
    found = line_up(
        still,
        other,
        kind=kind,  # type: ignore[arg-type]
        similarity=similarity,
        settings=settings,
        begun=begun,
        regions=regions,
        progress=progress or Silent(),
    )
    figures = judged(truths, found.transform.deformation())
    files = save(out, found, still, other, asked=kind, figures=figures)
    return {
        "out": str(out),
        "kind": found.kind,
        "similarity": found.similarity,
        "smoothness": found.smoothness,
        "told": list(found.told),
        "threads": threads,
        "metrics": {name: {"value": value} for name, value in figures.items()},
        "files": files,
    }


def check_tables_of_points(tables: Two | None) -> None:
    """Raise unless tables of landmarks, where given, have columns of coordinates; no image is read."""
    from ...data.formats import check_landmarks

    for path in tables or ():
        check_landmarks(path)


def asked(run: Path, fixed: Image, moving: Image, device: str | None) -> Transform:
    """Predict the transform with a registration run."""
    from ...engine.runs.run import open_run
    from ...registration.with_network import register_with_network

    return register_with_network(open_run(run, device=device), fixed, moving)


def within(rois: Two, fixed: Grid, moving: Grid) -> tuple[LabelMap, LabelMap]:
    """Read the region masks of both images."""
    from ...data.formats import read_labels

    return read_labels(rois[0], like=fixed), read_labels(rois[1], like=moving)


def known(labels: Two | None, landmarks: Two | None, fixed: Grid, moving: Grid) -> list[Any]:
    """Read the truth of both images (labels and landmarks), before any computation."""
    from ...data import Pair
    from ...data.formats import read_labels, read_landmarks

    truths = []
    if labels:
        truths.append(Pair(read_labels(labels[0], like=fixed), read_labels(labels[1], like=moving)))
    if landmarks:
        both = Pair(read_landmarks(landmarks[0], fixed), read_landmarks(landmarks[1], moving))
        truths.append(paired(both))
    return truths


def paired(both: Any) -> Any:
    """Keep the landmarks that both images have, by name; without names they correspond in order."""
    import numpy as np

    from ...data import Landmarks, Pair

    one, other = both.fixed, both.moving
    if not one.names or not other.names:
        return both
    shared = [n for n in one.names if n in other.names]
    if not shared:
        raise ValueError("The two tables of landmarks have no name in common.")
    pick = lambda marks: np.stack([marks.points[marks.names.index(n)] for n in shared])  # noqa: E731
    return Pair(Landmarks(pick(one), tuple(shared)), Landmarks(pick(other), tuple(shared)))


def judged(truths: list[Any], deformation: Deformation) -> dict[str, float | None]:
    """Compute every metric of a deformation for which the truth is given."""
    from ...metrics import folding, inverse_mm, log_jacobian, moved_dice, tre_mm

    figures: dict[str, float | None] = {}
    for truth in truths:
        for metric in (moved_dice, tre_mm):
            figures |= metric.compute(truth, deformation)
    for metric in (folding, log_jacobian, inverse_mm):
        figures |= metric.compute(None, deformation)
    return figures


THIS = register

"""``medgrad transform``: apply a registration to another image, label map or table of landmarks."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from ._checks import check_exists, check_new_file, check_registration


def transform(
    registration: Annotated[Path, typer.Argument(help="The folder that register wrote.")],
    thing: Annotated[Path, typer.Argument(metavar="INPUT", help="An image, a label map or a table of landmarks.")],
    *,
    out: Annotated[Path, typer.Option("--out", "-o", help="The file to write.")],
    labels: Annotated[bool, typer.Option("--labels", help="INPUT is a label map: take the nearest label.")] = False,
) -> dict[str, Any]:
    """Move an image, a label map or landmarks of the moving image onto the fixed one."""
    check_registration(registration)
    check_exists(thing)
    check_new_file(out, thing, such_as="moved.nii.gz")

    from ...data.formats import read, read_labels, read_landmarks, write, write_landmarks
    from ...data.transform import warp_image, warp_labels, warp_landmarks
    from ...registration.result_folder import read_transform

    moves, moving = read_transform(registration)
    if thing.suffix.lower() == ".csv":
        marks = warp_landmarks(read_landmarks(thing, moving), moves)
        return {"out": str(write_landmarks(out, marks, moves.grid)), "landmarks": len(marks.points)}
    found: Any = read_labels(thing, reference_grid=moving) if labels else read(thing)
    if found.grid.dims != moves.grid.dims:
        raise ValueError(
            f"{str(thing)!r} has {found.grid.dims} axes, but the registration is of images of {moves.grid.dims}."
        )
    moved = warp_labels(found, moves) if labels else warp_image(found, moves)
    return {"out": str(write(out, moved)), "shape": list(moved.grid.shape)}


THIS = transform

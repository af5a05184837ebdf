"""Register two images by gradient descent: the transform is the model, and the pair is the only batch."""

from __future__ import annotations

from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from .. import registry
from ..data import Image, LabelMap
from ..data.grid import as_rows
from ..data.transform import Transform, interpolate, linear, voxels
from ..engine.progress import Progress, Silent
from .contrast import in_one_contrast
from .deformable import Bend, Effort, deformable_stage
from .image_pyramid import GreyImage, grey
from .linear import coarse_search, linear_part
from .quality import MOST, share_of_shifted

Kind = Literal["rigid", "similarity", "affine", "deformable"]
Matrix = NDArray[np.float64]
SAME, OTHER = "lncc", "mutual_information"
BENT = 0.1
"""Where a curve explains so much more of one image by the other than a straight line does, their contrast differs."""

EFFORTS = {2: Effort(0.01, 8, 3), 3: Effort(0.03, 4, 1)}
ASKED = Effort(0.003, 8, 2)
"""Where a smoothness was asked for, it is gone on until that alone decides."""
DOUBTFUL = 0.8
"""Images that are more than so much as unlike as when they are shifted may bend calmly, others more."""
CALM, WILD = 0.22, 0.45
"""The most that the log Jacobian of a bend may spread on the level that is judged; finer ones add a little."""


@dataclass(frozen=True)
class Settings:
    """How hard to look, and how soft the moving image is.

    ``turns`` is the largest turn in degrees that is looked for, 0 where both lie almost alike; ``tries`` as many turns
    are followed up. ``effort`` multiplies the most steps that each stage may take. ``smoothness`` is what bending
    costs; without it, the pair itself is asked.
    """

    turns: float = 60.0
    tries: int = 2
    effort: float = 1.0
    smoothness: float | None = None


@dataclass(frozen=True)
class Registered:
    """The transform from the fixed image to the moving one, the measure it was found by, and what there is to tell.

    ``kind`` is that of the transform: where bending is not shown to help, it is affine though it was to be deformable.
    """

    transform: Transform
    similarity: str
    told: tuple[str, ...]
    kind: str = "deformable"
    smoothness: float | None = None


@dataclass(frozen=True)
class Found:
    """The result in one of both directions."""

    matrix: Matrix
    bend: Bend | None
    similarity: str
    told: tuple[str, ...]
    kind: str

    def transform(self, image: Image, *, back: bool) -> Transform:
        """Give the transform on the grid of an image: the fixed one or, with ``back``, the moving one."""
        if self.bend is not None:
            return self.bend.inverse(image.grid) if back else self.bend.transform(image.grid)
        matrix = np.linalg.inv(self.matrix).astype(float) if back else self.matrix
        return Transform(as_rows(matrix), image.grid)


def register(
    fixed: Image,
    moving: Image,
    *,
    kind: Kind = "deformable",
    similarity: str = "auto",
    settings: Settings | None = None,
    begun: Transform | None = None,
    regions: tuple[LabelMap, LabelMap] | None = None,
    progress: Progress | None = None,
) -> Registered:
    """Find where each point of the fixed image lies in the moving one.

    First turns and shifts are tried on a coarse grid and the best few followed; then the linear part is learned from
    coarse to fine; then, for ``deformable``, a way that can be undone. ``auto`` takes local correlation where both
    images show the same contrast, else mutual information; which one it took is told. Where a transform has ``begun``
    the way, such as the answer of a network, only its bend is refined. Of the images only their ``regions`` count,
    where these are given.

    Which image stands still is up to the images, so that both directions are the inverse of each other.
    """
    check(fixed, moving, kind, similarity)
    how, progress = settings or Settings(), progress or Silent()
    still, other = (grey(i, r) for i, r in zip((fixed, moving), regions or (None, None), strict=True))
    if begun is not None:
        return refined(fixed, still, other, begun, similarity, how)
    back = order(moving) < order(fixed)
    pair = (other, still) if back else (still, other)
    found = searched(*pair, (fixed.modality, moving.modality), kind, similarity, how, progress)
    stiffness = None if found.bend is None else found.bend.stiffness
    return Registered(found.transform(fixed, back=back), found.similarity, found.told, found.kind, stiffness)


def order(image: Image) -> tuple[float, int, str]:
    """Give the key that decides which image is fixed internally: smaller extent, then fewer elements, then content."""
    size = float(np.prod(image.grid.shape) * abs(np.linalg.det(image.grid.matrix)))
    return size, image.array.size, sha256(np.ascontiguousarray(image.array).tobytes()).hexdigest()


def searched(
    still: GreyImage,
    other: GreyImage,
    modalities: tuple[str | None, str | None],
    kind: str,
    similarity: str,
    how: Settings,
    progress: Progress,
) -> Found:
    """Run the stages: initial alignment, linear transform, deformation."""
    first = "similarity" if kind == "similarity" else "rigid"
    told, asked = [], similarity
    with progress.bar("Looking for the best start"):
        start, line, curve = coarse_search(still, other, first, turns=how.turns, tries=how.tries, effort=how.effort)
    if similarity == "auto":
        similarity, why = chosen(*modalities, line, curve)
        told.append(why)
        progress.say(why)
    with progress.bar("Lining up"):
        plan = "affine" if kind == "deformable" and how.smoothness is not None else kind
        matrix = linear_part(still, other, start, plan, similarity, effort=how.effort)
    if (left := share_of_shifted(still, other, matrix)) > MOST:
        told.append(poor(left))
        progress.say(told[-1])
        if first != "rigid":
            start, *_ = coarse_search(still, other, "rigid", turns=how.turns, tries=how.tries, effort=how.effort)
        if kind != "rigid":
            matrix = linear_part(still, other, start, "rigid", similarity, effort=how.effort)
        return Found(matrix, None, similarity, tuple(told), "rigid")
    if kind != "deformable":
        return Found(matrix, None, similarity, tuple(told), kind)
    with progress.bar("Bending"):
        bend = bend_of(still, other, matrix, asked, how, CALM if left > DOUBTFUL else WILD)
    if bend is not None:
        told.append(f"The bend was taken to be as free as a smoothness of {bend.stiffness:g} leaves it.")
        return Found(matrix, bend, similarity, tuple(told), kind)
    told.append(
        "Bending was not shown to help: what it gained where it was learned, it did not gain elsewhere. "
        "So the affine transform is given."
    )
    progress.say(told[-1])
    with progress.bar("Lining up"):
        matrix = linear_part(still, other, start, "affine", similarity, effort=how.effort)
    return Found(matrix, None, similarity, tuple(told), "affine")


def bend_of(
    fixed: GreyImage, moving: GreyImage, matrix: Matrix, similarity: str, how: Settings, spread: float
) -> Bend | None:
    """Fit the deformation, by local correlation in one contrast where the images have two."""
    measure = similarity
    if similarity in ("auto", OTHER):
        fixed, moving = in_one_contrast(fixed, moving, matrix)
        measure = SAME
    effort = EFFORTS[fixed.grid.dims] if how.smoothness is None else ASKED
    effort = replace(effort, most=round(effort.most * how.effort))
    return deformable_stage(fixed, moving, matrix, measure, stiffness=how.smoothness, spread=spread, effort=effort)


def poor(left: float) -> str:
    """Make the message that a registration is not plausible."""
    return (
        f"Laid on each other, the images are {left:.0%} as unlike as when they are shifted; at most {MOST:.0%} would "
        "show that they belong together. They may not show the same, so no more than a rigid transform is given."
    )


def refined(
    fixed: Image, still: GreyImage, other: GreyImage, begun: Transform, similarity: str, how: Settings
) -> Registered:
    """Refine an initial transform by a deformation."""
    measure = SAME if similarity == "auto" else similarity
    told = "A network has begun the way, and descent on the pair has refined it."
    if how.effort <= 0:
        return Registered(begun, measure, (told,))
    ends = begun.to_moving(voxels(still.grid))
    array, region = (None if a is None else interpolate(a, other.grid, ends) for a in (other.array, other.region))
    assert array is not None  # only a region may be missing
    seen = GreyImage(array.astype(np.float32), still.grid, True, None if region is None else region.astype(np.float32))
    one = np.eye(fixed.grid.dims + 1)
    bend = bend_of(still, seen, one, measure, how, WILD)
    if bend is None:
        return Registered(begun, measure, (told + " It found nothing to add.",))
    points = bend.transform(fixed.grid).to_moving(voxels(fixed.grid))
    whole = linear(np.linalg.inv(np.array(begun.matrix)), begun.to_moving(points)) - voxels(fixed.grid)
    transform = Transform(begun.matrix, fixed.grid, whole.astype(np.float32))
    return Registered(transform, measure, (told,), smoothness=bend.stiffness)


def check(fixed: Image, moving: Image, kind: str, similarity: str) -> None:
    """Raise unless both images can be registered as asked."""
    if fixed.grid.dims != moving.grid.dims:
        raise ValueError(
            f"The fixed image has {fixed.grid.dims} axes and the moving one {moving.grid.dims}. Both need as many."
        )
    kinds = ("rigid", "similarity", "affine", "deformable")
    if kind not in kinds:
        raise ValueError(f"A registration is one of {', '.join(kinds)}, not {kind!r}.")
    if similarity != "auto":
        registry.find("losses.similarity", similarity)


def chosen(fixed: str | None, moving: str | None, line: float, curve: float) -> tuple[str, str]:
    """Choose the similarity measure from the modalities or, where these are open, from the images; also say why."""
    if fixed and moving and fixed != moving:
        return OTHER, f"One image is {fixed} and the other {moving}, so they are compared by {OTHER}."
    found = f"a straight line explains {max(line, 0) ** 2:.0%} of one image by the other, a curve {curve:.0%}"
    if line > 0 and curve - line**2 < BENT:
        return SAME, f"Laid on each other, {found}: the contrast is the same, so they are compared by {SAME}."
    return OTHER, f"Laid on each other, {found}: the contrast differs, so they are compared by {OTHER}."

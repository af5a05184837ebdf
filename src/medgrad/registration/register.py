"""Register two images by gradient descent: the transform is the model, and the pair is the only batch."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from hashlib import sha256
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from .. import registry
from ..data import Image, LabelMap
from ..data.grid import matrix_to_tuples
from ..data.transform import Transform, apply_affine, interpolate, voxel_positions
from ..engine.progress import Progress, SilentProgress
from ..machine.threads import run_together
from .contrast import match_contrast
from .deformable import LevelBudget, VelocityTransform, deformable_stage
from .image_pyramid import GreyImage, to_grey_image
from .linear import coarse_search, optimise_linear
from .quality import MAX_RATIO, shifted_error_ratio

Kind = Literal["rigid", "similarity", "affine", "deformable"]
Matrix = NDArray[np.float64]
SAME, OTHER = "lncc", "mutual_information"
MIN_CURVE_GAIN = 0.1
"""Where a curve explains so much more of one image by the other than a straight line does, their contrast differs."""

BUDGETS = {2: LevelBudget(0.01, 8, 3), 3: LevelBudget(0.03, 4, 1)}
FIXED_SMOOTHNESS_BUDGET = LevelBudget(0.003, 8, 2)
"""Where a smoothness was asked for, it is gone on until that alone decides."""
DOUBTFUL_RATIO = 0.8
"""Images that are more than so much as unlike as when they are shifted may bend calmly, others more."""
CALM, WILD = 0.22, 0.45
"""The most that the log Jacobian of a bend may spread on the level that is judged; finer ones add a little."""


@dataclass(frozen=True)
class RegistrationOptions:
    """How hard to look, and how soft the moving image is.

    ``max_rotation`` is the largest turn in degrees that is looked for, 0 where both lie almost alike; ``n_rotations``
    as many turns are followed up. ``step_factor`` multiplies the most steps that each stage may take. ``smoothness`` is
    what bending costs; without it, the pair itself is asked.
    """

    max_rotation: float = 60.0
    n_rotations: int = 2
    step_factor: float = 1.0
    smoothness: float | None = None


@dataclass(frozen=True)
class RegistrationResult:
    """The transform from the fixed image to the moving one, the measure it was found by, and what there is to tell.

    ``kind`` is that of the transform: where bending is not shown to help, it is affine though it was to be deformable.
    """

    transform: Transform
    similarity: str
    messages: tuple[str, ...]
    kind: str = "deformable"
    smoothness: float | None = None


@dataclass(frozen=True)
class DirectedResult:
    """The result in one of both directions."""

    matrix: Matrix
    deformation: VelocityTransform | None
    similarity: str
    messages: tuple[str, ...]
    kind: str

    def transform(self, image: Image, *, inverse: bool) -> Transform:
        """Give the transform on the grid of an image: the fixed one or, with ``inverse``, the moving one."""
        if self.deformation is not None:
            return (
                self.deformation.inverse_transform(image.grid)
                if inverse
                else self.deformation.forward_transform(image.grid)
            )
        matrix = np.linalg.inv(self.matrix).astype(float) if inverse else self.matrix
        return Transform(matrix_to_tuples(matrix), image.grid)


def register(
    fixed: Image,
    moving: Image,
    *,
    kind: Kind = "deformable",
    similarity: str = "auto",
    options: RegistrationOptions | None = None,
    initial: Transform | None = None,
    regions: tuple[LabelMap, LabelMap] | None = None,
    progress: Progress | None = None,
) -> RegistrationResult:
    """Find where each point of the fixed image lies in the moving one.

    First turns and shifts are tried on a coarse grid and the best few followed; then the linear part is learned from
    coarse to fine; then, for ``deformable``, a way that can be undone. ``auto`` takes local correlation where both
    images show the same contrast, else mutual information; which one it took is told. Where a transform has ``initial``
    the way, such as the answer of a network, only its bend is refined. Of the images only their ``regions`` count,
    where these are given.

    Which image stands still is up to the images, so that both directions are the inverse of each other.
    """
    check_pair(fixed, moving, kind, similarity)
    used_options, progress = options or RegistrationOptions(), progress or SilentProgress()
    given = zip((fixed, moving), regions or (None, None), strict=True)
    fixed_grey, moving_grey = run_together(
        [partial(to_grey_image, image, region) for image, region in given], n_threads=torch.get_num_threads()
    )
    if initial is not None:
        return refine_initial(fixed, fixed_grey, moving_grey, initial, similarity, used_options)
    swapped = image_order(moving) < image_order(fixed)
    pair = (moving_grey, fixed_grey) if swapped else (fixed_grey, moving_grey)
    found = run_stages(*pair, (fixed.modality, moving.modality), kind, similarity, used_options, progress)
    stiffness = None if found.deformation is None else found.deformation.stiffness
    return RegistrationResult(
        found.transform(fixed, inverse=swapped), found.similarity, found.messages, found.kind, stiffness
    )


def image_order(image: Image) -> tuple[float, int, str]:
    """Give the key that decides which image is fixed internally: smaller extent, then fewer elements, then content."""
    size = float(np.prod(image.grid.shape) * abs(np.linalg.det(image.grid.matrix)))
    return size, image.array.size, sha256(np.ascontiguousarray(image.array).tobytes()).hexdigest()


def run_stages(
    fixed: GreyImage,
    moving: GreyImage,
    modalities: tuple[str | None, str | None],
    kind: str,
    similarity: str,
    options: RegistrationOptions,
    progress: Progress,
) -> DirectedResult:
    """Run the stages: initial alignment, linear transform, deformation."""
    first = "similarity" if kind == "similarity" else "rigid"
    told, asked = [], similarity
    with progress.bar("Looking for the best start"):
        start, line, curve = coarse_search(
            fixed,
            moving,
            first,
            max_rotation=options.max_rotation,
            n_rotations=options.n_rotations,
            step_factor=options.step_factor,
        )
    if similarity == "auto":
        similarity, why = choose_similarity(*modalities, line, curve)
        told.append(why)
        progress.say(why)
    with progress.bar("Lining up"):
        plan = "affine" if kind == "deformable" and options.smoothness is not None else kind
        matrix = optimise_linear(fixed, moving, start, plan, similarity, step_factor=options.step_factor)
    if (left := shifted_error_ratio(fixed, moving, matrix)) > MAX_RATIO:
        told.append(poor_match_message(left))
        progress.say(told[-1])
        if first != "rigid":
            start, *_ = coarse_search(
                fixed,
                moving,
                "rigid",
                max_rotation=options.max_rotation,
                n_rotations=options.n_rotations,
                step_factor=options.step_factor,
            )
        if kind != "rigid":
            matrix = optimise_linear(fixed, moving, start, "rigid", similarity, step_factor=options.step_factor)
        return DirectedResult(matrix, None, similarity, tuple(told), "rigid")
    if kind != "deformable":
        return DirectedResult(matrix, None, similarity, tuple(told), kind)
    with progress.bar("Bending"):
        bend = fit_deformation(fixed, moving, matrix, asked, options, CALM if left > DOUBTFUL_RATIO else WILD)
    if bend is not None:
        told.append(f"The bend was taken to be as free as a smoothness of {bend.stiffness:g} leaves it.")
        return DirectedResult(matrix, bend, similarity, tuple(told), kind)
    told.append(
        "Bending was not shown to help: what it gained where it was learned, it did not gain elsewhere. "
        "So the affine transform is given."
    )
    progress.say(told[-1])
    with progress.bar("Lining up"):
        matrix = optimise_linear(fixed, moving, start, "affine", similarity, step_factor=options.step_factor)
    return DirectedResult(matrix, None, similarity, tuple(told), "affine")


def fit_deformation(
    fixed: GreyImage,
    moving: GreyImage,
    matrix: Matrix,
    similarity: str,
    options: RegistrationOptions,
    max_log_jacobian_std: float,
) -> VelocityTransform | None:
    """Fit the deformation, by local correlation in one contrast where the images have two."""
    measure = similarity
    if similarity in ("auto", OTHER):
        fixed, moving = match_contrast(fixed, moving, matrix)
        measure = SAME
    effort = BUDGETS[fixed.grid.dims] if options.smoothness is None else FIXED_SMOOTHNESS_BUDGET
    effort = replace(effort, max_steps=round(effort.max_steps * options.step_factor))
    return deformable_stage(
        fixed,
        moving,
        matrix,
        measure,
        stiffness=options.smoothness,
        max_log_jacobian_std=max_log_jacobian_std,
        budget=effort,
    )


def poor_match_message(ratio: float) -> str:
    """Make the message that a registration is not plausible."""
    return (
        f"Laid on each other, the images are {ratio:.0%} as unlike as when they are shifted; at most "
        f"{MAX_RATIO:.0%} would "
        "show that they belong together. They may not show the same, so no more than a rigid transform is given."
    )


def refine_initial(
    fixed: Image,
    fixed_grey: GreyImage,
    moving_grey: GreyImage,
    initial: Transform,
    similarity: str,
    options: RegistrationOptions,
) -> RegistrationResult:
    """Refine an initial transform by a deformation."""
    measure = SAME if similarity == "auto" else similarity
    told = "A network has begun the way, and descent on the pair has refined it."
    if options.step_factor <= 0:
        return RegistrationResult(initial, measure, (told,))
    ends = initial.to_moving(voxel_positions(fixed_grey.grid))
    array, region = (
        None if a is None else interpolate(a, moving_grey.grid, ends) for a in (moving_grey.array, moving_grey.region)
    )
    assert array is not None  # only a region may be missing
    seen = GreyImage(
        array.astype(np.float32), fixed_grey.grid, True, None if region is None else region.astype(np.float32)
    )
    one = np.eye(fixed.grid.dims + 1)
    bend = fit_deformation(fixed_grey, seen, one, measure, options, WILD)
    if bend is None:
        return RegistrationResult(initial, measure, (told + " It found nothing to add.",))
    points = bend.forward_transform(fixed.grid).to_moving(voxel_positions(fixed.grid))
    whole = apply_affine(np.linalg.inv(np.array(initial.matrix)), initial.to_moving(points)) - voxel_positions(
        fixed.grid
    )
    transform = Transform(initial.matrix, fixed.grid, whole.astype(np.float32))
    return RegistrationResult(transform, measure, (told,), smoothness=bend.stiffness)


def check_pair(fixed: Image, moving: Image, kind: str, similarity: str) -> None:
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


def choose_similarity(
    fixed: str | None, moving: str | None, correlation: float, correlation_ratio: float
) -> tuple[str, str]:
    """Choose the similarity measure from the modalities or, where these are open, from the images; also say why."""
    if fixed and moving and fixed != moving:
        return OTHER, f"One image is {fixed} and the other {moving}, so they are compared by {OTHER}."
    found = (
        f"a straight line explains {max(correlation, 0) ** 2:.0%} of one image by the other, a curve "
        f"{correlation_ratio:.0%}"
    )
    if correlation > 0 and correlation_ratio - correlation**2 < MIN_CURVE_GAIN:
        return SAME, f"Laid on each other, {found}: the contrast is the same, so they are compared by {SAME}."
    return OTHER, f"Laid on each other, {found}: the contrast differs, so they are compared by {OTHER}."

"""Memorisation: whether images are copies of a run's training patients, and whether its losses tell who they are."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from ...data import Image
from ...data.cohorts import Cohort
from ...descent.gradients import Gradients, build_gradients, total_loss
from ...errors import LayoutError, SettingError
from ...tasks import stack_samples
from ...trust.copies import CopyCheck, find_copies
from ...trust.membership import MembershipCheck, check_membership
from ..loading.batches import encode_case
from ..loading.cache import PreparedCase, load_prepared_cases
from ..loading.degrade import build_degradations
from ..loading.sampling import crop_case, grid_patch_starts
from ..runs.run import TrainedRun, open_run
from ..runs.training_data import load_fold_cohorts

Array = NDArray[np.floating[Any]]
IMAGE_ANSWERS = ("image", "synthetic_image")


@dataclass(frozen=True)
class MemorisationCheck:
    """What was found of copies and of membership; None where it was not looked for, with the ``reason``."""

    copies: CopyCheck | None = None
    membership: MembershipCheck | None = None
    reason: str = ""

    @property
    def is_flagged(self) -> bool | None:
        """Whether either check is; None where neither reports anything."""
        found = [check.is_flagged for check in (self.copies, self.membership) if check is not None]
        known = [flag for flag in found if flag is not None]
        return any(known) if known else None

    def as_dict(self) -> dict[str, Any]:
        """Give it as plain values."""
        return {
            "copies": self.copies and self.copies.as_dict(),
            "membership": self.membership and self.membership.as_dict(),
            "reason": self.reason,
            "is_flagged": self.is_flagged,
        }


def check_memorisation(
    run: Path | str,
    images: Sequence[Array] = (),
    *,
    data: Path | None = None,
    draws: int = 16,
    seed: int = 0,
    device: str | None = None,
) -> MemorisationCheck:
    """Check images for copies of a run's training patients, and the run's losses for membership.

    ``images`` are arrays of one shape, as the run made them; without any, only the losses are checked. ``data`` is
    where the training data is now, if it was moved. A loss is the mean over ``draws`` of the noise. Of a run with folds
    the losses are those of the first.
    """
    folder = Path(run)
    trained = open_run(folder, device=device)
    if trained.task.outputs.answer not in IMAGE_ANSWERS:
        raise SettingError(
            f"Memorisation is checked where a run answers images, but {str(folder)!r} answers "
            f"{trained.task.outputs.answer!r}. Give a run of another task."
        )
    try:
        cohort = load_fold_cohorts(folder, data)[0].serving(trained.task.kind, trained.task.truth)
    except LayoutError as reason:
        return MemorisationCheck(reason=f"Nothing was checked: {reason}")
    inside, outside = (prepared(trained, cohort, split) for split in ("train", "val"))
    if not inside:
        return MemorisationCheck(reason=f"Nothing was checked: no training case of {str(folder)!r} can be read.")
    known = [*inside, *outside] if len(trained.networks) > 1 else inside  # every fold is trained on by another network
    copies = find_copies(images, *arrays_of(known, images[0].shape, trained.task.dims), seed=seed) if images else None
    members, held_out = (case_losses(trained, cases, draws=draws, seed=seed) for cases in (inside, outside))
    membership = check_membership(
        members,
        held_out,
        member_patients=[patient_of(case) for case in inside],
        held_out_patients=[patient_of(case) for case in outside],
        seed=seed,
    )
    return MemorisationCheck(copies, membership)


def prepared(trained: TrainedRun, cohort: Cohort, split: Any) -> list[PreparedCase]:
    """Give the cases of a split that can be read, prepared and degraded as for the run's validation."""
    cases, _ = load_prepared_cases(
        cohort.in_splits(split), trained.prepare_steps, degradations=build_degradations(trained.recipe.augment)
    )
    return cases


def patient_of(ready: PreparedCase) -> str:
    """Give the patient of a case."""
    return ready.case.patient or ready.case.id


def arrays_of(cases: Sequence[PreparedCase], shape: Sequence[int], dims: int) -> tuple[list[Array], list[str]]:
    """Give the images that were to be learned, cropped or padded to the shape of those made, and their patients."""
    truths = [(case.case.truth, patient_of(case)) for case in cases]
    known = [(truth.array, patient) for truth, patient in truths if isinstance(truth, Image)]
    return [crop_or_pad(array, shape, dims) for array, _ in known], [patient for _, patient in known]


def crop_or_pad(array: Array, shape: Sequence[int], dims: int) -> Array:
    """Crop an image at its centre, or repeat its border, until it has a shape; channels are as they are."""
    for axis, wanted in enumerate(shape[:dims]):
        spare = array.shape[axis] - wanted
        if spare > 0:
            array = np.take(array, range(spare // 2, spare // 2 + wanted), axis)
        elif spare < 0:
            room = [(0, 0)] * array.ndim
            room[axis] = (-spare // 2, -spare - -spare // 2)
            array = np.pad(array, room, mode="edge")
    return array


def case_losses(trained: TrainedRun, cases: Iterable[PreparedCase], *, draws: int, seed: int) -> NDArray[np.float64]:
    """Give the loss (n,) of each case under the first network: the mean over its patches and some draws of chance.

    It is what the rule that computes the gradients of the run reports. Every case meets the same draws.
    """
    rule, network = build_gradients(trained.recipe.gradients).links[0][1], trained.networks[0].eval()
    return np.array([case_loss(trained, ready, rule, network, range(seed, seed + draws)) for ready in cases])


def case_loss(
    trained: TrainedRun, ready: PreparedCase, rule: Gradients, network: nn.Module, seeds: Sequence[int]
) -> float:
    """Give the mean loss of a case over its patches and the seeds of torch's generator."""
    patch, task, found = trained.recipe.training.patch, trained.task, []
    for starts in in_groups(grid_patch_starts(ready.case.grid.shape, patch), trained.recipe.training.batch):
        batch = stack_samples([encode_case(task, crop_case(ready.case, start, patch)) for start in starts])
        batch = trained.compute.move_batch(batch)
        for number in seeds:
            with torch.random.fork_rng(), torch.enable_grad():
                torch.manual_seed(number)
                found.append((total_loss(rule(network, task, batch)), len(starts)))
            network.zero_grad(set_to_none=True)
    losses, sizes = zip(*found, strict=True)
    return float(np.average(losses, weights=sizes))


def in_groups(values: Iterable[Any], size: int) -> Iterator[list[Any]]:
    """Yield lists of at most so many values."""
    rest = iter(values)
    while group := list(islice(rest, size)):
        yield group

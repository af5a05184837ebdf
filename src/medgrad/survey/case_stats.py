"""Statistics of one case for planning: its size, channels and some of its values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..data import Boxes, Case, Image, LabelMap
from ..data.cohorts import Cohort, Entry
from ..errors import MedgradError
from ..prepare.reorient import Reorient


@dataclass(frozen=True)
class CaseStats:
    """One case as a plan sees it.

    ``values`` are some elements of the first image, of what is labelled where something is. ``row`` is a row of a
    table, with the names of its columns. ``truth_values`` are some elements of a truth that is an image. ``failure``
    says why nothing could be read.
    """

    failure: str = ""
    channels: tuple[str, ...] = ()
    n_channels: int = 0
    modalities: tuple[str, ...] = ()
    has_spacing: bool = False
    shape: tuple[int, ...] = ()
    spacing: tuple[float, ...] = ()
    values: NDArray[Any] | None = None
    labelled_share: float = 0.0
    is_8_bit: bool = False
    row: tuple[tuple[str, ...], NDArray[Any]] | None = None
    between_patients: bool = False
    boxes: tuple[NDArray[np.float64], NDArray[np.int64]] | None = None
    truth_values: NDArray[Any] | None = None


def gather_case_stats(cohort: Cohort, entry: Entry) -> CaseStats:
    """Read a case and give what a plan must know of it, its axes turned to those of the body."""
    try:
        case = cohort.load_case(entry)
    except MedgradError as reason:
        return CaseStats(failure=str(reason) or "nothing")
    if not case.images:
        return CaseStats(shape=case.grid.shape, spacing=case.grid.spacing)
    case = Reorient().apply(case)[0] if case.grid.dims == 3 else case
    first = next(iter(case.images.values()))
    return CaseStats(
        channels=tuple(case.images),
        n_channels=sum(i.channels for i in case.images.values()),
        modalities=tuple(i.modality for i in case.images.values() if i.modality),
        has_spacing=case.grid.has_spacing,
        shape=case.grid.shape,
        spacing=case.grid.spacing,
        values=sample_values(case),
        labelled_share=compute_labelled_share(case),
        is_8_bit=all(i.array.dtype == np.uint8 for i in case.images.values()),
        row=(tuple(first.tags["columns"]), first.array) if case.grid.dims == 1 else None,
        between_patients=bool(case.metadata.get("across")),
        boxes=(case.truth.corners, case.truth.labels) if isinstance(case.truth, Boxes) else None,
        truth_values=thin_out(case.truth.channels_first[0]) if isinstance(case.truth, Image) else None,
    )


def sample_values(case: Case) -> NDArray[Any]:
    """Give some of the labelled elements of the first image, or of all elements."""
    plane = next(iter(case.images.values())).channels_first[0]
    inside = plane
    if isinstance(case.truth, LabelMap) and case.truth.array.shape == plane.shape and case.truth.array.any():
        inside = plane[case.truth.array > 0]
    return thin_out(inside)


def thin_out(values: NDArray[Any]) -> NDArray[Any]:
    """Give an even sample of values."""
    return values.ravel()[:: max(1, values.size // 20_000)].copy()


def compute_labelled_share(case: Case) -> float:
    """The share of a case that is labelled."""
    return float((case.truth.array > 0).mean()) if isinstance(case.truth, LabelMap) else 0.0

"""Encode a case as the input array of a network."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ..data import Case


def stack_channels(case: Case, channels: Sequence[str]) -> NDArray[np.float32]:
    """Stack the images of a case into channels (channels, *shape): the named ones, or all in their order."""
    names = channels or list(case.images)
    missing = [n for n in names if n not in case.images]
    if missing:
        raise ValueError(
            f"Case {case.id!r} has the images {list(case.images)}, but {missing} is needed. "
            "Add it, or leave the case out."
        )
    planes = [case.images[n].channels_first.astype(np.float32) for n in names]
    return planes[0] if len(planes) == 1 else np.concatenate(planes)

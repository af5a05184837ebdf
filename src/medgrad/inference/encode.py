"""Encode a case as the input array of a network."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ..data import Case


def stack_channels(case: Case, channels: Sequence[str]) -> NDArray[np.float32]:
    """Stack the images of a case into channels (channels, *shape): the named ones, or all in their order."""
    names = input_names(case, channels)
    missing = [n for n in names if n not in case.images]
    if missing:
        raise ValueError(
            f"Case {case.id!r} has the images {list(case.images)}, but {missing} is needed. "
            "Add it, or leave the case out."
        )
    planes = [case.images[n].channels_first.astype(np.float32) for n in names]
    return planes[0] if len(planes) == 1 else np.concatenate(planes)


def input_names(case: Case, channels: Sequence[str]) -> list[str]:
    """Name the images that a network takes: the named ones, or all, but those that were fused into another."""
    fused = {name for image in case.images.values() for name in image.tags.get("fused", ())[1:]}
    return [name for name in (channels or case.images) if name in case.images or name not in fused]

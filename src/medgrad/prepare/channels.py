"""Convert every image to one number of channels: grey to colour or colour to grey."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ..data import Case, Image, SyntheticImage
from ._step import Memo, Step, map_images


@dataclass(frozen=True)
class Channels(Step):
    """``to`` channels: a grey image is repeated, a coloured one becomes the mean of its channels, transparency goes.

    0 leaves all as they are. An image that is the truth is converted too, and an answer is brought back.
    """

    to: int = 0

    def apply(self, case: Case) -> tuple[Case, Memo]:
        first, truth = next(iter(case.images.values())), case.truth
        if isinstance(truth, Image) and not isinstance(truth, SyntheticImage):
            truth = self.convert_channels(truth)
        memo = Memo(case.grid, {"channels": first.channels})
        return replace(map_images(case, self.convert_channels), truth=truth), memo

    def undo_values(self, image: Image, memo: Memo) -> Image:
        back = memo.values["channels"]
        changed = self.to == image.channels and 1 in (back, self.to)
        return Channels(back).convert_channels(image) if changed else image

    def convert_channels(self, image: Image) -> Image:
        """Give one image with as many channels as are wanted."""
        if self.to in (0, image.channels):
            return image
        if image.channels in (2, 4):  # the last is how opaque it is
            seen = image.array[..., 0] if image.channels == 2 else image.array[..., :3]
            return self.convert_channels(replace(image, array=seen))
        if image.channels == 1:
            grey = image.array if image.array.ndim == image.grid.dims else image.array[..., 0]
            return replace(image, array=np.repeat(grey[..., None], self.to, axis=-1))
        if self.to == 1:
            return replace(image, array=image.array.astype(np.float32).mean(axis=-1))
        raise ValueError(f"An image of {image.channels} channels cannot become one of {self.to}.")


THIS = Channels

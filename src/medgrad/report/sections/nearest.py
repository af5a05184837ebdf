"""Made images, each beside the training patient that it is nearest to."""

from __future__ import annotations

from ..contours import draw_tiles
from ..html import escape_text
from ..read_run import Picture, RunFiles
from ._section import Section

WORDS = (
    "Each image was made from noise, and stands beside the training image that it is nearest to, over flips and shifts "
    "of a few elements. How near a copy is, and whether any was made, is told by make."
)


def nearest_section(run_files: RunFiles) -> str:
    """Return the made images of a run beside their nearest patients, or nothing."""
    if not run_files.nearest:
        return ""
    figures = "".join(f'<div class="rank">{draw_pair(picture)}</div>' for picture in run_files.nearest)
    return f'<p>{WORDS}</p><div class="pictures">{figures}</div>'


def draw_pair(picture: Picture) -> str:
    """Draw a made image beside its nearest patient's."""
    tiles = draw_tiles(picture, {"made": picture.image, "nearest training image": picture.truth_image})
    return f'<figure class="picture">{tiles}<figcaption>{escape_text(picture.title)}</figcaption></figure>'


THIS = Section("Made images beside their nearest patients", nearest_section, order=41)

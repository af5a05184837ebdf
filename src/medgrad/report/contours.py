"""Draw the outlines of labels over an image as SVG."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow

from .html import escape_text, svg_image
from .read_run import Picture

# For each pattern of set corners (1 upper left, 2 upper right, 4 lower right, 8 lower left): the edges of the square
# that the outline enters and leaves by, with what is set on its right. Two touching corners stay apart.
TOP, RIGHT, BOTTOM, LEFT = (0, 1), (1, 2), (2, 1), (1, 0)
SEGMENTS: dict[int, tuple[tuple[tuple[int, int], tuple[int, int]], ...]] = {
    1: ((LEFT, TOP),),
    2: ((TOP, RIGHT),),
    3: ((LEFT, RIGHT),),
    4: ((RIGHT, BOTTOM),),
    5: ((LEFT, TOP), (RIGHT, BOTTOM)),
    6: ((TOP, BOTTOM),),
    7: ((LEFT, BOTTOM),),
    8: ((BOTTOM, LEFT),),
    9: ((BOTTOM, TOP),),
    10: ((TOP, RIGHT), (BOTTOM, LEFT)),
    11: ((BOTTOM, RIGHT),),
    12: ((RIGHT, LEFT),),
    13: ((RIGHT, TOP),),
    14: ((TOP, LEFT),),
}


def trace_outlines(mask: NDArray[np.bool_]) -> list[list[tuple[float, float]]]:
    """Trace the closed outlines of a mask by marching squares, as (x, y) in pixels.

    >>> trace_outlines(np.array([[True]]))
    [[(0.5, 0.0), (0.0, 0.5), (0.5, 1.0), (1.0, 0.5)]]
    """
    p = np.pad(mask, 1).astype(np.uint8)
    pattern = p[:-1, :-1] + 2 * p[:-1, 1:] + 4 * p[1:, 1:] + 8 * p[1:, :-1]
    after: dict[tuple[int, int], tuple[int, int]] = {}
    for row, col in np.argwhere((pattern > 0) & (pattern < 15)).tolist():
        for (r0, c0), (r1, c1) in SEGMENTS[int(pattern[row, col])]:
            after[2 * row + r0, 2 * col + c0] = (2 * row + r1, 2 * col + c1)
    found = []
    while after:
        start, place = after.popitem()
        path = [start]
        while place != start:
            path.append(place)
            place = after.pop(place)
        found.append(drop_collinear_points([(col / 2 - 0.5, row / 2 - 0.5) for row, col in path]))
    return found[::-1]


def drop_collinear_points(path: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """Drop the collinear points of a closed path, and start at the topmost."""
    n = len(path)
    kept = [
        b
        for i, b in enumerate(path)
        if abs((b[0] - path[i - 1][0]) * (path[(i + 1) % n][1] - b[1])
               - (b[1] - path[i - 1][1]) * (path[(i + 1) % n][0] - b[0])) > 1e-9
    ]  # fmt: skip
    first = min(range(len(kept)), key=lambda i: (kept[i][1], kept[i][0]))
    return kept[first:] + kept[:first]


def labels_to_svg_path(labels: NDArray[np.uint8], scale: tuple[float, float]) -> str:
    """Return the outlines of every label as one SVG path; ``scale`` is (x, y)."""
    pieces = []
    for label in np.unique(labels[labels > 0]).tolist():
        for line in trace_outlines(labels == label):
            points = [f"{x * scale[0]:.2f} {y * scale[1]:.2f}" for x, y in line]
            pieces.append(f"M{'L'.join(points)}Z")
    return "".join(pieces)


def boxes_to_svg_path(boxes: NDArray[np.float64], scale: tuple[float, float]) -> str:
    """Return the outlines of boxes as one SVG path.

    >>> boxes_to_svg_path(np.array([[-0.5, 0.5, 1.5, 2.5]]), (1.0, 2.0))
    'M1.00 0.00H3.00V4.00H1.00Z'
    """
    pieces = []
    for top, left, bottom, right in ((boxes + 0.5) * [scale[1], scale[0], scale[1], scale[0]]).tolist():
        pieces.append(f"M{left:.2f} {top:.2f}H{right:.2f}V{bottom:.2f}H{left:.2f}Z")
    return "".join(pieces)


def image_to_data_uri(image: NDArray[np.uint8]) -> str:
    """Encode an image as a PNG data URI."""
    out = io.BytesIO()
    Pillow.fromarray(image).save(out, format="PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(out.getvalue()).decode("ascii")


def draw_picture(picture: Picture) -> str:
    """Draw an image in its true proportions, with the outlines of truth and answer over it."""
    rows, columns = picture.image.shape[:2]
    unit = 320 / (columns * picture.spacing[1])
    x, y = picture.spacing[1] * unit, picture.spacing[0] * unit
    width, height = columns * x, rows * y
    place = f'width="{width:.1f}" height="{height:.1f}" preserveAspectRatio="none"'
    inside = [f'<image {place} href="{image_to_data_uri(picture.image)}"/>']
    paths = {
        kind: labels_to_svg_path(labels, (x, y))
        for kind, labels in (("truth", picture.truth_labels), ("answer", picture.answer_labels))
        if labels is not None and labels.any()
    }
    paths |= {
        kind: boxes_to_svg_path(boxes, (x, y))
        for kind, boxes in (("truth", picture.truth_boxes), ("answer", picture.answer_boxes))
        if boxes is not None and len(boxes)
    }
    inside += [f'<path class="halo" stroke-width="3.2" d="{path}"/>' for path in paths.values()]
    for kind, path in paths.items():
        # dashed and on top: where both run together, the truth shows between the dashes
        dash = ' stroke-dasharray="5 4"' if kind == "answer" else ""
        inside.append(f'<path class="{kind}" stroke-width="1.7"{dash} d="{path}"/>')
    outlined = " with the outlines of truth and answer" if has_truth(picture) else ""
    return svg_image(width, height, "".join(inside), description=f"{picture.title}: the image{outlined}")


def draw_with_images(picture: Picture) -> str:
    """Draw what was shown to the network beside the answer and the truth, in one window, and what they differ by."""
    return draw_tiles(
        picture,
        {
            "shown": picture.image,
            "answer": picture.answer_image,
            "truth": picture.truth_image,
            "answer less shown": picture.answer_residual,
            "truth less shown": picture.truth_residual,
        },
    )


def draw_tiles(picture: Picture, tiles: Mapping[str, NDArray[np.uint8] | None]) -> str:
    """Draw images of one size beside each other, each with its name; those that are not there are left out."""
    figures = [
        f"<figure>{draw_picture(Picture(f'{picture.title}: {what}', image, picture.spacing))}"
        f"<figcaption>{what}</figcaption></figure>"
        for what, image in tiles.items()
        if image is not None
    ]
    return f'<div class="beside">{"".join(figures)}</div>'


def has_truth(picture: Picture) -> bool:
    """Tell whether a picture carries what an expert drew."""
    return picture.truth_labels is not None or picture.truth_boxes is not None


def pictures_html(pictures_to_show: tuple[Picture, ...]) -> str:
    """Return all pictures in columns (best, median, worst), with a legend."""
    ranks: dict[str, list[str]] = {}
    for picture in pictures_to_show:
        rank, _, rest = picture.title.partition(": ")
        drawn = draw_picture(picture) if picture.answer_image is None else draw_with_images(picture)
        figure = f'<figure class="picture">{drawn}<figcaption>{escape_text(rest or rank)}</figcaption></figure>'
        ranks.setdefault(rank if rest else "", []).append(figure)
    columns = [
        f'<div class="rank">{f"<h3>{escape_text(rank)}</h3>" if rank else ""}{"".join(figures)}</div>'
        for rank, figures in ranks.items()
    ]
    return f'{picture_legend(pictures_to_show)}<div class="pictures">{"".join(columns)}</div>'


def picture_legend(pictures_to_show: tuple[Picture, ...]) -> str:
    """Return the legend of the outlines: line styles and label names."""
    if not any(has_truth(p) for p in pictures_to_show):
        return ""
    lines = "".join(
        f'<li><svg width="34" height="8" aria-hidden="true"><path class="{kind}"{dash} d="M1 4H33"/></svg>{kind}</li>'
        for kind, dash in (("truth", ""), ("answer", ' stroke-dasharray="5 4"'))
    )
    labels = list(dict.fromkeys(name for p in pictures_to_show for name in p.labels))
    about = f"<li>labels: {escape_text(', '.join(labels))}</li>" if labels else ""
    return f'<ul class="key">{lines}{about}</ul>'

"""Boxes by chance, and what is known of them by hand: plain loops over floats."""

import math
from itertools import combinations

import numpy as np


def random_boxes(seed, n, dims, *, size=20.0, dtype=np.float64):
    """Give n boxes of all sizes; a tenth of them are on whole numbers, so that they touch and are equal."""
    rng = np.random.default_rng(seed)
    low = rng.uniform(0, size, (n, dims))
    high = low + rng.uniform(0.2, size / 2, (n, dims))
    boxes = np.concatenate([low, high], axis=1)
    whole = rng.random(n) < 0.1
    boxes[whole] = np.round(boxes[whole] / 4) * 4
    boxes[whole, dims:] += 4 * (boxes[whole, dims:] <= boxes[whole, :dims])
    return boxes.astype(dtype)


def volume(box):
    dims = len(box) // 2
    return math.prod(max(box[dims + i] - box[i], 0.0) for i in range(dims))


def by_hand(kind, p, q):
    """Give a measure of overlap of two boxes, as its paper has it."""
    p, q = [float(v) for v in p], [float(v) for v in q]
    dims = len(p) // 2
    shared = volume([max(a, b) for a, b in zip(p[:dims], q[:dims], strict=True)]
                    + [min(a, b) for a, b in zip(p[dims:], q[dims:], strict=True)])  # fmt: skip
    union = volume(p) + volume(q) - shared
    plain = shared / union if union else 0.0
    hull = [min(a, b) for a, b in zip(p[:dims], q[:dims], strict=True)]
    hull += [max(a, b) for a, b in zip(p[dims:], q[dims:], strict=True)]
    if kind == "iou":
        return plain
    if kind == "giou":
        return plain - (volume(hull) - union) / volume(hull)
    centre = [[(b[i] + b[dims + i]) / 2 for i in range(dims)] for b in (p, q)]
    near = plain - math.dist(*centre) ** 2 / math.dist(hull[:dims], hull[dims:]) ** 2
    if kind == "diou":
        return near
    terms = []
    for i, j in combinations(range(dims), 2):
        one, two = (math.atan((b[dims + i] - b[i]) / (b[dims + j] - b[j])) for b in (p, q))
        terms.append(4 / math.pi**2 * (one - two) ** 2)
    v = sum(terms) / len(terms)
    return near - (v * v / (1 - plain + v) if v else 0.0)

"""Find near-duplicate images: candidates by perceptual hash, then a strict comparison of thumbnails."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from ._thumbnail import resized, shapes_only

Floats = NDArray[np.float32]

CANDIDATE = 0.3  # correlation of the hashes' bits from which a pair is looked at again
MOST_CANDIDATES = 20_000
MOST_ALIGNED = 1_500
NEAR_ENOUGH_TO_ALIGN = 0.3
FEW = 8  # with fewer pictures it cannot be told what they all share
STRICT = 0.97
TURNED = 0.9  # eight ways to lay one over the other score higher by chance
SAME_ANYHOW = 0.985  # so like that even one camera does not explain it
AGREE = 5.0  # the number of pictures that must agree in a direction for it to be shared
MOST_DIRECTIONS = 24
SIDE_2D = 32
SCALES = (1.0, 0.95, 1 / 0.95, 0.9, 1 / 0.9)
REACH = 6
SPLITS: dict[str | None, int] = {"train": 0, "val": 1, "test": 2}
TURNS = ("", "turned 90", "turned 180", "turned 270", "mirrored", "mirrored, 90", "mirrored, 180", "mirrored, 270")


@dataclass(frozen=True)
class Alike:
    """Two near-duplicate images, by index."""

    first: int
    second: int
    similarity: float
    turned: str = ""


def alike_pairs(
    thumbs: Sequence[NDArray[np.uint8]],
    hashes: Sequence[str],
    similarity: float,
    *,
    patients: Sequence[str],
    sides: Sequence[str | None] | None = None,
) -> list[Alike]:
    """Find the pairs of thumbnails (all 2D or all 3D) of two patients that show the same picture.

    With ``sides`` only pairs across them are given.
    """
    bands = _unit(np.stack([shapes_only(resized(t, SIDE_2D) if t.ndim == 2 else t).ravel() for t in thumbs]))
    shared = Shared.of(bands)
    own = shared.removed(bands)
    limit = similarity if len(bands) >= FEW else max(similarity, STRICT)
    found, near = [], []
    for i, j, turn in _candidates(hashes, thumbs[0].ndim, patients, sides):
        other = bands[j] if not turn else _turned(bands[j].reshape(SIDE_2D, SIDE_2D), turn).ravel()
        whole = float(bands[i] @ other)
        score = _likeness(own[i], own[j] if not turn else shared.removed(other[None])[0], thumbs[0].ndim)
        if score >= (max(limit, TURNED) if turn else limit) or whole >= SAME_ANYHOW:
            found.append(Alike(i, j, max(score, whole if whole >= SAME_ANYHOW else 0.0), TURNS[turn]))
        elif score >= NEAR_ENOUGH_TO_ALIGN and turn == 0:
            near.append((score, i, j))
    if thumbs[0].ndim == 2 and len(bands) >= FEW:
        found += _aligned(thumbs, sorted(near, reverse=True)[:MOST_ALIGNED], limit)
    return sorted(found, key=lambda a: (-a.similarity, a.first, a.second))


@dataclass(frozen=True)
class Shared:
    """The components that the images of a set share: their mean and leading principal components.

    Images of one camera share its frame and heads share a skull; only what is left tells one image from another.
    """

    mean: Floats
    basis: Floats

    @classmethod
    def of(cls, rows: Floats) -> Shared:
        if len(rows) < FEW:
            return cls(np.zeros(rows.shape[1], np.float32), np.zeros((0, rows.shape[1]), np.float32))
        sample = rows[_spread(len(rows), 600)]
        mean = sample.mean(axis=0)
        centred = sample - mean
        sizes, vectors = np.linalg.eigh((centred @ centred.T).astype(np.float64))
        chosen = [k for k in np.argsort(-sizes)[: len(sample) // 10] if sizes[k] > AGREE][:MOST_DIRECTIONS]
        basis = (vectors[:, chosen].T @ centred) / np.sqrt(np.maximum(sizes[chosen], 1e-12))[:, None]
        return cls(mean.astype(np.float32), basis.astype(np.float32))

    def removed(self, rows: Floats) -> Floats:
        """Remove the shared components from rows."""
        centred = rows - self.mean
        return (centred - (centred @ self.basis.T) @ self.basis).astype(np.float32)


def _aligned(thumbs: Sequence[NDArray[np.uint8]], near: Sequence[tuple[float, int, int]], limit: float) -> list[Alike]:
    """Compare promising pairs again, with the second image shifted and scaled a little."""
    if not near:
        return []
    shared = Shared.of(_unit(np.stack([shapes_only(thumbs[k]).ravel() for k in _spread(len(thumbs), 600)])))
    wanted = sorted({k for _, i, j in near for k in (i, j)})
    rows = shared.removed(_unit(np.stack([shapes_only(thumbs[k]).ravel() for k in wanted])))
    bands = dict(zip(wanted, rows.reshape(-1, *thumbs[0].shape), strict=True))
    limit = min(0.95, limit + 0.05)  # the best of many places scores higher by chance
    scores = ((_best_place(bands[i], bands[j]), i, j) for _, i, j in near)
    return [Alike(i, j, float(s)) for s, i, j in scores if s >= limit]


def _spread(n: int, most: int) -> list[int]:
    return sorted({int(v) for v in np.linspace(0, n - 1, min(n, most))})


def _candidates(
    hashes: Sequence[str], dims: int, patients: Sequence[str], sides: Sequence[str | None] | None
) -> Iterator[tuple[int, int, int]]:
    """Give (first, second, turn) of the pairs whose hashes come near, the best ``MOST_CANDIDATES``."""
    signs = _unit(np.stack([_signs(h) for h in hashes]))
    shared = Shared.of(signs)
    own = _unit(shared.removed(signs))
    edge = round(signs.shape[1] ** (1 / dims))
    numbers = {p: n for n, p in enumerate(dict.fromkeys(patients))}
    whose = np.array([numbers[p] for p in patients])
    side = np.array([SPLITS.get(s, -1) for s in sides]) if sides is not None else None
    found: list[NDArray[np.float64]] = []
    for turn in range(8 if dims == 2 else 1):
        turned = np.stack([_turned(o, turn).ravel() for o in signs.reshape(-1, *[edge] * dims)]) if turn else signs
        found += list(_near(own, _unit(shared.removed(turned)), turn, whose, side))
    every = np.concatenate(found) if found else np.zeros((0, 4))
    best = every[np.argsort(-every[:, 3], kind="stable")[:MOST_CANDIDATES]]
    seen: set[tuple[int, int]] = set()
    for i, j, turn in best[:, :3].astype(int).tolist():
        if (i, j) not in seen:
            seen.add((i, j))
            yield i, j, turn


def _near(
    left: Floats,
    right: Floats,
    turn: int,
    whose: NDArray[np.int64],
    side: NDArray[np.int64] | None,
    *,
    block: int = 2_000,
) -> Iterator[NDArray[np.float64]]:
    for start in range(0, len(left), block):
        scores = left[start : start + block] @ right.T  # (block, n)
        rows, columns = np.nonzero(scores >= CANDIDATE)
        keep = (rows + start < columns) & (whose[rows + start] != whose[columns])
        if side is not None:
            a, b = side[rows + start], side[columns]
            keep &= (a != b) & (a >= 0) & (b >= 0)
        rows, columns = rows[keep], columns[keep]
        values = scores[rows, columns]
        if len(values) > MOST_CANDIDATES:
            top = np.argpartition(-values, MOST_CANDIDATES)[:MOST_CANDIDATES]
            rows, columns, values = rows[top], columns[top], values[top]
        yield np.stack([rows + start, columns, np.full(len(rows), turn), values], axis=1).astype(np.float64)


def _signs(text: str) -> Floats:
    return np.unpackbits(np.frombuffer(bytes.fromhex(text), np.uint8)).astype(np.float32) * 2 - 1


def _unit(rows: Floats) -> Floats:
    return (rows / (np.linalg.norm(rows, axis=1, keepdims=True) + 1e-9)).astype(np.float32)


def _turned(image: Floats, turn: int) -> Floats:
    if turn == 0:
        return image
    around = np.rot90(image, turn % 4)
    return around[:, ::-1] if turn >= 4 else around


def _likeness(a: Floats, b: Floats, dims: int) -> float:
    """Give the correlation of two images, or the median over their 4 x 4 tiles if that is higher.

    Writing over a few tiles does not make it another image.
    """
    whole = _correlation(a, b)
    if dims != 2 or whole < NEAR_ENOUGH_TO_ALIGN:
        return whole
    edge = SIDE_2D // 4
    parts = [p.reshape(4, edge, 4, edge).swapaxes(1, 2).reshape(16, -1) for p in (a, b)]  # (16, edge * edge)
    return max(whole, float(np.median([_correlation(p, q) for p, q in zip(*parts, strict=True)])))


def _correlation(a: Floats, b: Floats) -> float:
    size = float(np.linalg.norm(a) * np.linalg.norm(b))
    return float((a * b).sum()) / size if size > 1e-12 else 0.0


@dataclass(frozen=True)
class Scalings:
    """All ways to draw out or press together a picture by up to a tenth along each axis, as matrices.

    ``rows`` is (ways, side, side) along one axis; ``known`` (ways * ways, side, side) is where something lies after
    scaling both, ``spectra`` its transforms, and ``n`` how much of it overlaps at each shift.
    """

    rows: Floats
    known: Floats
    spectra: NDArray[np.complex64]
    n: Floats


@lru_cache(maxsize=2)
def scalings(side: int) -> Scalings:
    """Make the scalings of pictures of one size."""
    centre = (side - 1) / 2
    rows = np.zeros((len(SCALES), side, side), np.float32)
    inside = np.zeros((len(SCALES), side), np.float32)
    for way, scale in enumerate(SCALES):
        for i in range(side):
            place = centre + (i - centre) * scale
            if 0 <= place <= side - 1:
                low = min(int(place), side - 2)
                rows[way, i, low], rows[way, i, low + 1] = 1 - (place - low), place - low
                inside[way, i] = 1
    known = (inside[:, None, :, None] * inside[None, :, None, :]).reshape(-1, side, side)
    spectra = _spectrum(known).conj()
    return Scalings(rows, known, spectra, np.maximum(_near_shifts(_spectrum(np.ones((side, side))) * spectra, side), 1))


def _spectrum(images: NDArray[Any]) -> NDArray[np.complex64]:
    side = images.shape[-1] + REACH + 2
    return fft.rfft2(images.astype(np.float32), (side, side))


def _near_shifts(product: NDArray[np.complex64], side: int) -> Floats:
    """Transform back, and keep the shifts up to the maximum either way."""
    whole = fft.irfft2(product, (side + REACH + 2,) * 2)
    reach = np.r_[0 : REACH + 1, whole.shape[-1] - REACH : whole.shape[-1]]
    return whole[..., reach[:, None], reach[None, :]]


def _best_place(fixed: Floats, moving: Floats) -> float:
    """Give the best correlation over small shifts and scalings, where both are known (J. P. Lewis, 1995)."""
    side = fixed.shape[0]
    ways = scalings(side)
    moved = (ways.rows[:, None] @ moving @ ways.rows.transpose(0, 2, 1)[None]).reshape(-1, side, side)
    f, f2, one = (_spectrum(v) for v in (fixed, fixed**2, np.ones_like(fixed)))
    m, m2 = _spectrum(moved).conj(), _spectrum(moved**2).conj()
    sum_f, sum_m = _near_shifts(f * ways.spectra, side), _near_shifts(one * m, side)
    spread_f = _near_shifts(f2 * ways.spectra, side) - sum_f**2 / ways.n
    spread_m = _near_shifts(one * m2, side) - sum_m**2 / ways.n
    covariance = _near_shifts(f * m, side) - sum_f * sum_m / ways.n
    floor = 1e-4 * float((fixed**2).sum()) + 1e-12
    enough = (ways.n > 0.7 * fixed.size) & (spread_f > floor) & (spread_m > floor)
    return float(np.where(enough, covariance / np.sqrt(np.where(enough, spread_f * spread_m, 1)), -1).max())

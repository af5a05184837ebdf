"""Find near-duplicate images: candidates by perceptual hash, then a strict comparison of thumbnails."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from ._thumbnail import normalise_local_contrast, resize_array

Floats = NDArray[np.float32]

MIN_HASH_CORRELATION = 0.3  # correlation of the hashes' bits from which a pair is looked at again
MAX_CANDIDATES = 20_000
MAX_ALIGNED = 1_500
MIN_SIMILARITY_TO_ALIGN = 0.3
MIN_PICTURES = 8  # with fewer pictures it cannot be told what they all share
STRICT_SIMILARITY = 0.97
TURNED_SIMILARITY = 0.9  # eight ways to lay one over the other score higher by chance
CERTAIN_SIMILARITY = 0.985  # so like that even one camera does not explain it
MIN_EIGENVALUE = 5.0  # the number of pictures that must agree in a direction for it to be shared
MAX_COMPONENTS = 24
SIDE_2D = 32
SCALES = (1.0, 0.95, 1 / 0.95, 0.9, 1 / 0.9)
MAX_SHIFT = 6
SPLITS: dict[str | None, int] = {"train": 0, "val": 1, "test": 2}
TURNS = ("", "turned 90", "turned 180", "turned 270", "mirrored", "mirrored, 90", "mirrored, 180", "mirrored, 270")


@dataclass(frozen=True)
class DuplicatePair:
    """Two near-duplicate images, by index."""

    first: int
    second: int
    similarity: float
    orientation: str = ""


def find_duplicate_pairs(
    thumbs: Sequence[NDArray[np.uint8]],
    hashes: Sequence[str],
    similarity: float,
    *,
    patients: Sequence[str],
    splits: Sequence[str | None] | None = None,
) -> list[DuplicatePair]:
    """Find the pairs of thumbnails (all 2D or all 3D) of two patients that show the same picture.

    With ``splits`` only pairs across them are given.
    """
    bands = _normalise_rows(
        np.stack([normalise_local_contrast(resize_array(t, SIDE_2D) if t.ndim == 2 else t).ravel() for t in thumbs])
    )
    shared = SharedComponents.fit(bands)
    own = shared.remove_from(bands)
    limit = similarity if len(bands) >= MIN_PICTURES else max(similarity, STRICT_SIMILARITY)
    found, near = [], []
    for i, j, turn in _candidate_pairs(hashes, thumbs[0].ndim, patients, splits):
        other = bands[j] if not turn else _orient_image(bands[j].reshape(SIDE_2D, SIDE_2D), turn).ravel()
        whole = float(bands[i] @ other)
        score = _picture_similarity(own[i], own[j] if not turn else shared.remove_from(other[None])[0], thumbs[0].ndim)
        if score >= (max(limit, TURNED_SIMILARITY) if turn else limit) or whole >= CERTAIN_SIMILARITY:
            found.append(DuplicatePair(i, j, max(score, whole if whole >= CERTAIN_SIMILARITY else 0.0), TURNS[turn]))
        elif score >= MIN_SIMILARITY_TO_ALIGN and turn == 0:
            near.append((score, i, j))
    if thumbs[0].ndim == 2 and len(bands) >= MIN_PICTURES:
        found += _match_after_alignment(thumbs, sorted(near, reverse=True)[:MAX_ALIGNED], limit)
    return sorted(found, key=lambda a: (-a.similarity, a.first, a.second))


@dataclass(frozen=True)
class SharedComponents:
    """The components that the images of a set share: their mean and leading principal components.

    Images of one camera share its frame and heads share a skull; only what is left tells one image from another.
    """

    mean: Floats
    basis: Floats

    @classmethod
    def fit(cls, rows: Floats) -> SharedComponents:
        if len(rows) < MIN_PICTURES:
            return cls(np.zeros(rows.shape[1], np.float32), np.zeros((0, rows.shape[1]), np.float32))
        sample = rows[_even_indices(len(rows), 600)]
        mean = sample.mean(axis=0)
        centred = sample - mean
        sizes, vectors = np.linalg.eigh((centred @ centred.T).astype(np.float64))
        chosen = [k for k in np.argsort(-sizes)[: len(sample) // 10] if sizes[k] > MIN_EIGENVALUE][:MAX_COMPONENTS]
        basis = (vectors[:, chosen].T @ centred) / np.sqrt(np.maximum(sizes[chosen], 1e-12))[:, None]
        return cls(mean.astype(np.float32), basis.astype(np.float32))

    def remove_from(self, rows: Floats) -> Floats:
        """Remove the shared components from rows."""
        centred = rows - self.mean
        return (centred - (centred @ self.basis.T) @ self.basis).astype(np.float32)


def _match_after_alignment(
    thumbs: Sequence[NDArray[np.uint8]], pairs: Sequence[tuple[float, int, int]], limit: float
) -> list[DuplicatePair]:
    """Compare promising pairs again, with the second image shifted and scaled a little."""
    if not pairs:
        return []
    shared = SharedComponents.fit(
        _normalise_rows(
            np.stack([normalise_local_contrast(thumbs[k]).ravel() for k in _even_indices(len(thumbs), 600)])
        )
    )
    wanted = sorted({k for _, i, j in pairs for k in (i, j)})
    rows = shared.remove_from(_normalise_rows(np.stack([normalise_local_contrast(thumbs[k]).ravel() for k in wanted])))
    bands = dict(zip(wanted, rows.reshape(-1, *thumbs[0].shape), strict=True))
    limit = min(0.95, limit + 0.05)  # the best of many places scores higher by chance
    scores = ((_best_aligned_correlation(bands[i], bands[j]), i, j) for _, i, j in pairs)
    return [DuplicatePair(i, j, float(s)) for s, i, j in scores if s >= limit]


def _even_indices(n: int, limit: int) -> list[int]:
    return sorted({int(v) for v in np.linspace(0, n - 1, min(n, limit))})


def _candidate_pairs(
    hashes: Sequence[str], dims: int, patients: Sequence[str], splits: Sequence[str | None] | None
) -> Iterator[tuple[int, int, int]]:
    """Give (first, second, turn) of the pairs whose hashes come near, the best ``MAX_CANDIDATES``."""
    signs = _normalise_rows(np.stack([_hash_to_signs(h) for h in hashes]))
    shared = SharedComponents.fit(signs)
    own = _normalise_rows(shared.remove_from(signs))
    edge = round(signs.shape[1] ** (1 / dims))
    numbers = {p: n for n, p in enumerate(dict.fromkeys(patients))}
    whose = np.array([numbers[p] for p in patients])
    side = np.array([SPLITS.get(s, -1) for s in splits]) if splits is not None else None
    found: list[NDArray[np.float64]] = []
    for turn in range(8 if dims == 2 else 1):
        turned = (
            np.stack([_orient_image(o, turn).ravel() for o in signs.reshape(-1, *[edge] * dims)]) if turn else signs
        )
        found += list(_correlated_hashes(own, _normalise_rows(shared.remove_from(turned)), turn, whose, side))
    every = np.concatenate(found) if found else np.zeros((0, 4))
    best = every[np.argsort(-every[:, 3], kind="stable")[:MAX_CANDIDATES]]
    seen: set[tuple[int, int]] = set()
    for i, j, turn in best[:, :3].astype(int).tolist():
        if (i, j) not in seen:
            seen.add((i, j))
            yield i, j, turn


def _correlated_hashes(
    left: Floats,
    right: Floats,
    turn: int,
    patient_codes: NDArray[np.int64],
    split_codes: NDArray[np.int64] | None,
    *,
    block: int = 2_000,
) -> Iterator[NDArray[np.float64]]:
    for start in range(0, len(left), block):
        scores = left[start : start + block] @ right.T  # (block, n)
        rows, columns = np.nonzero(scores >= MIN_HASH_CORRELATION)
        keep = (rows + start < columns) & (patient_codes[rows + start] != patient_codes[columns])
        if split_codes is not None:
            a, b = split_codes[rows + start], split_codes[columns]
            keep &= (a != b) & (a >= 0) & (b >= 0)
        rows, columns = rows[keep], columns[keep]
        values = scores[rows, columns]
        if len(values) > MAX_CANDIDATES:
            top = np.argpartition(-values, MAX_CANDIDATES)[:MAX_CANDIDATES]
            rows, columns, values = rows[top], columns[top], values[top]
        yield np.stack([rows + start, columns, np.full(len(rows), turn), values], axis=1).astype(np.float64)


def _hash_to_signs(text: str) -> Floats:
    return np.unpackbits(np.frombuffer(bytes.fromhex(text), np.uint8)).astype(np.float32) * 2 - 1


def _normalise_rows(rows: Floats) -> Floats:
    return (rows / (np.linalg.norm(rows, axis=1, keepdims=True) + 1e-9)).astype(np.float32)


def _orient_image(image: Floats, orientation: int) -> Floats:
    if orientation == 0:
        return image
    around = np.rot90(image, orientation % 4)
    return around[:, ::-1] if orientation >= 4 else around


def _picture_similarity(a: Floats, b: Floats, dims: int) -> float:
    """Give the correlation of two images, or the median over their 4 x 4 tiles if that is higher.

    Writing over a few tiles does not make it another image.
    """
    whole = _cosine_similarity(a, b)
    if dims != 2 or whole < MIN_SIMILARITY_TO_ALIGN:
        return whole
    edge = SIDE_2D // 4
    parts = [p.reshape(4, edge, 4, edge).swapaxes(1, 2).reshape(16, -1) for p in (a, b)]  # (16, edge * edge)
    return max(whole, float(np.median([_cosine_similarity(p, q) for p, q in zip(*parts, strict=True)])))


def _cosine_similarity(a: Floats, b: Floats) -> float:
    size = float(np.linalg.norm(a) * np.linalg.norm(b))
    return float((a * b).sum()) / size if size > 1e-12 else 0.0


@dataclass(frozen=True)
class ImageScalings:
    """All ways to draw out or press together a picture by up to a tenth along each axis, as matrices.

    ``rows`` is (ways, side, side) along one axis; ``known`` (ways * ways, side, side) is where something lies after
    scaling both, ``spectra`` its transforms, and ``n`` how much of it overlaps at each shift.
    """

    rows: Floats
    known: Floats
    spectra: NDArray[np.complex64]
    n: Floats


@lru_cache(maxsize=2)
def make_scalings(side: int) -> ImageScalings:
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
    spectra = _padded_fft(known).conj()
    return ImageScalings(
        rows, known, spectra, np.maximum(_small_shifts(_padded_fft(np.ones((side, side))) * spectra, side), 1)
    )


def _padded_fft(images: NDArray[Any]) -> NDArray[np.complex64]:
    side = images.shape[-1] + MAX_SHIFT + 2
    return fft.rfft2(images.astype(np.float32), (side, side))


def _small_shifts(product: NDArray[np.complex64], side: int) -> Floats:
    """Transform back, and keep the shifts up to the maximum either way."""
    whole = fft.irfft2(product, (side + MAX_SHIFT + 2,) * 2)
    reach = np.r_[0 : MAX_SHIFT + 1, whole.shape[-1] - MAX_SHIFT : whole.shape[-1]]
    return whole[..., reach[:, None], reach[None, :]]


def _best_aligned_correlation(fixed: Floats, moving: Floats) -> float:
    """Give the best correlation over small shifts and scalings, where both are known (J. P. Lewis, 1995)."""
    side = fixed.shape[0]
    ways = make_scalings(side)
    moved = (ways.rows[:, None] @ moving @ ways.rows.transpose(0, 2, 1)[None]).reshape(-1, side, side)
    f, f2, one = (_padded_fft(v) for v in (fixed, fixed**2, np.ones_like(fixed)))
    m, m2 = _padded_fft(moved).conj(), _padded_fft(moved**2).conj()
    sum_f, sum_m = _small_shifts(f * ways.spectra, side), _small_shifts(one * m, side)
    spread_f = _small_shifts(f2 * ways.spectra, side) - sum_f**2 / ways.n
    spread_m = _small_shifts(one * m2, side) - sum_m**2 / ways.n
    covariance = _small_shifts(f * m, side) - sum_f * sum_m / ways.n
    floor = 1e-4 * float((fixed**2).sum()) + 1e-12
    enough = (ways.n > 0.7 * fixed.size) & (spread_f > floor) & (spread_m > floor)
    return float(np.where(enough, covariance / np.sqrt(np.where(enough, spread_f * spread_m, 1)), -1).max())

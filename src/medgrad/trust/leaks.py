"""Find leaks between splits: the same patient or the same image on both sides."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ..errors import LeakError
from ._near_duplicates import DuplicatePair, find_duplicate_pairs
from ._thumbnail import make_thumbnail, perceptual_bits, to_grey

Kind = Literal["patient", "pixels", "alike"]


@dataclass(frozen=True)
class ImageRecord:
    """The identity of an image: a hash of its pixels, a perceptual hash, and a thumbnail.

    ``exact`` is empty where the image is constant: blank images tell nothing of where they come from.
    """

    id: str
    patient: str
    split: str | None
    exact: str
    perceptual: str
    thumbnail: NDArray[np.uint8]


@dataclass(frozen=True)
class Leak:
    """Two cases that must not stand on two sides; ``similarity`` is 1 for the same patient or the same pixels."""

    kind: Kind
    first: str
    second: str
    sides: tuple[str | None, str | None]
    similarity: float = 1.0
    what: str = ""

    def __str__(self) -> str:
        pair = f"{self.first!r} ({self.sides[0] or 'no side'}) and {self.second!r} ({self.sides[1] or 'no side'})"
        if self.kind == "patient":
            return f"{pair} are of one patient, {self.what!r}"
        return f"{pair} " + (
            "have the same pixels" if self.kind == "pixels" else f"show the same picture ({self.similarity:.2f})"
        )


def hash_pixels(array: NDArray[np.generic], *, dims: int | None = None) -> tuple[str, str]:
    """Give a hash of the very pixels and a hash of the look, which survives scaling, JPEG and a change of brightness.

    ``dims`` is the number of axes that are space, by default all (or all but the last of three if that has 3 or 4).
    The first hash does not depend on how the numbers are stored. Both are empty for a constant picture.

    >>> ramp = np.arange(64.0).reshape(8, 8)
    >>> hash_pixels(ramp) == hash_pixels(ramp.astype(np.uint8))
    True
    """
    exact, thumb = _exact_and_thumbnail(array, dims)
    return exact, _perceptual_hash(thumb) if exact else ""


def make_record(
    array: NDArray[np.generic],
    *,
    id: str,  # noqa: A002  (the word of the house)
    patient: str,
    split: str | None,
    dims: int,
) -> ImageRecord:
    """Make the identity record of one image."""
    exact, thumb = _exact_and_thumbnail(array, dims)
    return ImageRecord(id, patient, split, exact, _perceptual_hash(thumb) if exact else "", thumb)


def _exact_and_thumbnail(array: NDArray[np.generic], dims: int | None) -> tuple[str, NDArray[np.uint8]]:
    if dims is None:
        dims = 2 if array.ndim == 3 and array.shape[-1] in (3, 4) else array.ndim
    image: NDArray[Any] = to_grey(array, dims)
    thumb = make_thumbnail(image)
    if image.size == 0 or (image == image.flat[0]).all():
        return "", thumb
    whole = image.dtype.kind in "uib" or bool((image == np.round(image)).all() and np.abs(image).max() < 2**31)
    plain = np.ascontiguousarray(image.astype(np.int32 if whole else np.float32))
    shape = "x".join(str(s) for s in plain.shape)
    return hashlib.blake2b(shape.encode() + plain.tobytes(), digest_size=16).hexdigest(), thumb


def _perceptual_hash(thumb: NDArray[np.uint8]) -> str:
    return np.packbits(perceptual_bits(thumb)).tobytes().hex()


def near_duplicates(
    records: Sequence[ImageRecord], *, similarity: float = 0.8, across_splits: bool = False
) -> list[Leak]:
    """Find all pairs of cases with the same pixels, or of two patients that show the same picture, wherever they stand.

    A pair is the same picture if what is drawn in it (shading and fine grain taken away, and what all pictures of the
    set share) correlates by ``similarity`` or more, also after turning, mirroring, or a small crop. With
    ``across_splits`` only pairs on different sides are asked for, which is faster.

    Not surely found are crops by more than a twentieth, smaller ones of pictures with fine drawing behind a common
    frame (a fundus), and copies with writing all over pictures of little contrast.
    The cost is one matrix product of n x 256 and about 5 ms for each of at most 1,500 pairs that come near.
    """
    found = _same_pixels(records, across_splits)
    known = {frozenset((p.first, p.second)) for p in found}
    for dims in (2, 3):
        chosen = [r for r in records if r.exact and r.thumbnail.ndim == dims]
        unequal = _unique_records(chosen) if not across_splits else chosen
        for pair in _duplicate_pairs(unequal, similarity, across_splits):
            first, second = unequal[pair.first], unequal[pair.second]
            if frozenset((first.id, second.id)) not in known:
                sides = (first.split, second.split)
                found.append(Leak("alike", first.id, second.id, sides, pair.similarity, pair.orientation))
    return found


def _duplicate_pairs(records: Sequence[ImageRecord], similarity: float, across_splits: bool) -> list[DuplicatePair]:
    if len(records) < 2:
        return []
    sides = [r.split for r in records] if across_splits else None
    return find_duplicate_pairs(
        [r.thumbnail for r in records],
        [r.perceptual for r in records],
        similarity,
        patients=[r.patient or r.id for r in records],
        splits=sides,
    )


def _unique_records(records: Sequence[ImageRecord]) -> list[ImageRecord]:
    """Give the first record of each set of equal ones."""
    return list({r.exact: r for r in reversed(records)}.values())[::-1]


def _same_pixels(records: Sequence[ImageRecord], across_splits: bool) -> list[Leak]:
    by_hash: dict[str, list[ImageRecord]] = {}
    for one in records:
        if one.exact:
            by_hash.setdefault(one.exact, []).append(one)
    return [
        Leak("pixels", a.id, b.id, (a.split, b.split))
        for same in by_hash.values()
        for a, b in _link_equal_records(same)
        if not across_splits or _is_across_splits(a, b)
    ]


def _link_equal_records(records: Sequence[ImageRecord]) -> list[tuple[ImageRecord, ImageRecord]]:
    """Pair equal records: all pairs of a small set, or links to the first of each split in a large one."""
    if len(records) <= 8:
        return list(combinations(records, 2))
    heads = list({r.split: r for r in reversed(records)}.values())
    return [(head, other) for head in heads for other in records if other is not head]


def _is_across_splits(a: ImageRecord, b: ImageRecord) -> bool:
    return a.split is not None and b.split is not None and a.split != b.split


def find_leaks(records: Sequence[ImageRecord], *, similarity: float = 0.8) -> list[Leak]:
    """Find the same patient, the same pixels and the same picture on two sides of a split, in this order.

    >>> blank = np.zeros((64, 64), np.uint8)
    >>> a, b = (ImageRecord(i, "p", s, "", "", blank) for i, s in (("a", "train"), ("b", "val")))
    >>> str(find_leaks([a, b])[0])
    "'a' (train) and 'b' (val) are of one patient, 'p'"
    """
    return patients_in_two_splits(records) + near_duplicates(records, similarity=similarity, across_splits=True)


def patients_in_two_splits(records: Sequence[ImageRecord]) -> list[Leak]:
    """Give one leak for each patient who stands on more than one side."""
    by_patient: dict[str, dict[str, ImageRecord]] = {}
    for one in records:
        if one.split is not None:
            by_patient.setdefault(one.patient or one.id, {}).setdefault(one.split, one)
    return [
        Leak("patient", a.id, b.id, (a.split, b.split), what=patient)
        for patient, sides in by_patient.items()
        for a, b in combinations(sides.values(), 2)
    ]


def raise_on_leaks(leak_list: Sequence[Leak], *, allow: bool = False) -> None:
    """Raise a LeakError of one line if there are leaks, unless they are allowed."""
    if not leak_list or allow:
        return
    kinds = {"patient": "by patient", "pixels": "with the same pixels", "alike": "of the same picture"}
    counts = ", ".join(f"{n} {kinds[k]}" for k in kinds if (n := sum(f.kind == k for f in leak_list)))
    first = "; ".join(str(f) for f in leak_list[:3])
    more = f"; and {len(leak_list) - 3} more" if len(leak_list) > 3 else ""
    raise LeakError(
        f"The split leaks: {len(leak_list)} pair{'s' if len(leak_list) > 1 else ''} on both sides "
        f"({counts}): {first}{more}. "
        "Move both of a pair to one side, or split anew by patient, or go on all the same with --allow-leak."
    )

"""Split cohorts into train, val and test by patient, stratified by class and reproducible by seed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from ...errors import LayoutError, SettingError
from ..types import Scores
from .cohort import Cohort, Entry, with_split
from .split_files import apply_split, counted, read_split, with_split_beside

__all__ = ["apply_split", "folds", "read_split", "split", "with_split_beside"]

Pairs = Sequence[tuple[str, str]]


def split(cohort: Cohort, *, val: float = 0.2, test: float = 0.0, seed: int = 0, together: Pairs = ()) -> Cohort:
    """Assign each case to ``train``, ``val`` or ``test``, with all cases of a patient in the same split.

    A split that came with the data is kept and only missing parts are filled: validation patients are taken from
    train. Cases without truth are in no split. ``together`` lists pairs of cases that must share a split. A
    message on what was done is added to ``told``.
    """
    for name, share in (("val", val), ("test", test)):
        if not 0 <= share < 1:
            raise SettingError(f"{name} is a share of the patients, from 0 to below 1, but got {share}.")
    if val + test >= 1:
        raise SettingError(f"val {val} and test {test} leave nobody to train on. Make them smaller.")
    usable = [e for e in cohort.entries if e.truth is not None or cohort.task == "registration"]
    if not usable:
        raise LayoutError(f"No case in {str(cohort.root)!r} has a truth, so nothing can be learned from it.")
    have = {e.split for e in usable} - {None}
    if not have:
        return _anew(cohort, usable, val=val, test=test, seed=seed, together=together)
    return _filled(cohort, usable, have, val=val, test=test, seed=seed, together=together)


def _anew(cohort: Cohort, usable: list[Entry], *, val: float, test: float, seed: int, together: Pairs) -> Cohort:
    groups = _groups(usable, together)
    sides = _drawn(groups, {"test": test, "val": val}, seed)
    of_case = {e.id: side for group, side in zip(groups, sides, strict=True) for e in group}
    told = f"Split by patient with seed {seed}: {counted(sides)} patients, {counted(of_case.values())} cases."
    return replace(_placed(cohort, of_case), told=(*cohort.told, told))


def _filled(
    cohort: Cohort,
    usable: list[Entry],
    have: set[str | None],
    *,
    val: float,
    test: float,
    seed: int,
    together: Pairs,
) -> Cohort:
    """Keep the given splits; fill train from cases without a split, and val and test from train."""
    told: list[str] = []
    of_case = {e.id: str(e.split) for e in usable if e.split}
    loose = [e for e in usable if e.split is None]
    if "train" not in have:
        patients = {e.patient or e.id for e in usable if e.split}
        of_case |= {e.id: "train" for e in loose if (e.patient or e.id) not in patients}
        told.append(f"{counted(of_case.values())} cases: those on no side train.")
    elif loose:
        told.append(f"{len(loose)} cases stand on no side of the set's own split and are left out.")
    wanted = {side: share for side, share in (("test", test), ("val", val)) if share > 0 and side not in have}
    pool = [e for e in usable if of_case.get(e.id) == "train"]
    if not pool:
        raise LayoutError(f"The split of {str(cohort.root)!r} leaves nobody to train on. Give one with --split.")
    if wanted:
        groups = _groups(pool, together)
        sides = _drawn(groups, wanted, seed)
        of_case |= {e.id: side for group, side in zip(groups, sides, strict=True) for e in group}
        names = " and ".join(sorted(wanted))
        told.append(f"The set's split has no {names}, so it is taken from train, by patient, with seed {seed}.")
    return replace(_placed(cohort, of_case), told=(*cohort.told, *told))


def folds(cohort: Cohort, k: int, seed: int = 0, *, together: Pairs = ()) -> tuple[Cohort, ...]:
    """Give ``k`` cross-validation folds as cohorts.

    In each, another k-th of the patients is ``val`` and the rest ``train``. Test cases stay ``test``; a given
    split into train and val is pooled.
    """
    usable = [e for e in cohort.entries if e.truth is not None and e.split != "test"]
    pool = [e for e in usable if e.split is not None] if any(e.split == "train" for e in usable) else usable
    groups = _groups(pool, together)
    if k < 2 or k > len(groups):
        raise SettingError(f"{k} folds need at least 2, and at most as many as there are patients ({len(groups)}).")
    order = _stratified(groups, np.random.default_rng(seed))
    fold_of = {group: place % k for place, group in enumerate(order)}
    kept = {e.id: "test" for e in cohort.entries if e.split == "test" and e.truth is not None}
    every = []
    for fold in range(k):
        sides = {e.id: "val" if fold_of[g] == fold else "train" for g, group in enumerate(groups) for e in group}
        told = f"Fold {fold + 1} of {k}, by patient, with seed {seed}: {counted(sides.values())} cases."
        every.append(replace(_placed(cohort, {**kept, **sides}), told=(*cohort.told, told)))
    return tuple(every)


def _placed(cohort: Cohort, sides: Mapping[str, str]) -> Cohort:
    cleared = replace(cohort, entries=tuple(replace(e, split=None) for e in cohort.entries))
    return with_split(cleared, sides)


def _groups(entries: Sequence[Entry], together: Pairs) -> list[list[Entry]]:
    """Group cases by patient, and join patients that a pair in ``together`` links, in order of appearance."""
    head: dict[str, str] = {}

    def find(patient: str) -> str:
        while head.setdefault(patient, patient) != patient:
            head[patient] = head[head[patient]]
            patient = head[patient]
        return patient

    patient_of = {e.id: e.patient or e.id for e in entries}
    for a, b in together:
        if a in patient_of and b in patient_of:
            head[find(patient_of[b])] = find(patient_of[a])
    groups: dict[str, list[Entry]] = {}
    for entry in entries:
        groups.setdefault(find(patient_of[entry.id]), []).append(entry)
    return list(groups.values())


def _drawn(groups: list[list[Entry]], shares: Mapping[str, float], seed: int) -> list[str]:
    """Draw a split for each group; the rest is train. Each requested split gets at least one group."""
    asked = {side: share for side, share in shares.items() if share > 0}
    if len(groups) <= len(asked):
        raise LayoutError(
            f"{len(groups)} patient{'s' if len(groups) != 1 else ''} cannot be split into train and "
            f"{' and '.join(sorted(asked))}. More patients are needed, or a split by hand with --split."
        )
    rng = np.random.default_rng(seed)
    sides = ["train"] * len(groups)
    left = _stratified(groups, rng)
    for side, share in asked.items():
        n = min(max(1, round(share * len(groups))), len(left) - 1)
        steps = np.floor(np.arange(len(left) + 1) * (n / len(left)) + rng.random()).astype(int)
        chosen = [g for g, a, b in zip(left, steps[:-1], steps[1:], strict=True) if b > a]
        for group in chosen:
            sides[group] = side
        left = [g for g in left if g not in set(chosen)]
    return sides


def _stratified(groups: list[list[Entry]], rng: np.random.Generator) -> list[int]:
    """Order groups randomly within strata, so that every k-th of the list is a stratified sample."""
    cases = Counter(kind for group in groups for e in group for kind in _kinds(e))
    keys = [_stratum(group, cases) for group in groups]
    sizes = [sum(int(e.notes.get("foreground", 0)) for e in group) for group in groups]
    order = rng.permutation(len(groups)).tolist()
    place = {g: i for i, g in enumerate(order)}
    by_key: dict[tuple[str, ...], list[int]] = {}
    for g in range(len(groups)):
        by_key.setdefault(keys[g], []).append(g)
    found: list[int] = []
    for key in sorted(by_key):
        members = sorted(by_key[key], key=lambda g: sizes[g])
        third = {g: 3 * i // len(members) for i, g in enumerate(members)}
        found += sorted(members, key=lambda g: (third[g], place[g]))
    return found


def _stratum(group: list[Entry], cases: Counter[str]) -> tuple[str, ...]:
    """Give the stratum of a patient: its rarest class for classification, all its labels for segmentation."""
    kinds = sorted({kind for e in group for kind in _kinds(e)}, key=lambda k: (cases[k], k))
    return tuple(kinds[:1]) if any(isinstance(e.truth, Scores) for e in group) else tuple(sorted(kinds))


def _kinds(entry: Entry) -> list[str]:
    """List the classes or labels of a case, as far as they are known without reading it."""
    if isinstance(entry.truth, Scores):
        held = [n for n, v in zip(entry.truth.names, entry.truth.values.tolist(), strict=True) if v > 0.5]
        return held or ["(none)"]
    return [str(v) for v in entry.notes.get("labels", ())]

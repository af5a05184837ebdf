"""Split cohorts into train, val and test by patient, stratified by class and reproducible by seed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from ...errors import LayoutError, SettingError
from ..types import Scores
from .cohort import Cohort, Entry, with_split
from .split_files import apply_found_split, apply_split, describe_split_counts, read_split

__all__ = ["apply_found_split", "apply_split", "folds", "read_split", "split"]

CasePairs = Sequence[tuple[str, str]]


def split(
    cohort: Cohort, *, val: float = 0.2, test: float = 0.0, seed: int = 0, keep_together: CasePairs = ()
) -> Cohort:
    """Assign each case to ``train``, ``val`` or ``test``, with all cases of a patient in the same split.

    A split that came with the data is kept and only missing parts are filled: validation patients are taken from
    train. Cases without truth are in no split. ``keep_together`` lists pairs of cases that must share a split. A
    message on what was done is added to ``told``.
    """
    for name, share in (("val", val), ("test", test)):
        if not 0 <= share < 1:
            raise SettingError(f"{name} is a share of the patients, from 0 to below 1, but got {share}.")
    if val + test >= 1:
        raise SettingError(f"val {val} and test {test} leave nobody to train on. Make them smaller.")
    usable = [e for e in cohort.entries if e.truth is not None or cohort.truth == "pair"]
    if not usable:
        raise LayoutError(f"No case in {str(cohort.root)!r} has a truth, so nothing can be learned from it.")
    have = {e.split for e in usable} - {None}
    if not have:
        return _split_all(cohort, usable, val=val, test=test, seed=seed, keep_together=keep_together)
    return _fill_missing_splits(cohort, usable, have, val=val, test=test, seed=seed, keep_together=keep_together)


def _split_all(
    cohort: Cohort, usable: list[Entry], *, val: float, test: float, seed: int, keep_together: CasePairs
) -> Cohort:
    groups = _group_by_patient(usable, keep_together)
    sides = _draw_splits(groups, {"test": test, "val": val}, seed)
    of_case = {e.id: side for group, side in zip(groups, sides, strict=True) for e in group}
    message = (
        f"Split by patient with seed {seed}: {describe_split_counts(sides)} patients, "
        f"{describe_split_counts(of_case.values())} cases."
    )
    return replace(_assign_splits(cohort, of_case), messages=(*cohort.messages, message))


def _fill_missing_splits(
    cohort: Cohort,
    usable: list[Entry],
    given_splits: set[str | None],
    *,
    val: float,
    test: float,
    seed: int,
    keep_together: CasePairs,
) -> Cohort:
    """Keep the given splits; fill train from cases without a split, and val and test from train."""
    messages: list[str] = []
    of_case = {e.id: str(e.split) for e in usable if e.split}
    loose = [e for e in usable if e.split is None]
    if "train" not in given_splits:
        patients = {e.patient or e.id for e in usable if e.split}
        of_case |= {e.id: "train" for e in loose if (e.patient or e.id) not in patients}
        messages.append(f"{describe_split_counts(of_case.values())} cases: those on no side train.")
    elif loose:
        messages.append(f"{len(loose)} cases stand on no side of the set's own split and are left out.")
    wanted = {side: share for side, share in (("test", test), ("val", val)) if share > 0 and side not in given_splits}
    pool = [e for e in usable if of_case.get(e.id) == "train"]
    if not pool:
        raise LayoutError(f"The split of {str(cohort.root)!r} leaves nobody to train on. Give one with --split.")
    if wanted:
        groups = _group_by_patient(pool, keep_together)
        sides = _draw_splits(groups, wanted, seed)
        of_case |= {e.id: side for group, side in zip(groups, sides, strict=True) for e in group}
        names = " and ".join(sorted(wanted))
        messages.append(f"The set's split has no {names}, so it is taken from train, by patient, with seed {seed}.")
    return replace(_assign_splits(cohort, of_case), messages=(*cohort.messages, *messages))


def folds(cohort: Cohort, n_folds: int, seed: int = 0, *, keep_together: CasePairs = ()) -> tuple[Cohort, ...]:
    """Give ``n_folds`` cross-validation folds as cohorts.

    In each, another k-th of the patients is ``val`` and the rest ``train``. Test cases stay ``test``; a given
    split into train and val is pooled.
    """
    usable = [e for e in cohort.entries if e.truth is not None and e.split != "test"]
    pool = [e for e in usable if e.split is not None] if any(e.split == "train" for e in usable) else usable
    groups = _group_by_patient(pool, keep_together)
    if n_folds < 2 or n_folds > len(groups):
        raise SettingError(
            f"{n_folds} folds need at least 2, and at most as many as there are patients ({len(groups)})."
        )
    order = _stratified_order(groups, np.random.default_rng(seed))
    fold_of = {group: place % n_folds for place, group in enumerate(order)}
    kept = {e.id: "test" for e in cohort.entries if e.split == "test" and e.truth is not None}
    every = []
    for fold in range(n_folds):
        sides = {e.id: "val" if fold_of[g] == fold else "train" for g, group in enumerate(groups) for e in group}
        message = (
            f"Fold {fold + 1} of {n_folds}, by patient, with seed {seed}: "
            f"{describe_split_counts(sides.values())} cases."
        )
        every.append(replace(_assign_splits(cohort, {**kept, **sides}), messages=(*cohort.messages, message)))
    return tuple(every)


def _assign_splits(cohort: Cohort, split_by_case: Mapping[str, str]) -> Cohort:
    cleared = replace(cohort, entries=tuple(replace(e, split=None) for e in cohort.entries))
    return with_split(cleared, split_by_case)


def _group_by_patient(entries: Sequence[Entry], keep_together: CasePairs) -> list[list[Entry]]:
    """Group cases by patient, and join patients that a pair in ``keep_together`` links, in order of appearance."""
    head: dict[str, str] = {}

    def find(patient: str) -> str:
        while head.setdefault(patient, patient) != patient:
            head[patient] = head[head[patient]]
            patient = head[patient]
        return patient

    patient_of = {e.id: e.patient or e.id for e in entries}
    for a, b in keep_together:
        if a in patient_of and b in patient_of:
            head[find(patient_of[b])] = find(patient_of[a])
    groups: dict[str, list[Entry]] = {}
    for entry in entries:
        groups.setdefault(find(patient_of[entry.id]), []).append(entry)
    return list(groups.values())


def _draw_splits(groups: list[list[Entry]], shares: Mapping[str, float], seed: int) -> list[str]:
    """Draw a split for each group; the rest is train. Each requested split gets at least one group."""
    asked = {side: share for side, share in shares.items() if share > 0}
    if len(groups) <= len(asked):
        raise LayoutError(
            f"{len(groups)} patient{'s' if len(groups) != 1 else ''} cannot be split into train and "
            f"{' and '.join(sorted(asked))}. More patients are needed, or a split by hand with --split."
        )
    rng = np.random.default_rng(seed)
    sides = ["train"] * len(groups)
    left = _stratified_order(groups, rng)
    for side, share in asked.items():
        n = min(max(1, round(share * len(groups))), len(left) - 1)
        steps = np.floor(np.arange(len(left) + 1) * (n / len(left)) + rng.random()).astype(int)
        chosen = [g for g, a, b in zip(left, steps[:-1], steps[1:], strict=True) if b > a]
        for group in chosen:
            sides[group] = side
        left = [g for g in left if g not in set(chosen)]
    return sides


def _stratified_order(groups: list[list[Entry]], rng: np.random.Generator) -> list[int]:
    """Order groups randomly within strata, so that every k-th of the list is a stratified sample."""
    cases = Counter(kind for group in groups for e in group for kind in _class_names(e))
    keys = [_stratum_of_group(group, cases) for group in groups]
    sizes = [sum(int(e.metadata.get("foreground", 0)) for e in group) for group in groups]
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


def _stratum_of_group(group: list[Entry], case_counts: Counter[str]) -> tuple[str, ...]:
    """Give the stratum of a patient: its rarest class for classification, all its labels for segmentation."""
    kinds = sorted({kind for e in group for kind in _class_names(e)}, key=lambda k: (case_counts[k], k))
    return tuple(kinds[:1]) if any(isinstance(e.truth, Scores) for e in group) else tuple(sorted(kinds))


def _class_names(entry: Entry) -> list[str]:
    """List the classes or labels of a case, as far as they are known without reading it."""
    if isinstance(entry.truth, Scores):
        held = [n for n, v in zip(entry.truth.names, entry.truth.values.tolist(), strict=True) if v > 0.5]
        return held or ["(none)"]
    return [str(v) for v in entry.metadata.get("labels", ())]

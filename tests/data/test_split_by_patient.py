"""Splits: by patient, even over the classes, the same for the same seed, and true to what came with the data."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medgrad.data.cohorts.cohort import Cohort, Entry, Source
from medgrad.data.cohorts.split import folds, split
from medgrad.data.types import Scores
from medgrad.errors import LayoutError, SettingError

NAMES = ("a", "b", "c")


def cohort(classes: list[int], patients: list[int] | None = None, sides: list[str | None] | None = None) -> Cohort:
    entries = tuple(
        Entry(
            f"case{i:03d}",
            {"image": Source(Path("x.png"))},
            Scores(np.eye(3)[c], NAMES),
            patient=f"p{patients[i] if patients else i}",
            split=sides[i] if sides else None,
        )
        for i, c in enumerate(classes)
    )
    return Cohort(Path("set"), "table", "classification", entries, NAMES, truth="scores")


def sides_of(cohort: Cohort) -> dict[str, set[str | None]]:
    found: dict[str, set[str | None]] = {}
    for entry in cohort.entries:
        found.setdefault(entry.patient, set()).add(entry.split)
    return found


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 2), st.integers(0, 11)), min_size=20, max_size=60),
    st.integers(0, 9),
    st.sampled_from([0.1, 0.2, 0.5]),
    st.sampled_from([0.0, 0.2]),
)
def test_no_patient_stands_on_two_sides_and_no_case_on_none(pairs, seed, val, test):
    if len({p for _, p in pairs}) < 4:
        return
    parted = split(cohort([c for c, _ in pairs], [p for _, p in pairs]), val=val, test=test, seed=seed)
    assert all(len(sides) == 1 and None not in sides for sides in sides_of(parted).values())
    held = {e.split for e in parted.entries}
    assert held == ({"train", "val", "test"} if test else {"train", "val"})


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 9)), min_size=20, max_size=50), st.integers(2, 4))
def test_each_patient_is_validated_in_just_one_fold(pairs, k):
    if len({p for _, p in pairs}) < 4:
        return
    every = folds(cohort([c for c, _ in pairs], [p for _, p in pairs]), k, 3)
    assert len(every) == k
    for fold in every:
        assert all(len(sides) == 1 for sides in sides_of(fold).values())
    times = Counter(e.id for fold in every for e in fold.in_splits("val").entries)
    assert set(times.values()) == {1}
    assert len(times) == len(pairs)


def test_the_same_seed_gives_the_same_sides_and_another_seed_others():
    whole = cohort([i % 3 for i in range(60)])
    first, again, other = (split(whole, seed=s) for s in (1, 1, 2))
    assert [e.split for e in first.entries] == [e.split for e in again.entries]
    assert [e.split for e in first.entries] != [e.split for e in other.entries]


def test_the_sides_do_not_hang_on_the_order_of_sets_or_hashes():
    parted = split(cohort([i % 3 for i in range(12)]), val=0.25, seed=0)
    assert sum(e.split == "val" for e in parted.entries) == 3
    assert Counter(e.truth.top_class for e in parted.in_splits("val").entries) == {"a": 1, "b": 1, "c": 1}


def test_rare_classes_are_spread_evenly():
    whole = cohort([0] * 160 + [1] * 30 + [2] * 10)
    parted = split(whole, val=0.2, test=0.2, seed=5)
    for side, share in (("val", 0.2), ("test", 0.2), ("train", 0.6)):
        counts = Counter(e.truth.top_class for e in parted.in_splits(side).entries)
        assert counts["b"] == pytest.approx(30 * share, abs=1)
        assert counts["c"] == pytest.approx(10 * share, abs=1)


def test_segmentation_is_spread_by_the_labels_present_and_their_size():
    entries = tuple(
        Entry(f"{i:02d}", {}, Source(Path("m.png")), patient=f"{i:02d}",
              metadata={"labels": ("1", "2") if i % 4 == 0 else ("1",), "foreground_share": i})
        for i in range(80)
    )  # fmt: skip
    parted = split(Cohort(Path("set"), "parallel_folders", "segmentation", entries, ("1", "2")), val=0.25)
    val = parted.in_splits("val").entries
    assert sum("2" in e.metadata["labels"] for e in val) == pytest.approx(5, abs=1)
    assert np.mean([e.metadata["foreground_share"] for e in val]) == pytest.approx(39.5, abs=8)


def test_a_split_that_came_with_the_data_is_kept():
    sides = ["train"] * 6 + ["val"] * 3 + ["test"] * 3
    assert [e.split for e in split(cohort([0, 1, 2] * 4, sides=sides), seed=9).entries] == sides


def test_validation_is_taken_from_train_where_the_set_has_none():
    whole = cohort([0, 1] * 15, [i // 2 for i in range(30)], ["train"] * 20 + ["test"] * 10)
    parted = split(whole, val=0.2)
    assert [e.split for e in parted.entries[20:]] == ["test"] * 10
    assert sum(e.split == "val" for e in parted.entries) == 4
    assert all(len(s) == 1 for s in sides_of(parted).values())
    assert "no val, so it is taken from train" in parted.messages[-1]


def test_a_set_that_only_names_its_test_trains_on_the_rest():
    parted = split(cohort([0, 1] * 10, sides=["test"] * 4 + [None] * 16))
    assert Counter(e.split for e in parted.entries) == {"test": 4, "train": 13, "val": 3}


def test_cases_on_no_side_of_the_sets_own_split_are_left_out_and_told():
    parted = split(cohort([0, 1] * 6, sides=["train"] * 6 + ["val"] * 4 + [None] * 2))
    assert [e.split for e in parted.entries[-2:]] == [None, None]
    assert any("2 cases stand on no side" in t for t in parted.messages)


def test_cases_without_truth_stand_on_no_side():
    whole = cohort([0, 1] * 6)
    whole = replace(whole, entries=(*whole.entries[:-1], replace(whole.entries[-1], truth=None)))
    assert split(whole).entries[-1].split is None
    assert all(fold.entries[-1].split is None for fold in folds(whole, 3))


def test_pairs_that_show_the_same_picture_stay_together():
    pairs = [(f"case{i:03d}", f"case{i + 20:03d}") for i in range(20)]
    for seed in range(5):
        where = {e.id: e.split for e in split(cohort([0, 1] * 20), seed=seed, keep_together=pairs).entries}
        assert all(where[a] == where[b] for a, b in pairs)


def test_folds_keep_the_test_and_pool_the_rest():
    whole = cohort([0, 1] * 6, sides=["train"] * 6 + ["val"] * 3 + ["test"] * 3)
    for fold in folds(whole, 3):
        assert [e.split for e in fold.entries[-3:]] == ["test"] * 3
        assert len(fold.in_splits("val").entries) == 3


def test_one_patient_cannot_be_split():
    with pytest.raises(LayoutError, match="1 patient cannot be split"):
        split(cohort([0, 1], [7, 7]))


def test_a_set_without_truth_cannot_be_split():
    whole = cohort([0, 1])
    with pytest.raises(LayoutError, match="No case"):
        split(replace(whole, entries=tuple(replace(e, truth=None) for e in whole.entries)))


@pytest.mark.parametrize("shares", [{"val": 1.0}, {"val": -0.1}, {"val": 0.6, "test": 0.4}])
def test_shares_that_cannot_be_are_refused(shares):
    with pytest.raises(SettingError):
        split(cohort([0, 1] * 6), **shares)


@pytest.mark.parametrize("k", [1, 99])
def test_a_number_of_folds_that_cannot_be_is_refused(k):
    with pytest.raises(SettingError, match="folds"):
        folds(cohort([0, 1] * 6), k)

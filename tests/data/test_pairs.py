"""Pairs of a set: within a side, laid on each other, with both truths."""

import numpy as np
import pytest
from tiny_set import make_folder

from medgrad.data import Pair
from medgrad.data.cohorts.layouts import Hints, recognise
from medgrad.data.cohorts.pair_truth import grid_centre
from medgrad.data.cohorts.pairs_from_images import make_pairs
from medgrad.data.cohorts.split import split


@pytest.fixture
def cohort(tmp_path):
    make_folder(tmp_path / "set", cases=9)
    return split(recognise(tmp_path / "set", Hints(None, None, "registration")), val=0.4, seed=0)


def test_no_pair_crosses_the_split(cohort):
    side = {e.id: e.split for e in cohort.entries}
    pairs = make_pairs(cohort, n_per_case=3)
    assert cohort.task == "registration"
    for entry in pairs.entries:
        fixed, moving = entry.id.split("--")
        assert fixed != moving
        assert side[fixed] == side[moving] == entry.split
    train = [e for e in pairs.entries if e.split == "train"]
    assert len(train) == 3 * sum(s == "train" for s in side.values())
    assert len({e.id for e in pairs.entries}) == len(pairs.entries)


def test_a_pair_is_laid_centre_on_centre_with_its_truth(cohort):
    pairs = make_pairs(cohort)
    case = pairs.load_case(pairs.entries[0])
    fixed, moving = case.images.values()
    assert isinstance(case.truth, Pair)
    np.testing.assert_allclose(grid_centre(fixed.grid), grid_centre(moving.grid), atol=1e-9)
    assert case.truth.moving.grid.is_close(moving.grid)
    assert case.truth.fixed.grid.is_close(fixed.grid)


def test_pairs_are_the_same_for_the_same_seed(cohort):
    assert [e.id for e in make_pairs(cohort, seed=3).entries] == [e.id for e in make_pairs(cohort, seed=3).entries]


def test_pairs_of_two_patients_are_not_parted_into_folds(cohort, tmp_path):
    from medgrad.engine.training.fit import fit
    from medgrad.errors import SettingError

    with pytest.raises(SettingError, match="folds"):
        fit(make_pairs(cohort), tmp_path / "run", n_folds=2, steps=1)

"""The signed-rank test: as scipy has it, and not blind where one difference outweighs the others."""

import numpy as np
import pytest
from scipy import stats

from medgrad.trust.signed_rank import signed_rank_p_value


@pytest.mark.parametrize("seed", range(4))
def test_it_is_that_of_scipy_with_ties_and_zeros(seed):
    differences = np.round(np.random.default_rng(seed).normal(0.3, 1, 17), 1)
    want = stats.wilcoxon(differences, alternative="greater", method="approx", correction=False).pvalue
    assert signed_rank_p_value(differences) == pytest.approx(want)


def test_one_that_outweighs_all_others_does_not_hide_them():
    assert signed_rank_p_value([-50.0, *range(1, 17)]) < 0.05


def test_of_nothing_nothing_is_shown():
    assert signed_rank_p_value([]) == signed_rank_p_value([0.0, 0.0]) == 1.0

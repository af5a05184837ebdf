"""Copies among made images are found and nobody else is accused; members are told by their losses."""

import numpy as np
import pytest
from scipy import ndimage

from medgrad.trust.copies import MIN_PATIENTS, find_copies, ratio_threshold
from medgrad.trust.membership import check_membership, planted_members
from medgrad.trust.planted_copies import plant_copy


def patients(count, *, shape=(32, 30), seed=0):
    """Make images that share an anatomy and have details of their own."""
    rng = np.random.default_rng(seed)
    shared = ndimage.gaussian_filter(np.random.default_rng(99).normal(size=shape), 3)
    own = [ndimage.gaussian_filter(rng.normal(size=shape), 1.5) for _ in range(count)]
    return [(shared / shared.std() + 0.5 * o / o.std()).astype(np.float32) for o in own]


NAMES = [f"p{i}" for i in range(24)]


@pytest.fixture(scope="module")
def training():
    return patients(24)


def test_the_flip_and_the_shift_of_a_copy_are_told(training):
    flipped = np.flip(training[7], 0)
    shifted = ndimage.shift(flipped, (2, -3), order=0, mode="nearest")
    found = find_copies([shifted], training, NAMES).nearest[0]
    assert found.patient == "p7"
    assert found.flips == (1, 0)
    assert found.shift == (-2, -3)  # in the image flipped back
    assert found.distance < 1e-3


def test_planted_copies_are_found_and_other_patients_are_not(training):
    rng = np.random.default_rng(1)
    copies = [plant_copy(training[i % 24], rng, noise=0.3) for i in range(40)]
    found = find_copies([*copies, *patients(40, seed=5)], training, NAMES)
    assert sum(place < 40 for place in found.copies) >= 38
    assert sum(place >= 40 for place in found.copies) <= 1
    assert found.is_flagged is True
    assert found.control_recall >= 0.95


def test_the_mean_of_all_patients_and_noise_are_no_copies(training):
    noise = np.random.default_rng(0).normal(size=training[0].shape)
    found = find_copies([np.mean(training, axis=0), noise, np.zeros_like(noise)], training, NAMES)
    assert found.copies == ()
    assert found.is_flagged is False


def test_nothing_is_reported_where_planted_copies_are_missed(training):
    found = find_copies([training[0]], training, NAMES, control_noise=20)
    assert (found.nearest, found.copies, found.threshold, found.is_flagged) == ((), (), None, None)
    assert "planted copies" in found.reason
    assert found.control_recall < 0.95


def test_few_patients_tell_nothing(training):
    found = find_copies(training[:1], training[: MIN_PATIENTS - 1], NAMES[: MIN_PATIENTS - 1])
    assert found.is_flagged is None
    assert "7 training patients" in found.reason


def test_several_images_of_a_patient_are_no_duplicates(training):
    rng = np.random.default_rng(0)
    again = [plant_copy(t, rng, noise=0.1, shift=0, flips=False) for t in training]
    assert find_copies([training[0]], [*training, *again], NAMES * 2).duplicates == ()
    alone = find_copies([training[0]], [*training, again[3]], [*NAMES, "other"])
    assert set(alone.duplicates) == {"p3", "other"}
    assert alone.copies == (0,)


def test_duplicates_do_not_move_the_threshold():
    rng = np.random.default_rng(0)
    law = 1 / (1 + np.exp(-rng.normal(1.2, 0.6, 200)))
    with_duplicates = np.concatenate([law, rng.uniform(0, 0.02, 80)])
    assert ratio_threshold(with_duplicates) == pytest.approx(ratio_threshold(law), abs=0.05)


@pytest.mark.parametrize("count", [8, 16, 160])
def test_the_threshold_accuses_fewer_than_one_in_forty(count):
    rng = np.random.default_rng(2)
    draw = lambda n: 1 / (1 + np.exp(-rng.normal(1.2, 0.6, n)))  # noqa: E731
    assert np.mean([(draw(40) < ratio_threshold(draw(count))).mean() for _ in range(200)]) < 1 / 80


def test_large_images_are_halved_and_volumes_searched(training):
    big = [np.kron(t, np.ones((32, 32), np.float32)) for t in training[:9]]
    found = find_copies([big[4][:, ::-1]], big, NAMES[:9], n_planted=20)
    assert (found.nearest[0].patient, found.nearest[0].flips) == ("p4", (0, 1))
    volumes = patients(12, shape=(16, 18, 16))
    assert find_copies([volumes[2][:, ::-1]], volumes, NAMES[:12], n_planted=12).nearest[0].patient == "p2"


def test_images_of_other_shapes_are_refused(training):
    with pytest.raises(ValueError, match="one shape"):
        find_copies([training[0][:-1]], training, NAMES)
    with pytest.raises(ValueError, match="needs its patient"):
        find_copies([training[0]], training, NAMES[:-1])


def test_missing_values_and_units_change_nothing(training):
    holes = training[5].copy()
    holes[2, 3] = np.nan
    assert find_copies([holes * 1e9], [t * 1e6 - 5 for t in training], NAMES).nearest[0].patient == "p5"


def test_the_area_is_that_of_mann_and_whitney():
    found = check_membership(np.repeat([1.0, 2, 3, 4], 5), np.repeat([2.5, 3, 5, 6], 5))
    assert found.auc == pytest.approx((4 + 4 + 2.5 + 2) / 16)
    assert found.low < found.auc < found.high
    assert found.is_flagged is True


def test_losses_of_one_law_are_not_flagged():
    rng = np.random.default_rng(0)
    found = check_membership(rng.normal(size=160), rng.normal(size=40))
    assert found.is_flagged is False
    assert found.high < 0.65
    assert found.control_auc == pytest.approx(0.75, abs=0.01)


def test_with_too_few_patients_nothing_is_reported():
    rng = np.random.default_rng(0)
    found = check_membership(rng.normal(size=5), rng.normal(size=5))
    assert (found.auc, found.is_flagged) == (None, None)
    assert "is not detected" in found.reason
    many_cases = check_membership(
        rng.normal(size=300), rng.normal(size=300), member_patients=["a", "b", "c"] * 100, held_out_patients=None
    )
    assert "too few" in many_cases.reason


def test_an_overfit_network_that_is_not_told_withholds_the_result():
    rng = np.random.default_rng(0)
    losses = rng.normal(size=(2, 40))
    assert check_membership(*losses, overfit=(rng.normal(size=16), rng.normal(size=16))).auc is None
    assert check_membership(*losses, overfit=(np.zeros(16), np.ones(16))).auc is not None


def test_a_patient_on_both_sides_is_refused():
    with pytest.raises(ValueError, match="is a member and held out"):
        check_membership([1.0] * 5, [2.0] * 5, member_patients=list("abcde"), held_out_patients=list("efghi"))


def test_planted_members_have_the_area_that_they_should():
    held_out = np.random.default_rng(3).exponential(size=40)
    members = planted_members(held_out, 160)
    assert (members[:, None] < held_out).mean() == pytest.approx(0.75, abs=0.01)

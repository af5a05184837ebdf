"""Laws of the synthetic patients: what is told about them is what their pixels show."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from medgrad.data.cohorts.phantom import LABELS, Phantom, make_patient, to_cases
from medgrad.data.cohorts.phantom._distance_fields import WaveField, ellipsoid_distance
from medgrad.data.cohorts.phantom.anatomy import HU
from medgrad.data.cohorts.phantom.respiratory_motion import RespiratoryMotion
from medgrad.data.cohorts.phantom.write import crop_around_lesion

SMALL = Phantom(patients=4, shape=(60, 60, 44), spacing_mm=(4.0, 4.0, 4.5), dates=(2, 3), diameters_mm=(18, 28))


@pytest.fixture(scope="module")
def some():
    return [make_patient(SMALL, n) for n in range(4)]


def lesions_of(people):
    return [(p, s, x) for p in people for s in p.studies for x in s.lesions]


def test_the_same_seed_gives_the_same_pixels(some):
    one, other = some[1], make_patient(SMALL, 1)
    for a, b in zip(one.studies, other.studies, strict=True):
        assert np.array_equal(a.image.array, b.image.array)
        assert np.array_equal(a.labels.array, b.labels.array)


def test_another_seed_gives_other_pixels(some):
    one, other = some[1], make_patient(replace(SMALL, seed=1), 1)
    same_size = one.studies[0].image.array.shape == other.studies[0].image.array.shape
    assert not same_size or not np.array_equal(one.studies[0].image.array, other.studies[0].image.array)


def test_a_patient_does_not_depend_on_how_many_there_are(some):
    alone = make_patient(replace(SMALL, patients=1), 0)
    assert np.array_equal(alone.studies[0].image.array, some[0].studies[0].image.array)


def test_every_label_lies_inside_the_body(some):
    for person in some:
        for study in person.studies:
            body = ndimage.binary_fill_holes(study.image.array > -300)
            body = np.stack([ndimage.binary_fill_holes(b) for b in np.moveaxis(body, 2, 0)], axis=2)
            outside = (study.labels.array > 0) & ~ndimage.binary_dilation(body)
            assert not outside.any()


def test_every_organ_is_there_and_of_its_units(some):
    for person in some:
        study = person.studies[0]
        for value, name in enumerate(LABELS[:6], 1):
            inside = ndimage.binary_erosion(study.labels.array == value)
            assert inside.any(), name
            if name != "spine":  # marrow, discs and bone
                assert abs(np.median(study.image.array[inside]) - HU[name]) < 25, name
    spine = some[0].studies[0]
    assert 80 < np.median(spine.image.array[spine.labels.array == 6]) < 600


def test_lungs_hold_air_and_are_of_two_parts(some):
    lung = some[0].studies[0].labels.array == LABELS.index("lung") + 1
    pieces, n = ndimage.label(lung)
    sizes = np.bincount(pieces.ravel())[1:]
    assert (sizes > 0.05 * lung.sum()).sum() == 2
    assert n < 10


def test_the_liver_lies_on_the_right_and_the_heart_on_the_left(some):
    for person in some:
        study = person.studies[0]
        middle = study.labels.grid.to_world((np.array(study.labels.grid.shape) - 1) / 2)
        right = {
            name: study.labels.grid.to_world(np.argwhere(study.labels.array == LABELS.index(name) + 1).mean(axis=0))[0]
            for name in ("liver", "heart", "spleen")
        }
        assert right["liver"] > middle[0] > right["heart"]
        assert right["spleen"] < middle[0]


def test_volumes_of_lesions_match_the_table(some):
    found = []
    for _, study, lesion in lesions_of(some):
        value = LABELS.index(lesion.label) + 1
        pieces, _ = ndimage.label(study.labels.array == value)
        at = tuple(np.round(study.labels.grid.to_index(lesion.centre_mm)).astype(int))
        assert pieces[at] > 0
        found.append((pieces == pieces[at]).sum() * study.labels.grid.voxel_volume_mm / lesion.volume_mm3)
    assert np.all(np.abs(np.array(found) - 1) < 0.15)
    assert np.mean(found) == pytest.approx(1, abs=0.03)


def test_every_lesion_is_one_piece_and_none_is_untold(some):
    for person in some:
        for study in person.studies:
            for label in ("nodule", "lesion"):
                n = ndimage.label(study.labels.array == LABELS.index(label) + 1)[1]
                assert n == sum(x.label == label for x in study.lesions)


def test_growing_lesions_double_in_their_doubling_time(some):
    seen = 0
    for person in some:
        first, last = person.studies[0], person.studies[-1]
        before = {x.number: x for x in first.lesions}
        for lesion in last.lesions:
            if lesion.number in before and np.isfinite(lesion.doubling_days):
                factor = 2 ** (last.day / lesion.doubling_days)
                assert lesion.volume_mm3 / before[lesion.number].volume_mm3 == pytest.approx(factor, rel=1e-6)
                seen += 1
    assert seen > 0


def test_some_lesions_are_new_and_some_vanish():
    tiny = replace(SMALL, shape=(30, 30, 24), spacing_mm=(8, 8, 8), nodules=(4, 4))
    people = [make_patient(tiny, n) for n in range(10)]
    assert any(x.is_new for p in people for x in p.studies[-1].lesions)
    assert any(p.vanished_lesions for p in people)


def dice(a, b):
    return 2 * (a & b).sum() / (a.sum() + b.sum())


def test_the_deformation_lays_the_organs_of_one_date_onto_the_other(some):
    gained = []
    for person in some:
        first, second = person.studies[0], person.studies[1]
        grid = second.labels.grid
        where = grid.to_world(np.stack(np.meshgrid(*map(np.arange, grid.shape), indexing="ij"), axis=-1))
        index = first.labels.grid.to_index(where + second.deformation.field)
        moved = ndimage.map_coordinates(first.labels.array, np.moveaxis(index, -1, 0), order=0, mode="nearest")
        for name in ("lung", "liver", "heart", "spleen"):
            value = LABELS.index(name) + 1
            after = dice(moved == value, second.labels.array == value)
            assert after > 0.90, name
            gained.append(after - dice(first.labels.array == value, second.labels.array == value))
    assert np.mean(gained) > 0.03


def test_the_deformation_folds_nowhere(some):
    for person in some:
        field, grid = person.studies[1].deformation.field.astype(float), person.studies[1].deformation.grid
        steps = [np.gradient(field, axis=a) for a in range(3)]
        slope = np.stack(steps, axis=-1) @ np.linalg.inv(grid.matrix[:3, :3])
        assert np.linalg.det(slope + np.eye(3)).min() > 0.3


def test_the_first_date_is_where_it_is(some):
    assert not some[0].studies[0].deformation.field.any()


def test_a_breath_can_be_undone():
    breath = RespiratoryMotion.random(np.random.default_rng(0), (100, 80, 90), 8.0)
    points = np.random.default_rng(1).uniform(-80, 80, (3, 50))
    there = breath.invert(points)
    assert np.abs(there + breath(there.astype(np.float32)) - points).max() < 1e-3


def test_a_breath_that_would_fold_is_refused():
    with pytest.raises(ValueError, match="breath_mm"):
        RespiratoryMotion.random(np.random.default_rng(0), (40, 40, 40), 40.0)


def auroc(scores, truth):
    scores, truth = np.array(scores), np.array(truth)
    pairs = scores[truth][:, None] - scores[~truth][None]
    return float((pairs > 0).mean() + (pairs == 0).mean() / 2)


def test_texture_tells_malignant_from_benign_but_size_and_brightness_do_not():
    close = Phantom(
        shape=(60, 60, 44),
        spacing_mm=(3.0, 3.0, 3.0),
        dates=(1, 1),
        nodules=(4, 4),
        lesions=(2, 3),
        diameters_mm=(18, 28),
    )
    size, mean, rough, malignant = [], [], [], []
    for _, study, lesion in lesions_of([make_patient(close, n) for n in range(10)]):
        crop = crop_around_lesion(study, lesion, side_mm=24)
        at = crop.grid.to_index(lesion.centre_mm)
        steps = (np.stack(np.indices(crop.array.shape), axis=-1) - at) * np.array(crop.grid.spacing)
        core = np.linalg.norm(steps, axis=-1) < 0.33 * lesion.diameter_mm
        values = crop.array.astype(float)
        both = core[1:] & core[:-1]
        malignant.append(lesion.kind == "malignant")
        size.append(lesion.diameter_mm)
        mean.append(values[core].mean())
        rough.append((np.diff(values, axis=0)[both] ** 2).mean() / values[core].var())
    assert len(malignant) > 40
    assert 0.35 < auroc(size, malignant) < 0.65
    assert 0.35 < auroc(mean, malignant) < 0.65
    assert auroc(rough, malignant) > 0.9


def test_sites_differ_in_noise_and_spacing():
    people = [
        make_patient(replace(SMALL, dates=(1, 1), shape=(24, 24, 16), spacing_mm=(10, 10, 12)), n) for n in range(12)
    ]
    assert len({p.site.name for p in people}) == 3
    assert len({p.studies[0].image.grid.spacing for p in people}) == 2
    noise = {p.site.name: p.studies[0].image.array[:3, :3].std() for p in people}
    assert noise["South"] < noise["East"]


def test_cases_carry_their_truth_and_their_notes(some):
    case = to_cases(some[0])[1]
    assert case.patient == "P001"
    assert case.truth.names[8] == "lesion"
    assert case.metadata["site"] in ("North", "South", "East")


@pytest.mark.parametrize("shape", [(8, 8, 8), (16, 24, 10), (33, 20, 17)])
def test_any_size_can_be_made(shape):
    person = make_patient(Phantom(shape=shape, spacing_mm=(9, 9, 9), dates=(1, 1), sites=1, breath_mm=2), 0)
    assert person.studies[0].image.array.shape == shape


@pytest.mark.parametrize(
    "settings", [{"patients": 0}, {"shape": (4, 60, 60)}, {"spacing_mm": (0, 1, 1)}, {"sites": 9}, {"dates": (3, 2)}]
)
def test_settings_that_cannot_be_are_refused(settings):
    with pytest.raises(ValueError):
        Phantom(**settings)


def test_waves_have_mean_0_and_deviation_1_whatever_the_spacing():
    rng = np.random.default_rng(0)
    values = [WaveField.random(rng, 10.0)(rng.uniform(-500, 500, (3, 2000)).astype(np.float32)) for _ in range(5)]
    assert np.mean(values) == pytest.approx(0, abs=0.05)
    assert np.std(values) == pytest.approx(1, abs=0.05)


def test_the_middle_of_an_ellipsoid_is_inside():
    assert ellipsoid_distance(np.zeros((3, 1), np.float32), (0, 0, 0), (4, 3, 5))[0] == -3


def test_the_distance_to_a_ball_is_exact():
    points = np.random.default_rng(0).uniform(-9, 9, (3, 100)).astype(np.float32)
    expected = np.linalg.norm(points - np.array([[1.0], [2], [3]]), axis=0) - 4
    assert np.allclose(ellipsoid_distance(points, (1, 2, 3), (4, 4, 4)), expected, atol=1e-4)

"""Leaks: what survives rescaling, JPEG and the like is found, and pictures of one kind do not cry wolf."""

import io

import numpy as np
import pytest
from PIL import Image as Pillow
from scipy import ndimage

from medgrad.errors import LeakError
from medgrad.trust import leaks as room
from medgrad.trust.leaks import ImageRecord, Leak, find_leaks, hash_pixels, make_record, near_duplicates, raise_on_leaks


def tissue(seed: int, shape: tuple[int, ...] = (96, 96)) -> np.ndarray:
    rng = np.random.default_rng(seed)
    image = sum(ndimage.gaussian_filter(rng.normal(size=shape), s) * s ** (len(shape) / 2) for s in (1, 3, 6))
    return np.clip(128 + 40 * image, 0, 255).astype(np.uint8)


def framed(seed: int) -> np.ndarray:
    """A picture through a round opening, as all of its camera are."""
    rows, columns = np.mgrid[:96, :96]
    inside = (rows - 48) ** 2 + (columns - 48) ** 2 < 44**2
    return np.where(inside, 0.5 * tissue(seed) + 80, 0).astype(np.uint8)


def jpeg(image: np.ndarray) -> np.ndarray:
    file = io.BytesIO()
    Pillow.fromarray(image).save(file, "JPEG", quality=40)
    return np.array(Pillow.open(file))


def written_on(image: np.ndarray) -> np.ndarray:
    image = image.copy()
    image[4:11, 6:30] = 255
    image[45:47, 30:60] = 255
    return image


CHANGES = {
    "smaller": lambda a: np.array(Pillow.fromarray(a).resize((61, 70))),
    "larger": lambda a: np.array(Pillow.fromarray(a).resize((200, 200))),
    "jpeg": jpeg,
    "brighter": lambda a: np.clip(a.astype(float) * 1.15 + 12, 0, 255).astype(np.uint8),
    "gamma": lambda a: (255 * (a / 255) ** 1.3).astype(np.uint8),
    "cropped": lambda a: a[4:-3, 3:-5],
    "written on": written_on,
    "colour": lambda a: np.stack([a, a, a], axis=-1),
    "16 bit": lambda a: a.astype(np.uint16) * 16,
    "mirrored": lambda a: a[:, ::-1],
    "turned": lambda a: np.rot90(a),
    "noisy": lambda a: np.clip(a + np.random.default_rng(0).normal(0, 8, a.shape), 0, 255).astype(np.uint8),
}


def records(images: list[np.ndarray], sides: list[str | None], patients: list[str] | None = None) -> list[ImageRecord]:
    return [
        make_record(a, id=f"c{i}", patient=patients[i] if patients else f"p{i}", split=s, dims=2)
        for i, (a, s) in enumerate(zip(images, sides, strict=True))
    ]


@pytest.mark.parametrize(
    ("change", "kind"),
    [*((c, tissue) for c in CHANGES), *((c, framed) for c in CHANGES if c not in ("cropped", "written on"))],
)
def test_a_changed_copy_on_the_other_side_is_found_and_nothing_else(change, kind):
    train = [kind(i) for i in range(14)]
    val = [CHANGES[change](kind(3)), *[kind(i) for i in range(20, 26)]]
    found = find_leaks(records([*train, *val], ["train"] * 14 + ["val"] * 7))
    assert [(f.first, f.second) for f in found] == [("c3", "c14")]


def test_pictures_of_one_camera_are_not_the_same_picture():
    images = [framed(i) for i in range(30)]
    assert find_leaks(records(images, ["train"] * 20 + ["val"] * 10)) == []


def test_pictures_of_two_cameras_are_not_the_same_picture():
    images = [framed(i) if i % 3 else tissue(i) for i in range(60)]
    assert find_leaks(records(images, [("train", "val")[i % 2] for i in range(60)])) == []


def test_volumes_of_one_organ_are_not_the_same_but_a_resampled_copy_is():
    organ = tissue(99, (20, 24, 18)).astype(float)
    volumes = [organ + 0.7 * tissue(i, (20, 24, 18)) for i in range(12)]
    copy = ndimage.zoom(volumes[2], 1.3, order=1) * 3 + 40
    chosen = [
        make_record(a, id=f"c{i}", patient=f"p{i}", split="val" if i > 8 else "train", dims=3)
        for i, a in enumerate([*volumes, copy])
    ]
    assert [(f.first, f.second) for f in find_leaks(chosen)] == [("c2", "c12")]


def test_the_same_patient_on_two_sides_is_found_whatever_the_pictures():
    found = find_leaks(records([tissue(i) for i in range(4)], ["train", "val", "train", "val"], ["a", "a", "b", "c"]))
    assert [(f.kind, f.first, f.second, f.what) for f in found] == [("patient", "c0", "c1", "a")]


def test_the_same_pixels_are_found_however_they_are_stored():
    image = tissue(1)
    found = find_leaks(records([image, image.astype(np.float64), tissue(2)], ["train", "test", "test"]))
    assert [(f.kind, f.first, f.second) for f in found] == [("pixels", "c0", "c1")]


def test_copies_on_one_side_are_twins_but_no_leak():
    chosen = records([tissue(1), tissue(1), tissue(2)], ["train", "train", "val"])
    assert find_leaks(chosen) == []
    assert [(t.first, t.second) for t in near_duplicates(chosen)] == [("c0", "c1")]


def test_pictures_of_one_patient_are_no_twins():
    base = tissue(0).astype(float)
    images = [(base + 3 * i).astype(np.uint8) for i in range(4)] + [tissue(i) for i in range(1, 12)]
    chosen = records(images, [None] * 15, ["x"] * 4 + [f"p{i}" for i in range(11)])
    assert near_duplicates(chosen) == []


def test_blank_pictures_are_no_leak():
    blank = np.zeros((32, 32), np.uint8)
    assert find_leaks(records([blank, blank, tissue(1)], ["train", "val", "val"])) == []
    assert hash_pixels(blank) == ("", "")


def test_nan_and_tiny_pictures_are_survived():
    holed = tissue(1).astype(float)
    holed[3, 4] = np.nan
    assert find_leaks(records([holed, np.eye(2, dtype=np.uint8), np.arange(3.0)[None]], ["train", "val", "val"])) == []


def test_the_hash_of_the_look_changes_in_few_places_only():
    first, again = (int(hash_pixels(a)[1], 16) for a in (tissue(1), jpeg(tissue(1))))
    other = int(hash_pixels(tissue(2))[1], 16)
    assert (first ^ again).bit_count() < 20 < 80 < (first ^ other).bit_count()


def test_a_leak_is_refused_in_one_line_that_says_how_to_go_on():
    found = [Leak("pixels", f"a{i}", f"b{i}", ("train", "val")) for i in range(5)]
    with pytest.raises(LeakError, match=r"5 pairs.*'a0' \(train\) and 'b0' \(val\).*2 more.*--allow-leak") as reason:
        raise_on_leaks(found)
    assert "\n" not in str(reason.value)
    raise_on_leaks(found, allow=True)
    raise_on_leaks([])


def test_thousands_of_pictures_take_seconds():
    rng = np.random.default_rng(0)
    thumbs = rng.integers(0, 256, (2_000, 64, 64), dtype=np.uint8)
    chosen = []
    for i, thumb in enumerate(thumbs):
        side = "train" if i % 5 else "val"
        chosen.append(ImageRecord(f"c{i}", f"p{i}", side, f"{i}", room._perceptual_hash(thumb), thumb))
    assert find_leaks(chosen) == []


def test_pictures_with_few_ways_to_differ_are_not_the_same_picture():
    rng = np.random.default_rng(4)
    ways = np.stack([ndimage.gaussian_filter(rng.normal(size=(28, 28)), s) * s for s in np.linspace(1, 6, 20)])
    images = 128 + 40 * np.tensordot(rng.normal(size=(600, 20)), ways, axes=1)
    assert (
        find_leaks(
            records(list(np.clip(images, 0, 255).astype(np.uint8)), [("train", "val")[i % 2] for i in range(600)])
        )
        == []
    )

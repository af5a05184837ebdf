"""``register`` and ``transform`` as a person types them: files in, files out, figures on stdout, errors in one line."""

import json

import numpy as np
import pytest
from command_line import done, medgrad, one_line

from medgrad.data import Grid, Image, LabelMap
from medgrad.data.formats import read, read_labels, write


@pytest.fixture(scope="module")
def ground(tmp_path_factory):
    """A picture and a volume, each with a copy that lies elsewhere, its labels and its landmarks."""
    folder = tmp_path_factory.mktemp("pair")
    rng = np.random.default_rng(0)
    for name, shape, ending in (("flat", (48, 52), "png"), ("deep", (24, 26, 20), "nii.gz")):
        n = len(shape)
        coarse = rng.uniform(0, 200, [s // 4 for s in shape])
        array = np.kron(coarse, np.ones((4,) * n)).astype(np.uint8)
        marked = np.zeros(array.shape, np.uint8)
        marked[tuple(slice(s // 3, 2 * s // 3) for s in array.shape)] = 1
        spacing = None if n == 2 else (1.0, 1.5, 2.0)
        grid = Grid.from_shape(array.shape, spacing=spacing, has_spacing=n == 3)
        for which, by in (("fixed", 0), ("moving", 3)):
            write(folder / f"{name}-{which}.{ending}", Image(np.roll(array, by, axis=0), grid))
            write(folder / f"{name}-{which}-labels.{ending}", LabelMap(np.roll(marked, by, axis=0), grid))
            points = np.array([[10, 12, 9], [14, 8, 11]])[:, :n] + [by, 0, 0][:n]
            rows = points[:, ::-1] if n == 2 else grid.to_world(points)
            lines = [",".join(map(str, ["p", *row])) for row in rows.tolist()]
            lines = [line.replace("p", f"p{i}", 1) for i, line in enumerate(lines)]
            (folder / f"{name}-{which}.csv").write_text("\n".join(["name,x,y,z"[: 4 + 2 * n], *lines]) + "\n")
    return folder


def pair(ground, name, ending, tail=""):
    return [ground / f"{name}-{which}{tail}.{ending}" for which in ("fixed", "moving")]


@pytest.mark.parametrize("how", ["a comma", "a comma and a blank", "twice"])
def test_both_landmarks_are_named_in_any_way_that_is_typed(ground, tmp_path, how):
    one, other = map(str, pair(ground, "flat", "csv"))
    said = {
        "a comma": [f"{one},{other}"],
        "a comma and a blank": [f"{one}, {other}"],
        "twice": [one, "--landmarks", other],
    }
    words = ["--kind", "rigid", "--max-rotation", 0, "--effort", 0.1, "--landmarks", *said[how]]
    found = done("register", *pair(ground, "flat", "png"), "-o", tmp_path / "out", *words)
    assert found["metrics"]["tre_mm"]["value"] is not None


def test_help_shows_how_two_files_are_named():
    assert "FIXED.csv,MOVING.csv" in medgrad("register", "--help").out


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--landmarks", "a.csv"], ["FIXED,MOVING", "1 came", "'a.csv'"]),
        (["--landmarks", "a.csv,b.csv,c.csv"], ["3 came"]),
        (["--landmarks", "gone.csv,gone.csv"], ["'gone.csv' does not exist"]),
        (["--landmarks", "{}/words.csv,{}/words.csv"], ["words.csv", "no column 'x'", "name,x,y,z"]),
        (["--labels", "gone.png,gone.png"], ["'gone.png' does not exist"]),
        (["--roi", "gone.png,gone.png"], ["'gone.png' does not exist"]),
        (["--smoothness", "-1"], ["--smoothness", "at least 0"]),
        (["--max-rotation", "-4"], ["--max-rotation", "at least 0"]),
        (["--run", "{}"], ["not a run"]),
    ],
)
def test_what_else_is_named_is_checked_before_an_image_is_read(ground, tmp_path, words, told, monkeypatch):
    (tmp_path / "words.csv").write_text("name,where\na,left\n")
    monkeypatch.setattr("medgrad.data.formats.read", lambda *_: pytest.fail("an image was read"))
    words = [w.replace("{}", str(tmp_path)) for w in words]
    one_line(medgrad("register", *pair(ground, "flat", "png"), "-o", tmp_path / "out", *words), *told)


@pytest.mark.parametrize(("name", "ending"), [("flat", "png"), ("deep", "nii.gz")])
def test_a_pair_is_registered_and_anything_else_is_moved_alike(ground, tmp_path, name, ending):
    known = ["--labels", *pair(ground, name, ending, "-labels"), "--landmarks", *pair(ground, name, "csv")]
    fixed, moving = pair(ground, name, ending)
    out = tmp_path / "out"
    found = done("register", fixed, moving, "-o", out, "--kind", "rigid", "--max-rotation", 0, *known)
    assert found["metrics"]["tre_mm"]["value"] < 0.3
    assert found["metrics"]["warped_dice/mean"]["value"] > 0.9
    assert found["metrics"]["folded_fraction"]["value"] == 0
    assert {p.name for p in out.iterdir()} == {
        f"moved.{ending}", "transform.txt", "displacement.nii.gz", "jacobian.nii.gz", "checkerboard.png",
        "difference.png", "registration.json",
    }  # fmt: skip
    assert json.loads((out / "registration.json").read_text())["metrics"]["folded_fraction"] == 0

    again = tmp_path / f"again.{ending}"
    done("transform", out, moving, "-o", again)
    assert (read(again).array == read(out / f"moved.{ending}").array).all()

    labels = tmp_path / f"labels.{ending}"
    done("transform", out, ground / f"{name}-moving-labels.{ending}", "--labels", "-o", labels)
    assert set(np.unique(read_labels(labels).array)) == {0, 1}

    done("transform", out, ground / f"{name}-moving.csv", "-o", tmp_path / "points.csv")
    ends, want = (np.loadtxt(p, delimiter=",", skiprows=1, usecols=(1, 2))
                  for p in (tmp_path / "points.csv", ground / f"{name}-fixed.csv"))  # fmt: skip
    np.testing.assert_allclose(ends, want, atol=0.4)


def test_only_what_the_masks_hold_is_compared(ground, tmp_path):
    masks = [tmp_path / f"{which}.png" for which in ("fixed", "moving")]
    grid = Grid.from_shape((48, 52), has_spacing=False)
    for path, by in zip(masks, (0, 3), strict=True):
        region = np.zeros(grid.shape, np.uint8)
        region[4 + by : 40 + by, 4:48] = 1
        write(path, LabelMap(region, grid))
    known = ["--landmarks", *pair(ground, "flat", "csv"), "--kind", "rigid", "--max-rotation", 0]
    found = done("register", *pair(ground, "flat", "png"), "-o", tmp_path / "out", *known, "--roi", *masks)
    assert found["metrics"]["tre_mm"]["value"] < 0.3
    empty = tmp_path / "empty.png"
    write(empty, LabelMap(np.zeros(grid.shape, np.uint8), grid))
    words = ["-o", tmp_path / "other", "--roi", f"{empty},{masks[1]}"]
    one_line(medgrad("register", *pair(ground, "flat", "png"), *words), "region holds nothing")


def test_what_is_given_instead_of_a_bend_is_said_and_written(ground, tmp_path):
    noise = Image(
        np.random.default_rng(1).integers(0, 255, (48, 52)).astype(np.uint8),
        Grid.from_shape((48, 52), has_spacing=False),
    )
    write(tmp_path / "noise.png", noise)
    found = done("register", pair(ground, "flat", "png")[0], tmp_path / "noise.png", "-o", tmp_path / "out")
    written = json.loads((tmp_path / "out" / "registration.json").read_text())
    assert found["kind"] == written["kind"] == "rigid"
    assert written["asked"] == "deformable"
    assert "may not show the same" in written["told"][-1]
    done("transform", tmp_path / "out", tmp_path / "noise.png", "-o", tmp_path / "again.png")


def test_a_bent_registration_moves_as_it_was_written(ground, tmp_path):
    fixed, moving = pair(ground, "flat", "png")
    done("register", fixed, moving, "-o", tmp_path / "out", "--max-rotation", 0)
    done("transform", tmp_path / "out", moving, "-o", tmp_path / "again.png")
    one, other = (read(p).array.astype(int) for p in (tmp_path / "again.png", tmp_path / "out" / "moved.png"))
    assert np.abs(one - other).max() <= 1


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--kind", "bendy"], ["rigid"]),
        (["--similarity", "lnc"], ["lncc"]),
        (["--landmarks", "no.csv", "no.csv"], ["no.csv"]),
    ],
)
def test_a_wrong_word_is_one_line(ground, tmp_path, words, told):
    one_line(medgrad("register", *pair(ground, "flat", "png"), "-o", tmp_path / "out", *words), *told)


def test_a_folder_that_is_no_registration_is_one_line(ground, tmp_path):
    one_line(medgrad("transform", tmp_path, ground / "flat-moving.png", "-o", tmp_path / "x.png"), "registration.json")


@pytest.mark.parametrize("text", ["{", "{}", '{"kind": "rigid", "matrix": [[1]]}'])
def test_a_damaged_registration_is_one_line(ground, tmp_path, text):
    (tmp_path / "registration.json").write_text(text)
    one_line(medgrad("transform", tmp_path, ground / "flat-moving.png", "-o", tmp_path / "x.png"), "registration.json")

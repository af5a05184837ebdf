"""``medgrad process fuse``: one output of several inputs, what the record says of them, and what is refused."""

import hashlib
import json

import numpy as np
import pydicom
import pytest
from command_line import done, medgrad, one_line
from derived_scans import random_slices, scan

import medgrad as package
from medgrad.data import Grid, Image, LabelMap
from medgrad.data.formats import read, write

CT = Grid.from_shape((20, 18, 10), spacing=(1, 1, 3))
PET = Grid.from_shape((5, 5, 10), spacing=(4, 4, 3), origin=(1, 1, 0))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder, rng = tmp_path_factory.mktemp("patient"), np.random.default_rng(0)
    write(folder / "ct.nii.gz", Image(rng.integers(-100, 200, CT.shape).astype(np.int16), CT))
    write(folder / "pet.nii.gz", Image(rng.gamma(1, 2, PET.shape).astype(np.float32), PET))
    far = Grid.from_shape(CT.shape, spacing=(1, 1, 3), origin=(0, 0, 100))
    write(folder / "far.nii.gz", Image(np.zeros(CT.shape, np.int16), far))
    for side, names in (("near", "abc"), ("far", "bcd")):
        for name in names:
            array = rng.integers(0, 255, (24, 22), dtype=np.uint8)
            write(folder / side / f"{name}.png", Image(array, Grid.from_shape(array.shape, has_spacing=False)))
    return folder


def test_several_inputs_give_one_output_on_the_grid_of_the_first(folder, tmp_path):
    inputs = folder / "ct.nii.gz", folder / "pet.nii.gz"
    found = done("process", "denoise,fuse,smooth", *inputs, "-o", tmp_path / "out", "--set", "denoise.method=median")
    (one,) = json.loads((tmp_path / "out" / "process.json").read_text())["images"]
    assert found["images"] == [one]
    digests = [hashlib.sha256(path.read_bytes()).hexdigest() for path in inputs]
    assert [(i["input"], i["input_sha256"]) for i in one["inputs"]] == list(zip(map(str, inputs), digests, strict=True))
    assert (one["unit"]["after"], one["type"]) == ("arbitrary", {"before": "int16", "after": "float32"})
    steps = [(each.pop("step"), set(each)) for each in one["chosen"]]
    both = {"ct.nii.gz", "pet.nii.gz"}
    assert steps == [("denoise", both), ("fuse", both), ("smooth", set())]
    assert read(tmp_path / "out" / "ct.nii.gz").grid.is_close(CT)
    assert [p.name for p in sorted((tmp_path / "out").iterdir())] == ["ct.nii.gz", "process.json"]


def test_images_of_one_name_in_folders_are_fused_and_the_others_named(folder, tmp_path):
    found = package.process("fuse", [folder / "near", folder / "far"], out=tmp_path / "out")
    assert [p.name for p in sorted((tmp_path / "out").glob("*.png"))] == ["b.png", "c.png"]
    assert found["left_out"] == [str(folder / "near" / "a.png"), str(folder / "far" / "d.png")]
    assert [one["type"]["after"] for one in found["images"]] == ["uint8"] * 2
    ended = medgrad("process", "fuse", folder / "near", folder / "far", "-o", tmp_path / "again")
    (line,) = [line for line in ended.err.splitlines() if "left out" in line]
    assert "a.png" in line
    assert "d.png" in line


def test_a_region_of_the_first_is_kept_to(folder, tmp_path):
    inside = np.zeros(CT.shape, np.uint8)
    inside[4:12, 5:13, 2:8] = 1
    mask = write(tmp_path / "mask.nii.gz", LabelMap(inside, CT))
    pair = folder / "ct.nii.gz", folder / "pet.nii.gz"
    package.process("fuse", pair, out=tmp_path / "out", roi=mask)
    assert not read(tmp_path / "out" / "ct.nii.gz").array[inside == 0].any()
    words = "--roi", mask, "-o", tmp_path / "no"
    one_line(medgrad("process", "smooth,fuse", *pair, *words), "common_grid")
    assert done("process", "common_grid,smooth,fuse", *pair, "--roi", mask, "-o", tmp_path / "yes")["images"]


@pytest.mark.parametrize(
    ("inputs", "options", "said"),
    [
        (("ct.nii.gz",), (), ("'fuse' makes one image of several", "ct.nii.gz")),
        (("near",), (), ("'fuse' makes one image of several", "near")),
        (("ct.nii.gz", "far.nii.gz"), (), ("'ct.nii.gz' and 'far.nii.gz' do not overlap: 70.0 mm",)),
        (("ct.nii.gz", "pet.nii.gz"), ("--set", "method=piramid"), ("Did you mean 'pyramid'?",)),
        (("ct.nii.gz", "pet.nii.gz"), ("--set", "weights=1,2"), ("from 0 to 1", "[1, 2]")),
        (("ct.nii.gz", "pet.nii.gz"), ("--set", "weights=1,1,1"), ("2 numbers for 2 images",)),
        (("ct.nii.gz", "near/a.png"), (), ("'ct.nii.gz' has 3 axes, but 'a.png' has 2",)),
        (("ct.nii.gz", "near"), (), ("ct.nii.gz' is one image", "near' holds several")),
    ],
    ids=str,
)
def test_what_cannot_be_fused_is_told_in_one_line(folder, tmp_path, inputs, options, said):
    paths = [folder / name for name in inputs]
    one_line(medgrad("process", "fuse", *paths, "-o", tmp_path / "out", *options), *said)
    assert not (tmp_path / "out" / "process.json").exists()


def test_fusing_twice_is_refused(folder, tmp_path):
    pair = folder / "ct.nii.gz", folder / "pet.nii.gz"
    one_line(medgrad("process", "fuse,fuse", *pair, "-o", tmp_path / "out"), "after one no other is left")


def test_a_series_stays_dicom_where_the_unit_stays_and_names_what_it_was_made_of(tmp_path):
    low, high = (
        scan(tmp_path / n, random_slices(low=k), slopes=[(1, -1024)] * 4) for n, k in (("low", 0), ("high", 9))
    )
    found = package.process("fuse", [low.path, high.path], out=tmp_path / "same", settings=["method=mean"])["images"][0]
    assert found["unit"] == {"before": "HU", "after": "HU"}
    assert "derived DICOM series" in found["messages"][-1]
    words = pydicom.dcmread(tmp_path / "same" / "low" / "0001.dcm").DerivationDescription
    assert words.endswith("of low and high")
    wanted = (read(low).array + read(high).array) / 2
    np.testing.assert_allclose(read(tmp_path / "same" / "low").array, wanted, atol=0.51)
    kind = ["rescale=always"]
    found = package.process("fuse", [low.path, high.path], out=tmp_path / "other", settings=kind)["images"][0]
    assert found["output"].endswith("low.nii.gz")
    assert "'fuse' may change the unit" in found["messages"][-1]

"""Inputs of steps that make one image of several: their groups, and what a network takes after such a step."""

from pathlib import Path

import numpy as np
import pytest

from medgrad.data import Case, Grid, Image
from medgrad.data.formats import ImageSpec, write
from medgrad.errors import FormatError
from medgrad.inference.encode import input_names, stack_channels
from medgrad.inference.pipeline.joined_inputs import join_inputs
from medgrad.inference.pipeline.memory_estimate import MemoryCost, estimate_stage_bytes, specs_after_preparation
from medgrad.prepare import build_steps


def fill(folder, *names):
    for name in names:
        write(folder / name, Image(np.zeros((5, 4), np.uint8), Grid.from_shape((5, 4))))
    return folder


def test_files_are_one_group_and_images_of_folders_one_by_name(tmp_path):
    near, far = fill(tmp_path / "near", "a.png", "b.png"), fill(tmp_path / "far", "b.png", "c.png")
    entries, lone = join_inputs([near / "a.png", far / "c.png"])
    assert [(e.id, list(e.images)) for e in entries] == [("a", ["a.png", "c.png"])]
    assert lone == []
    entries, lone = join_inputs([near, far])
    assert [(e.id, [s.path for s in e.images.values()]) for e in entries] == [("b", [near / "b.png", far / "b.png"])]
    assert lone == [near / "a.png", far / "c.png"]


def test_an_image_is_no_partner_of_a_folder_nor_of_other_names(tmp_path):
    near, far = fill(tmp_path / "near", "a.png", "b.png"), fill(tmp_path / "far", "c.png", "d.png")
    with pytest.raises(FormatError, match=r"a\.png.*is one image"):
        join_inputs([near / "a.png", far])
    with pytest.raises(FormatError, match="has a partner of the same name"):
        join_inputs([near, far])


def test_a_network_takes_the_joined_image_and_misses_no_other_silently():
    image = Image(np.ones((4, 4), np.float32), Grid.from_shape((4, 4)), tags={"fused": ("pet", "ct")})
    case = Case("a", {"pet": image})
    assert input_names(case, ("pet", "ct")) == ["pet"]
    assert stack_channels(case, ("ct", "pet")).shape == (1, 4, 4)
    with pytest.raises(ValueError, match="'mr'"):
        stack_channels(case, ("pet", "ct", "mr"))


def test_files_of_equal_names_are_told_apart_by_their_folders(tmp_path):
    near, far = fill(tmp_path / "near", "a.png"), fill(tmp_path / "far", "a.png")
    (entry,), _ = join_inputs([near / "a.png", far / "a.png"])
    assert [Path(name) for name in entry.images] == [near / "a.png", far / "a.png"]


def test_the_memory_of_joining_is_counted_and_one_image_is_left():
    spec, steps = ImageSpec(Grid.from_shape((64, 64, 64)), 1), tuple(build_steps([{"name": "fuse"}]))
    cost = MemoryCost(1000, (16, 16, 16), prepare_steps=steps)
    assert len(specs_after_preparation([spec, spec], cost)) == 1
    assert estimate_stage_bytes([spec, spec], cost)["preparing"] > 2 * 80 * 64**3

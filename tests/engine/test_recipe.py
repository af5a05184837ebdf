"""The recipe is one tree: written and read it stays the same, and a wrong key names the right one."""

import json
import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny_set import make_folder

from medgrad import fit
from medgrad.engine.runs.recipe import (
    Recipe,
    Training,
    format_toml_value,
    merge_changes,
    read_recipe,
    recipe_from_tables,
    recipe_to_toml,
)
from medgrad.errors import MedgradError, SettingError

FULL = Recipe(
    task={"kind": "segmentation", "dims": 2, "labels": ("liver", 'a "quoted" name', "naïve\n")},
    model={"name": "unet", "channels": (8, 16), "strides": ((2, 2),)},
    prepare=({"name": "reorient"}, {"name": "normalise", "method": "window"}),
    augment=({"name": "flip", "axes": (0, 1)},),
    gradients=({"name": "clipped", "norm": 1.0},),
    training=Training(steps=7, patch=(8, 8)),
)


def test_is_read_as_it_was_written():
    again = recipe_from_tables(tomllib.loads(recipe_to_toml(FULL)))
    assert again == FULL


@given(
    st.recursive(
        st.booleans() | st.integers(-(2**60), 2**60) | st.floats(allow_nan=False) | st.text(),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(min_size=1), inner, max_size=3),
        max_leaves=8,
    )
)
def test_any_value_survives_toml(value):
    assert tomllib.loads(f"x = {format_toml_value(value)}")["x"] == value


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ({"modle": {}}, "Did you mean 'model'"),
        ({"training": {"step": 5}}, "Did you mean 'steps'"),
        ({"model": {"name": "unet", "chanels": [1]}}, "Did you mean 'channels'"),
        ({"model": {"name": "unett"}}, "Did you mean 'unet'"),
        ({"task": {"kind": "segmentation", "label": ["x"]}}, "Did you mean 'labels'"),
        ({"training": {"steps": "many"}}, "must be a int"),
        ({"augment": [{"axes": [0]}]}, "has no name"),
    ],
)
def test_a_wrong_setting_is_told_with_the_nearest_right_one(table, said):
    with pytest.raises(MedgradError, match=said):
        recipe_from_tables(table)


def test_a_persons_changes_replace_what_they_name_and_nothing_else():
    new = merge_changes(FULL, {"training": {"batch": 9}, "model": {"channels": [4, 8]}})
    assert (new.training.batch, new.training.steps) == (9, 7)
    assert new.model["channels"] == (4, 8)
    assert new.model["strides"] == ((2, 2),)


def test_another_model_drops_the_settings_of_the_first():
    new = merge_changes(FULL, {"model": {"name": "vgg"}})
    assert dict(new.model) == {"name": "vgg"}


def test_what_is_no_toml_is_one_line(tmp_path):
    (tmp_path / "r.toml").write_bytes(b"\xff\xfe[")
    with pytest.raises(SettingError, match="not a TOML file"):
        read_recipe(tmp_path / "r.toml")


def test_who_names_a_rate_means_it_however_few_the_steps_are():
    planned = Recipe(training=Training(boost_below_steps=300))
    assert merge_changes(planned, {"optimiser": {"rate": 0.5}}).training.boost_below_steps == 0
    assert (
        merge_changes(
            planned, {"optimiser": {"rate": 0.5}, "training": {"boost_below_steps": 9}}
        ).training.boost_below_steps
        == 9
    )
    assert (
        merge_changes(planned, {"optimiser": {"name": "sgd"}, "training": {"steps": 9}}).training.boost_below_steps
        == 300
    )
    with pytest.raises(MedgradError):
        merge_changes(planned, {"optimiser": 5})


@pytest.mark.parametrize(("brief", "times"), [(0, 1.0), (12, 1.5), (300, 3.0)])
def test_a_run_of_few_steps_takes_longer_ones(tmp_path, brief, times):
    data = make_folder(tmp_path / "data", cases=4)
    (tmp_path / "own.toml").write_text(
        (data / "recipe.toml").read_text().replace("batch = 2", f"batch = 2\nboost_below_steps = {brief}")
    )
    fit(str(data), out=tmp_path / "run", steps=8, recipe=tmp_path / "own.toml")
    lines = [json.loads(line) for line in (tmp_path / "run" / "steps.jsonl").read_text().splitlines()]
    assert max(line["rate"] for line in lines if "rate" in line) == pytest.approx(times * 1e-2, rel=0.1)

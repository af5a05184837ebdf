"""A network begins with what was learned before, where that fits, and says what did not."""

import json

import pytest
import torch
from safetensors.torch import save_file
from tiny_set import make_folder

from medgrad import fit, registry
from medgrad.engine.runs.checkpoint import read_checkpoint
from medgrad.engine.runs.pretrained import load_pretrained, recipe_from_run
from medgrad.engine.runs.recipe import Recipe, merge_changes, read_toml_tables
from medgrad.errors import FormatError, SettingError


def unet(inputs=1, outputs=2, channels=(4, 8), seed=0):
    torch.manual_seed(seed)
    return registry.find("models", "unet")(inputs, outputs, 3, channels=channels, strides=[(2, 2, 2)])


def saved(tmp_path, network):
    path = tmp_path / "learned.safetensors"
    save_file({k: v.contiguous() for k, v in network.state_dict().items()}, path)
    return str(path)


def test_the_same_network_gets_every_number(tmp_path):
    learned, own = unet(seed=1), unet(seed=2)
    told = load_pretrained(own, {"weights": saved(tmp_path, learned)})
    assert told["taken"] == 1
    assert told["anew"] == []
    x = torch.randn(1, 1, 8, 8, 8)
    torch.testing.assert_close(own.eval()(x), learned.eval()(x))


def test_other_classes_begin_anew_and_nothing_else(tmp_path):
    learned, own = unet(outputs=2, seed=1), unet(outputs=5, seed=2)
    before = {k: v.clone() for k, v in own.state_dict().items()}
    told = load_pretrained(own, {"weights": saved(tmp_path, learned)})
    assert told["anew"] == ["heads.0.bias", "heads.0.weight"]
    for name, value in own.state_dict().items():
        assert torch.equal(value, before[name] if name in told["anew"] else learned.state_dict()[name]), name


def test_grey_images_are_seen_as_coloured_ones_of_one_value(tmp_path):
    learned, own = unet(inputs=3, seed=1).eval(), unet(inputs=1, seed=2).eval()
    load_pretrained(own, {"weights": saved(tmp_path, learned)})
    x = torch.randn(1, 1, 8, 8, 8)
    torch.testing.assert_close(own(x), learned(x.expand(-1, 3, -1, -1, -1)), rtol=1e-4, atol=1e-5)


def test_only_a_part_is_taken_where_only_a_part_is_wanted(tmp_path):
    learned, own = unet(seed=1), unet(seed=2)
    before = {k: v.clone() for k, v in own.state_dict().items()}
    load_pretrained(own, {"weights": saved(tmp_path, learned), "only": ("down.",)})
    for name, value in own.state_dict().items():
        assert torch.equal(value, learned.state_dict()[name] if name.startswith("down.") else before[name]), name


def test_another_network_is_refused_with_how_little_fits(tmp_path):
    with pytest.raises(FormatError, match=r"fits \d+% of this network's numbers"):
        load_pretrained(unet(channels=(4, 8)), {"weights": saved(tmp_path, unet(channels=(6, 12)))})


@pytest.mark.parametrize(
    ("start", "said"),
    [
        ({"weights": "nowhere"}, "does not exist"),
        ({"weights": "text.safetensors"}, "no safetensors file"),
        ({"weights": "learned.safetensors", "only": ("encoder.",)}, "begins with 'encoder.'"),
    ],
)
def test_what_cannot_be_begun_with_is_told(tmp_path, start, said, monkeypatch):
    monkeypatch.chdir(tmp_path)
    saved(tmp_path, unet())
    (tmp_path / "text.safetensors").write_text("these are no weights")
    with pytest.raises((FormatError, SettingError), match=said):
        load_pretrained(unet(), start)


def test_a_persons_tables_lie_over_those_of_the_run(tmp_path):
    (tmp_path / "recipe.toml").write_text(
        "[model]\nname = 'unet'\nchannels = [4, 8]\n[[prepare]]\nname = 'reorient'\n[training]\npatch = [8, 8, 8]\n"
    )
    tables = recipe_from_run(tmp_path, {"training": {"batch": 3}, "init": {"only": ["down."]}})
    assert tables["training"] == {"patch": (8, 8, 8), "batch": 3}
    assert tables["init"] == {"weights": str(tmp_path), "only": ["down."]}
    assert tables["model"]["channels"] == (4, 8)
    assert recipe_from_run(tmp_path, {"model": {"name": "vgg"}})["model"] == {"name": "vgg"}


def test_a_pruned_network_is_begun_with_as_narrow_as_it_is(tmp_path):
    (tmp_path / "recipe.toml").write_text("[model]\nname = 'unet'\n[layer_widths]\n'down.0.0.conv' = [1, 3, 1]\n")
    assert recipe_from_run(tmp_path, {})["layer_widths"] == {"down.0.0.conv": (1, 3, 1)}
    assert "layer_widths" not in recipe_from_run(tmp_path, {"model": {"name": "vgg"}})
    recipe = Recipe(layer_widths={"down.0.0.conv": (1, 3, 1)})
    assert merge_changes(recipe, {"model": {"deep_supervision": True}}).layer_widths == recipe.layer_widths
    assert merge_changes(recipe, {"model": {"name": "monai", "network": "SegResNet"}}).layer_widths == {}


def test_a_run_goes_on_where_another_ended(tmp_path):
    data = make_folder(tmp_path / "data", cases=4)
    first, second = tmp_path / "first", tmp_path / "second"
    fit(str(data), out=first, steps=6, recipe=data / "recipe.toml")
    (tmp_path / "still.toml").write_text("[optimiser]\nname = 'sgd'\nrate = 0.0\n[training]\nema = 0.0\n")
    fit(str(data), out=second, steps=1, recipe=tmp_path / "still.toml", init=first)
    learned = read_checkpoint(first / "weights" / "best.safetensors")["ema"]
    begun = read_checkpoint(second / "weights" / "last.safetensors")["model"]
    assert all(torch.equal(v, learned[k]) for k, v in begun.items())
    assert json.loads((second / "run.json").read_text())["init"]["taken"] == 1
    assert read_toml_tables(second / "recipe.toml")["init"]["weights"] == str(first)

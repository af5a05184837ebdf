"""Networks of other tasks begin with what an autoencoder learned from images alone."""

import contextlib
import json
import shutil

import pytest
import torch
from command_line import make_flat, make_pictures, medgrad, one_line
from PIL import Image as Pillow
from safetensors.torch import save_file
from tiny_set import make_facts, make_folder

from medgrad import registry
from medgrad.data.cohorts.layouts import Hints, recognise
from medgrad.engine.runs.checkpoint import read_checkpoint
from medgrad.engine.runs.pretrained import load_pretrained, recipe_from_run
from medgrad.engine.runs.recipe import check_part_settings, read_toml_tables
from medgrad.engine.training.fit import fit
from medgrad.engine.training.plan import plan
from medgrad.errors import SettingError

SMALL = {
    "unet": {"channels": [4, 8], "strides": [[2, 2]]},
    "resnet": {"channels": [4, 8], "blocks": [1, 1], "stem": 1},
    "retinanet": {"channels": [4, 8, 8], "first": 1, "width": 8},
}
TRAINING = {"batch": 4, "validations": 1, "threads": 1}
BODIES = [n for n in registry.names("models") if getattr(registry.find("models", n), "backbone", None)]


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    return make_pictures(tmp_path_factory.mktemp("pictures"))


@pytest.fixture(scope="module")
def flat(tmp_path_factory):
    return make_flat(tmp_path_factory.mktemp("flat"))


@pytest.fixture(scope="module")
def learned(flat, pictures, tmp_path_factory):
    """Give the autoencoder of each body, learned in three steps."""
    home, runs = tmp_path_factory.mktemp("learned"), {}
    for body, sizes in SMALL.items():
        folder = pictures if body == "resnet" else flat
        cohort = recognise(folder, Hints(task="restoration", kind="self"))
        changes = {"model": {"name": "autoencoder", "body": body, **sizes}, "training": TRAINING}
        fit(cohort, home / body, steps=3, changes=changes)
        runs[body] = home / body
    return runs


def begun(folder, run, out, task=None, *words):
    return medgrad("fit", folder, "--init", run, "-o", out, "--steps", 1, *(("--task", task) if task else ()), *words)


@pytest.mark.parametrize(
    ("body", "task", "anew"),
    [("unet", "segmentation", "heads"), ("resnet", None, "head"), ("retinanet", "detection", "classes, shifts")],
)
def test_each_task_begins_with_it_and_says_so_in_one_line(learned, flat, pictures, tmp_path, body, task, anew):
    (tmp_path / "still.toml").write_text("[optimiser]\nname = 'sgd'\nrate = 0.0\n[training]\nema = 0.0\nthreads = 1\n")
    folder = pictures if body == "resnet" else flat
    ended = begun(folder, learned[body], tmp_path / "run", task, "--recipe", tmp_path / "still.toml")
    assert ended.code == 0, ended.err
    assert f"'{learned[body]}'; anew: {anew}." in ended.err
    recipe, first = (read_toml_tables(run / "recipe.toml") for run in (tmp_path / "run", learned[body]))
    assert recipe["model"]["name"] == body
    if body != "retinanet":  # objects say how coarse
        assert (recipe["prepare"], recipe["training"]["patch"]) == (first["prepare"], first["training"]["patch"])
    given = read_checkpoint(learned[body] / "weights" / "best.safetensors")["ema"]
    taken = read_checkpoint(tmp_path / "run" / "weights" / "last.safetensors")["model"]
    facts = json.loads((tmp_path / "run" / "run.json").read_text())["init"]
    for name, value in taken.items():
        if name not in facts["anew"] and "running" not in name and "tracked" not in name:
            directions = [v.flatten() / v.norm().clamp_min(1e-9) for v in (value, given[f"network.{name}"])]
            torch.testing.assert_close(*directions, msg=name)


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("body", BODIES)
def test_every_classifier_and_detector_begins_with_its_whole_backbone(body, dims, tmp_path):
    task, name = "restoration", registry.find("models", body).backbone
    recipe = plan(make_facts(task, dims), model="autoencoder", body=body)
    settings = {k: v for k, v in recipe.model.items() if k != "name"}
    auto = registry.find("models", "autoencoder")(1, 1, dims, **settings)
    save_file({k: v.contiguous() for k, v in auto.state_dict().items()}, tmp_path / "auto.safetensors")
    table = registry.find("models", "autoencoder").inner_model(settings)
    network = registry.find("models", table.pop("name"))(1, 2, dims, **table)
    told = load_pretrained(network, {"weights": str(tmp_path / "auto.safetensors")})
    assert not [n for n in told["anew"] if n.startswith(f"{name}.")]
    assert told["anew"]


def test_weights_that_have_grown_compute_the_same_and_learn_as_fast_as_new_ones(tmp_path):
    torch.manual_seed(0)
    make = registry.find("models", "resnet")
    auto = registry.find("models", "autoencoder")(1, 1, 2, body="resnet", channels=(4, 8), blocks=(1, 1))
    with torch.no_grad():
        for p in auto.parameters():
            p.mul_(5 if p.ndim > 1 else 1)
    save_file(auto.state_dict(), tmp_path / "auto.safetensors")
    network = make(1, 2, 2, channels=(4, 8), blocks=(1, 1))
    norms = {k: float(v.detach().norm()) for k, v in network.named_parameters()}
    told = load_pretrained(network, {"weights": str(tmp_path / "auto.safetensors")})
    x = torch.randn(3, 1, 8, 8)
    torch.testing.assert_close(network.train().body(x), auto.train().network["body"](x), rtol=1e-2, atol=1e-3)
    for name, p in network.named_parameters():
        assert float(p.detach().norm()) == pytest.approx(norms[name], rel=1e-4), name
    assert told["anew"] == ["head.3.bias", "head.3.weight"]


def test_a_run_of_restoration_begins_a_segmenter(tmp_path):
    (tmp_path / "recipe.toml").write_text(
        "[task]\nkind = 'restoration'\n[model]\nname = 'image_unet'\nchannels = [4, 8]\n"
        "[layer_widths]\n'correction.down.0.0.0' = [1, 3, 1]\n"
    )
    tables = recipe_from_run(tmp_path, {}, task=registry.find("tasks", "segmentation")(dims=3), n_images=1)
    assert tables["model"] == {
        "name": "unet", "channels": (4, 8), "encoder": "plain", "blocks": 2, "decoder_blocks": 2, "normalise": "batch",
    }  # fmt: skip
    assert tables["layer_widths"] == {"down.0.0.0": (1, 3, 1)}


def test_what_was_prepared_for_one_image_is_not_for_two(learned):
    task = registry.find("tasks", "segmentation")(dims=2)
    assert "prepare" in recipe_from_run(learned["unet"], {}, task=task, n_images=1)
    tables = recipe_from_run(learned["unet"], {}, task=task, n_images=2)
    assert "prepare" not in tables
    assert "training" not in tables


def test_colours_begin_with_what_grey_images_taught(learned, flat, tmp_path):
    shutil.copytree(flat, tmp_path / "coloured")
    for path in (tmp_path / "coloured" / "images").iterdir():
        Pillow.open(path).convert("RGB").save(path)
    assert begun(tmp_path / "coloured", learned["unet"], tmp_path / "run").code == 0
    assert json.loads((tmp_path / "run" / "run.json").read_text())["init"]["anew"] == ["heads.0.bias", "heads.0.weight"]


def test_what_cannot_begin_is_refused_in_one_sentence(learned, flat, pictures, tmp_path):
    out = tmp_path / "run"
    one_line(begun(pictures, learned["unet"], out), "classification cannot begin", "cnn", "resnet", "vgg")
    one_line(begun(flat, learned["resnet"], out), "segmentation cannot begin", "unet")
    one_line(begun(flat, learned["resnet"], out, "detection"), "detection cannot begin", "retinanet", "yolo")
    volumes = make_folder(tmp_path / "volumes", cases=4)
    one_line(begun(volumes, learned["unet"], out), "images of 2 axes, but these have 3")
    one_line(begun(flat, learned["unet"], learned["unet"]), "name the same run")
    one_line(begun(flat, learned["unet"], out, None, "--model", "yolo"), "segmentation needs a dense output")
    (tmp_path / "folds" / "fold-0" / "weights").mkdir(parents=True)
    one_line(begun(flat, tmp_path / "folds", out), "is a run of folds", "'fold-0'")
    gone = shutil.copytree(learned["unet"], tmp_path / "gone")
    for path in (gone / "weights").iterdir():
        path.unlink()
    one_line(begun(flat, gone, out), "has no weights")
    assert not (out / "recipe.toml").exists()


def test_a_generator_begins_no_segmenter(tmp_path):
    (tmp_path / "recipe.toml").write_text("[task]\nkind = 'generation'\n[model]\nname = 'rectified_flow'\n")
    with pytest.raises(SettingError, match=r"segmentation cannot begin\. .* 'body' one of monai, unet"):
        recipe_from_run(tmp_path, {}, task=registry.find("tasks", "segmentation")(dims=3), n_images=1)


@pytest.mark.parametrize("settings", [{"body": "dncnn"}, {"body": "autoencoder"}, {"body": "resnet", "strides": [2]}])
def test_a_body_is_a_network_with_a_backbone_and_its_own_settings(settings):
    with pytest.raises(SettingError):
        check_part_settings({"model": {"name": "autoencoder", **settings}, "task": {"kind": "restoration"}})


class CutOff:
    """Progress that ends the process, as a person would, after three steps."""

    def say(self, text):
        del text

    @contextlib.contextmanager
    def bar(self, description):
        def shown(done, total, note=""):
            del total, note
            if description == "Learning" and done == 3:
                raise KeyboardInterrupt

        yield shown


def test_a_run_that_was_cut_off_goes_on_to_the_same_bits(learned, pictures, tmp_path):
    cohort, source = recognise(pictures), shutil.copytree(learned["resnet"], tmp_path / "source")
    task = registry.find("tasks", cohort.task)(dims=2)
    changes = recipe_from_run(source, {"training": TRAINING | {"validations": 2}}, task=task, n_images=1)
    fit(cohort, tmp_path / "whole", steps=4, changes=changes)
    with pytest.raises(KeyboardInterrupt):
        fit(cohort, tmp_path / "cut", steps=4, changes=changes, progress=CutOff())
    shutil.rmtree(source)  # what it began with is in its checkpoint
    fit(cohort, tmp_path / "cut", steps=4)
    whole, cut = (read_checkpoint(tmp_path / run / "weights" / "last.safetensors") for run in ("whole", "cut"))
    for part in ("model", "ema"):
        assert all(torch.equal(v, cut[part][k]) for k, v in whole[part].items())
    assert json.loads((tmp_path / "cut" / "run.json").read_text())["init"]["anew"] == ["head.3.bias", "head.3.weight"]

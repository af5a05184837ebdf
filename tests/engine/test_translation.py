"""Translation: answers in the unit of the other modality; pairs and flows are killed and resumed to the same bits."""

import json

import numpy as np
import pytest

from medgrad.data import Grid, Image, SyntheticImage
from medgrad.data.cohorts.layouts import Hints, recognise
from medgrad.data.formats import read, write
from medgrad.engine.evaluation.opened_run import open_run
from medgrad.engine.runs.checkpoint import read_checkpoint
from medgrad.engine.training.fit import fit
from medgrad.engine.training.trainer import Trainer

GRID = Grid((16, 16, 8), ((-1.0, 0.0, 0.0, 10.0), (0.0, -1.0, 0.0, 12.0), (0.0, 0.0, 2.0, -8.0), (0.0, 0.0, 0.0, 1.0)))
HINTS = Hints(truth="pet", task="translation", kind="synthetic_image")
TRAINING = {"batch": 2, "patch": [16, 16, 8], "threads": 1, "validations": 1, "precision": "float32"}
UNET = {"name": "unet", "channels": [8, 16], "strides": [[2, 2, 2]], "normalise": "batch"}
PAIR = {"name": "adversarial_pair", "channels": [4, 8], "strides": [[2, 2, 2]], "critic_channels": [4, 8]}
ADVERSARIAL = {"model": PAIR, "gradients": [{"name": "adversarial"}, {"name": "clipped", "norm": 1.0}],
               "rates": [{"match": "critic*", "rate": 0.5}]}  # fmt: skip


def pair(seed):
    """A CT in HU, and a PET that takes up where the CT is bright."""
    rng, tissue = np.random.default_rng(seed), np.zeros(GRID.shape, int)
    for kind in (1, 2):
        corner = rng.integers(1, 4, 3)
        tissue[tuple(slice(c, c + 5) for c in corner)] = kind
    ct = np.array([-1000.0, 40.0, 300.0])[tissue] + rng.normal(0, 10, GRID.shape)
    pet = np.array([0.1, 1.0, 6.0])[tissue]
    return Image(np.rint(ct).astype(np.int16), GRID, "ct"), Image(pet.astype(np.float32), GRID, "pet")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pairs")
    for number in range(8):
        for name, image in zip(("ct", "pet"), pair(number), strict=True):
            write(folder / name / f"case_{number}.nii.gz", image)
    return folder


@pytest.fixture(scope="module")
def run(folder, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "run"
    fit(recognise(folder, HINTS), out, steps=60, changes={"model": UNET, "training": TRAINING})
    return out


def test_the_truth_is_another_image_and_keeps_its_unit(folder):
    cohort = recognise(folder, HINTS)
    assert (cohort.task, cohort.truth) == ("translation", "synthetic_image")
    case = cohort.load_case(cohort.entries[0])
    assert type(case.truth) is SyntheticImage
    assert set(case.images) == {"image"}
    assert not cohort.is_own_truth(cohort.entries[0])


def test_the_answer_is_in_the_unit_of_the_other_modality(run, folder):
    recipe = open_run(run).recipe
    assert 0 < recipe.task["mean"] < 3
    answer = open_run(run).predict(read(folder / "ct" / "case_0.nii.gz"))
    pet = pair(0)[1].array
    assert type(answer) is SyntheticImage
    assert answer.grid.is_close(GRID)
    assert answer.array[pet > 5].mean() > 3
    assert abs(answer.array[pet < 0.5].mean()) < 1
    found = json.loads((run / "evaluation.json").read_text())["metrics"]
    assert found["psnr"]["value"] > 12
    assert "psnr_before" not in found


@pytest.mark.parametrize("kind", ["adversarial", "flow"])
def test_killed_and_resumed_it_comes_to_the_same_bits(kind, folder, tmp_path, monkeypatch):
    """By the unchanged loop: every batch, time, noise and answer of the critic is a function of the step."""
    if kind == "flow":
        hints = Hints(task="generation", kind="synthetic_self")
        model = {"name": "rectified_flow", "channels": [4, 8], "strides": [[2, 2, 2]], "steps": 2}
        changes = {"model": model, "training": TRAINING}
        cohort = recognise(folder / "pet", hints)
    else:
        changes, cohort = ADVERSARIAL | {"training": TRAINING}, recognise(folder, HINTS)
    fit(cohort, tmp_path / "whole", steps=6, changes=changes)
    real, done = Trainer.run_steps, []

    def dies(self, *words, **settings):
        for step in real(self, *words, **settings):
            yield step
            done.append(step.number)
            if step.number == 2 and "broken" in str(self.run.folder):
                from medgrad.engine.training.trainer import save_checkpoint

                save_checkpoint(self)
                raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "run_steps", dies)
        with pytest.raises(KeyboardInterrupt):
            fit(cohort, tmp_path / "broken", steps=6, changes=changes)
    assert max(done) == 2
    fit(cohort, tmp_path / "broken", steps=6, changes=changes)
    one, two = (read_checkpoint(tmp_path / n / "weights" / "last.safetensors") for n in ("whole", "broken"))
    for part in ("model", "ema"):
        assert one[part].keys() == two[part].keys()
        for name, value in one[part].items():
            assert (value == two[part][name]).all(), name

"""The command line: what it prints and where, how it ends, and the whole journey from a folder to answers."""

import json
import os
import re
import subprocess
import sys
import time
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image as Pillow
from tiny_set import RECIPE, make_folder

from medgrad import registry
from medgrad.apps.cli import main
from medgrad.data import Grid, Image, LabelMap
from medgrad.data.formats import read, read_labels, write

VERBS = registry.names("apps.verbs")
FLAT = RECIPE.replace("[[2, 2, 2]]", "[[2, 2]]").replace("[16, 16, 16]", "[24, 24]")
CLASSES = """
[model]
name = "cnn"
channels = [8, 16]

[training]
batch = 8
validations = 4

[optimiser]
name = "adamw"
rate = 1e-2
"""


@dataclass(frozen=True)
class Ended:
    code: int
    out: str
    err: str

    @property
    def found(self):
        return json.loads(self.out)


def medgrad(*words):
    """Run a command in this process: as the terminal would, but without importing torch again."""
    before, out, err, code = sys.argv, StringIO(), StringIO(), 0
    sys.argv = ["medgrad", *map(str, words)]
    try:
        with redirect_stdout(out), redirect_stderr(err):
            main()
    except SystemExit as end:
        code = end.code or 0
    finally:
        sys.argv = before
    return Ended(code, out.getvalue(), err.getvalue())


def done(*words):
    """Run a command that must succeed, and give the one object that it prints."""
    ended = medgrad(*words, "--json")
    assert ended.code == 0, ended.err
    return ended.found


def in_a_shell(*words, **variables):
    command = [sys.executable, "-m", "medgrad", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ | variables)


def one_line(ended, *words):
    """Check that a user's error is told in one line that has these words."""
    assert ended.code == 1, (ended.code, ended.err)
    assert "Traceback" not in ended.err
    last = ended.err.strip().splitlines()[-1]
    assert last.startswith("medgrad: ")
    assert "not foreseen" not in last
    assert not re.search(r"^(medgrad: )?[A-Z]\w+Error", last)
    for word in words:
        assert word in last
    assert ended.out == ""


def make_pictures(folder, cases=16, size=24):
    """Write pictures in class folders: a bright square, or none."""
    for number in range(cases):
        rng = np.random.default_rng(number)
        array = rng.integers(0, 90, (size, size), dtype=np.uint8)
        ill = number % 2
        if ill:
            y, x = rng.integers(2, size - 10, 2)
            array[y : y + 8, x : x + 8] += 150
        path = folder / ("ill" if ill else "well") / f"scan_{number:02d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Pillow.fromarray(array).save(path)
    return folder


def make_flat(folder, cases=8, size=24):
    """Write pictures with a bright square, and the square's mask, as PNG."""
    for number in range(cases):
        rng = np.random.default_rng(number)
        mask = np.zeros((size, size + 4), np.uint8)
        y, x = rng.integers(1, size - 10, 2)
        mask[y : y + 9, x : x + 9] = 255
        image = (mask // 2 + rng.integers(0, 60, mask.shape)).astype(np.uint8)
        for name, array in (("images", image), ("masks", mask)):
            (folder / name).mkdir(parents=True, exist_ok=True)
            Pillow.fromarray(array).save(folder / name / f"p{number}.png")
    return folder


def recipe(folder, text=RECIPE):
    path = folder / "tiny.toml"
    path.write_text(text)
    return path


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """Networks as small as these are slower with more."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def volumes(tmp_path_factory):
    return make_folder(tmp_path_factory.mktemp("volumes") / "data")


@pytest.fixture(scope="module")
def run(volumes, tmp_path_factory):
    """A run that has learned a little, and what its command printed."""
    folder = tmp_path_factory.mktemp("fitted") / "run"
    ended = medgrad(
        "fit", volumes, "-o", folder, "--steps", 40, "--recipe", volumes / "recipe.toml",
        "--val", "case_00,case_01,case_02", "--json",
    )  # fmt: skip
    assert ended.code == 0, ended.err
    return folder, ended


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    return make_pictures(tmp_path_factory.mktemp("pictures") / "data")


@pytest.fixture(scope="module")
def opinion(pictures, tmp_path_factory):
    folder = tmp_path_factory.mktemp("opinion")
    found = done("fit", pictures, "-o", folder / "run", "--steps", 60, "--recipe", recipe(folder, CLASSES))
    return folder / "run", found


class TestManners:
    def test_help_comes_at_once(self):
        taken = []
        for _ in range(5):
            began = time.perf_counter()
            assert in_a_shell("--help").returncode == 0
            taken.append(time.perf_counter() - began)
        assert min(taken) < 0.5

    def test_importing_medgrad_is_quick(self):
        taken = []
        for _ in range(5):
            began = time.perf_counter()
            subprocess.run([sys.executable, "-c", "import medgrad"], check=True)
            taken.append(time.perf_counter() - began)
        assert min(taken) < 0.2

    @pytest.mark.parametrize("verb", VERBS)
    def test_every_verb_has_help_that_says_what_it_does(self, verb):
        ended = medgrad(verb.rstrip("_"), "--help")
        assert ended.code == 0
        assert "Usage:" in ended.out
        assert "--json" in ended.out
        about = registry.find("apps.verbs", verb).__doc__.split()[:4]
        assert " ".join(about) in " ".join(ended.out.split())

    @pytest.mark.parametrize("verb", VERBS)
    def test_every_option_says_what_it_is_for(self, verb):
        from typing import get_type_hints

        hints = get_type_hints(registry.find("apps.verbs", verb), include_extras=True)
        for name, hint in hints.items():
            if name not in ("teller", "return"):
                assert hint.__metadata__[0].help.endswith("."), name

    def test_the_version_is_told(self):
        from medgrad import __version__

        assert medgrad("--version").out.strip() == __version__

    @pytest.mark.parametrize("words", [("fitt",), ("fit",), ("fit", "x", "--nonsense"), ("compare", "a"), ()])
    def test_wrong_usage_ends_with_2(self, words):
        ended = medgrad(*words)
        assert ended.code == 2
        assert "Traceback" not in ended.err

    @pytest.mark.parametrize("option", [("--steps", "many"), ("--steps", "-1"), ("--folds", "-1")])
    def test_a_number_that_cannot_be_ends_with_2(self, option, volumes, tmp_path):
        ended = medgrad("fit", volumes, "-o", tmp_path / "run", *option)
        assert ended.code == 2
        assert not (tmp_path / "run").exists()

    def test_a_shell_sees_the_same_ends(self):
        good, bad, wrong = in_a_shell("--version"), in_a_shell("look", "nowhere"), in_a_shell("look")
        assert (good.returncode, bad.returncode, wrong.returncode) == (0, 1, 2)
        assert bad.stdout == ""
        assert bad.stderr == "medgrad: 'nowhere' does not exist. Check the path.\n"

    def test_what_was_not_foreseen_is_one_line_too(self, monkeypatch):
        def broken(*_):
            raise RuntimeError("two\nlines")

        monkeypatch.setattr("medgrad.apps.verbs._cohort.recognise", broken)
        ended = medgrad("look", "x")
        assert ended.code == 1
        assert ended.err.count("\n") == 1
        assert "not foreseen: RuntimeError: two lines" in ended.err

    def test_the_place_of_what_was_not_foreseen_can_be_asked_for(self, monkeypatch):
        monkeypatch.setattr("medgrad.apps.verbs._cohort.recognise", lambda *_: 1 / 0)
        monkeypatch.setenv("MEDGRAD_TRACEBACK", "1")
        with pytest.raises(ZeroDivisionError):
            medgrad("look", "x")


class TestErrors:
    """What a user gets wrong is one line that names it and ends with 1."""

    def test_a_missing_folder(self, tmp_path):
        for words in (("look", "gone"), ("plan", "gone"), ("fit", "gone", "-o", tmp_path / "r")):
            one_line(medgrad(*words), "'gone' does not exist")

    def test_a_folder_that_is_no_set(self, tmp_path):
        (tmp_path / "notes.txt").write_text("words")
        one_line(medgrad("look", tmp_path), str(tmp_path), "not laid out", "nearest layout")

    def test_a_model_that_is_not_known(self, volumes, tmp_path):
        one_line(medgrad("fit", volumes, "-o", tmp_path / "r", "--model", "unett"), "Did you mean 'unet'?")

    def test_a_model_that_does_not_suit_the_task(self, volumes, tmp_path):
        one_line(medgrad("fit", volumes, "-o", tmp_path / "r", "--model", "vgg", "--steps", 2), "dense", "unet")

    @pytest.mark.parametrize(
        ("text", "said"),
        [
            ("[model", ("bad.toml", "not a TOML file")),
            ("[modle]\nname = 'unet'", ("Did you mean 'model'?",)),
            ("[model]\nname = 'unet'\nchanels = [4]", ("Did you mean 'channels'?",)),
            ("model = 5", ("'model'", "is a table")),
            ("model = 'unet'", ("'model'", "is a table")),
            ("gradients = 5", ("'gradients'", "list of tables")),
            ("[optimiser]\nrate = 'fast'", ("'rate'", "a number", "'fast'")),
            ("[optimiser]\nrate = true", ("'rate'", "a number")),
            ("[optimiser]\nrate = nan", ("'rate'", "a number")),
            ("[optimiser]\nrate = -1.0", ("rate", "-1")),
            ("[schedule]\nwarm = []", ("'warm'", "a number")),
            ("[model]\nchannels = 'x'", ("'channels'", "a list")),
            ("[task]\nkind = 'segmentatio'", ("Did you mean 'segmentation'?",)),
            ("[task]\nloss_name = 'dicee'", ("Did you mean 'dice'?",)),
            ("[[prepare]]\nname = 'resampl'", ("Did you mean 'resample'?",)),
            ("[training]\nbatch = 0", ("'batch'", "at least 1")),
            ("[training]\naverage = 2.0", ("'average'", "from 0 to 1")),
            ("[training]\npatch = [16, 16]", ("'patch'", "3 numbers")),
            ("[training]\npatch = [15, 16, 16]", ("(15, 16, 16)", "Give a patch")),
            ("[training]\npatch = [16, 0, 16]", ("'patch'", "above 0")),
            ("[training]\nprecision = 'half'", ("float32", "'half'")),
        ],
    )
    def test_a_broken_recipe(self, text, said, volumes, tmp_path):
        bad = tmp_path / "bad.toml"
        bad.write_text(text)
        one_line(medgrad("fit", volumes, "-o", tmp_path / "r", "--steps", 2, "--recipe", bad), *said)

    def test_a_recipe_that_is_no_text(self, volumes, tmp_path):
        picture = volumes / "images" / "case_00.nii.gz"
        one_line(medgrad("fit", volumes, "-o", tmp_path / "r", "--recipe", picture), "case_00.nii.gz", "TOML")

    def test_a_recipe_that_is_absent(self, volumes, tmp_path):
        one_line(medgrad("fit", volumes, "-o", tmp_path / "r", "--recipe", "gone.toml"), "'gone.toml'")

    def test_a_device_that_is_absent(self, run, volumes, tmp_path):
        for device in ("tpu", "cuda:77"):
            one_line(medgrad("predict", run[0], volumes / "images", "-o", tmp_path, "--device", device), repr(device))

    def test_no_time_to_learn(self, volumes, tmp_path):
        words = ("fit", volumes, "-o", tmp_path / "r", "--minutes", 0.0001, "--recipe", volumes / "recipe.toml")
        one_line(medgrad(*words), "Give more minutes")

    def test_more_folds_than_patients(self, volumes, tmp_path):
        one_line(medgrad("fit", volumes, "-o", tmp_path / "r", "--folds", 99), "99 folds", "(8)")

    def test_a_case_that_is_not_there(self, volumes, tmp_path):
        one_line(medgrad("fit", volumes, "-o", tmp_path / "r", "--val", "zzz*"), "'zzz*'", "case_00")

    def test_a_run_that_is_none(self, volumes, tmp_path):
        for words in (("evaluate", tmp_path, volumes), ("predict", tmp_path, volumes)):
            one_line(medgrad(*words, "-o", tmp_path / "x"), str(tmp_path), "not a run")

    def test_a_run_without_weights(self, run, volumes, tmp_path):
        (tmp_path / "recipe.toml").write_text((run[0] / "recipe.toml").read_text())
        one_line(medgrad("predict", tmp_path, volumes / "images", "-o", tmp_path / "x"), "no weights yet")

    def test_weights_that_are_damaged(self, run, volumes, tmp_path):
        (tmp_path / "recipe.toml").write_text((run[0] / "recipe.toml").read_text())
        (tmp_path / "weights").mkdir()
        (tmp_path / "weights" / "best.safetensors").write_bytes(b"\0" * 100)
        ended = medgrad("predict", tmp_path, volumes / "images", "-o", tmp_path / "x")
        one_line(ended, "best.safetensors", "damaged")

    def test_an_input_that_is_no_image(self, run, tmp_path):
        (tmp_path / "x.nii.gz").write_bytes(b"nonsense")
        one_line(medgrad("predict", run[0], tmp_path / "x.nii.gz", "-o", tmp_path / "a"), "x.nii.gz")
        one_line(medgrad("predict", run[0], tmp_path / "gone", "-o", tmp_path / "a"), "does not exist")

    def test_an_input_of_other_axes(self, run, pictures, tmp_path):
        flat = next((pictures / "ill").iterdir())
        one_line(medgrad("predict", run[0], flat, "-o", tmp_path / "a"), "No answer could be given")

    def test_a_kind_of_answer_that_is_not_known(self, run, volumes, tmp_path):
        one_line(medgrad("predict", run[0], volumes / "images", "-o", tmp_path, "--as", "pdf"), "'pdf'")

    def test_a_side_that_is_empty(self, run, volumes, tmp_path):
        one_line(medgrad("evaluate", run[0], volumes, "-o", tmp_path, "--on", "moon"), "'moon'")

    def test_labels_that_the_run_does_not_know(self, opinion, volumes, tmp_path):
        ended = medgrad("evaluate", opinion[0], volumes, "-o", tmp_path)
        one_line(ended, "ill, well", "foreground")

    def test_runs_on_different_cases_are_not_compared(self, run, opinion):
        one_line(medgrad("compare", run[0], opinion[0]), "share 0 of")

    def test_a_bad_file_among_good_ones_stops_nothing_and_is_told(self, run, volumes, tmp_path):
        folder = tmp_path / "new"
        folder.mkdir()
        for name in ("case_00.nii.gz", "case_01.nii.gz"):
            (folder / name).write_bytes((volumes / "images" / name).read_bytes())
        whole = (folder / "case_01.nii.gz").read_bytes()
        (folder / "case_01.nii.gz").write_bytes(whole[: len(whole) // 2])
        found = done("predict", run[0], folder, "-o", tmp_path / "a")
        assert [Path(a["input"]).name for a in found["answers"]] == ["case_00.nii.gz"]
        assert [Path(f["input"]).name for f in found["failed"]] == ["case_01.nii.gz"]

    def test_a_recipe_that_failed_can_be_mended(self, volumes, tmp_path):
        """What never took a step does not tie the folder to its recipe."""
        words = ("fit", volumes, "-o", tmp_path / "run", "--steps", 2, "--recipe")
        one_line(medgrad(*words, recipe(tmp_path, RECIPE.replace("1e-2", "-1.0"))), "-1")
        assert medgrad(*words, recipe(tmp_path)).code == 0


class TestJourney:
    """From a folder to a run, figures, answers and a comparison."""

    def test_stdout_is_one_json_object_and_words_go_to_stderr(self, run):
        ended = run[1]
        assert ended.out.count("\n") == 1
        assert {"run", "steps", "split", "metrics", "report"} <= set(ended.found)
        assert "8 cases, 8 patients" in ended.err

    def test_a_run_holds_what_it_takes_to_stand_by_itself(self, run):
        folder = run[0]
        for name in ("recipe.toml", "cohort.json", "steps.jsonl", "evaluation.json", "cases.csv", "report.html"):
            assert (folder / name).stat().st_size > 0
        assert {p.suffix for p in (folder / "weights").iterdir()} == {".safetensors"}
        assert not (folder / "cache").exists()

    def test_it_learned(self, run):
        figures = run[1].found["metrics"]
        assert figures["dice/mean"]["value"] > 0.5
        assert figures["dice/mean"]["low"] <= figures["dice/mean"]["value"] <= figures["dice/mean"]["high"]
        assert figures["dice/mean"]["n"] == 3

    def test_the_validation_cases_are_those_asked_for(self, run):
        cases = json.loads((run[0] / "cohort.json").read_text())["cases"]
        assert {c["id"] for c in cases if c["split"] == "val"} == {"case_00", "case_01", "case_02"}

    def test_the_same_command_again_changes_nothing(self, run, volumes):
        before = (run[0] / "weights" / "best.safetensors").read_bytes()
        again = medgrad("fit", volumes, "-o", run[0], "--steps", 40, "--val", "case_00,case_01,case_02", "--json")
        assert again.code == 0
        assert "goes on with its own recipe" in again.err
        assert again.found["metrics"] == run[1].found["metrics"]
        assert (run[0] / "weights" / "best.safetensors").read_bytes() == before

    def test_figures_for_a_person_have_intervals(self, run, volumes, tmp_path):
        ended = medgrad("evaluate", run[0], volumes, "-o", tmp_path / "judged")
        assert re.search(r"dice/mean +0\.\d{3} \(95 % 0\.\d{3} to [01]\.\d{3}, n = 8\)", ended.out)
        assert (tmp_path / "judged" / "report.html").exists()

    def test_judging_again_on_the_same_cases_gives_the_same_rows(self, run, volumes, tmp_path):
        done("evaluate", run[0], volumes, "-o", tmp_path)
        rows = {line.split(",")[0]: line for line in (tmp_path / "cases.csv").read_text().splitlines()[1:]}
        for line in (run[0] / "cases.csv").read_text().splitlines()[1:]:
            assert rows[line.split(",")[0]] == line

    def test_a_run_is_no_better_than_itself(self, run, tmp_path):
        found = done("compare", run[0], run[0], "-o", tmp_path)
        assert all(row["difference"] in (0, None) for row in found["table"])
        assert found["noninferior"]["holds"]
        assert Path(found["report"]).exists()

    def test_an_untrained_run_loses(self, run, volumes, tmp_path):
        val = "case_00,case_01,case_02"
        done("fit", volumes, "-o", tmp_path / "b", "--steps", 1, "--val", val, "--recipe", volumes / "recipe.toml")
        found = done("compare", run[0], tmp_path / "b")
        row = next(r for r in found["table"] if r["name"] == "dice/mean")
        assert row["difference"] < 0
        assert not found["noninferior"]["holds"]

    def test_classes_are_learned_judged_and_answered(self, opinion, pictures, tmp_path):
        folder, found = opinion
        assert found["metrics"]["auroc"]["value"] > 0.9
        judged = done("evaluate", folder, pictures, "-o", tmp_path / "judged")
        assert judged["metrics"]["auroc"]["n"] == 16
        said = done("predict", folder, pictures / "ill", "-o", tmp_path / "answers")
        assert len(said["answers"]) == 8
        one = json.loads(Path(said["answers"][0]["written"][0]).read_text())
        assert set(one["probabilities"]) == {"ill", "well"}
        assert sum(one["probabilities"].values()) == pytest.approx(1, abs=1e-5)
        assert one["answer"] in one["probabilities"]

    def test_flat_pictures_are_answered_as_pictures(self, tmp_path):
        data = make_flat(tmp_path / "data")
        tiny = recipe(tmp_path, FLAT)
        found = done("fit", data, "-o", tmp_path / "run", "--steps", 30, "--recipe", tiny)
        assert found["metrics"]["dice/mean"]["value"] > 0.4
        done("predict", tmp_path / "run", data / "images" / "p0.png", "-o", tmp_path / "answers")
        said = np.asarray(Pillow.open(tmp_path / "answers" / "p0.png"))
        assert said.shape == (24, 28)
        assert set(np.unique(said)) <= {0, 1}

    def test_several_channels_are_taken_in_order(self, tmp_path):
        for number in range(4):
            rng = np.random.default_rng(number)
            grid = Grid.of((16, 16, 16))
            truth = np.zeros(grid.shape, np.uint8)
            truth[4:10, 3:9, 5:11] = 1
            for channel in (0, 1):
                image = (truth * (1 + channel) + rng.normal(0, 0.3, grid.shape)).astype(np.float32)
                write(tmp_path / "data" / "imagesTr" / f"c{number}_000{channel}.nii.gz", Image(image, grid, "mr"))
            write(tmp_path / "data" / "labelsTr" / f"c{number}.nii.gz", LabelMap(truth, grid))
        found = done("fit", tmp_path / "data", "-o", tmp_path / "run", "--steps", 4, "--recipe", recipe(tmp_path))
        assert found["split"] == "val"
        said = done("predict", tmp_path / "run", tmp_path / "data" / "imagesTr", "-o", tmp_path / "answers")
        assert sorted(Path(a["written"][0]).name for a in said["answers"]) == [f"c{n}.nii.gz" for n in range(4)]

    def test_folds_judge_every_patient_once_and_answer_together(self, volumes, tmp_path):
        words = ("--folds", 2, "--steps", 3, "--recipe", volumes / "recipe.toml")
        found = done("fit", volumes, "-o", tmp_path / "run", *words)
        assert found["metrics"]["dice/mean"]["n"] == 8
        assert (tmp_path / "run" / "fold-1" / "weights" / "best.safetensors").exists()
        cases = json.loads((tmp_path / "run" / "cohort.json").read_text())["cases"]
        assert sorted(c["fold"] for c in cases) == [0] * 4 + [1] * 4
        said = done("predict", tmp_path / "run", volumes / "images" / "case_00.nii.gz", "-o", tmp_path / "a")
        assert Path(said["answers"][0]["written"][0]).exists()

    def test_the_plan_is_a_recipe_that_fit_takes(self, pictures, tmp_path):
        done("plan", pictures, "-o", tmp_path / "plan.toml", "--steps", 2)
        found = done("fit", pictures, "-o", tmp_path / "run", "--steps", 2, "--recipe", tmp_path / "plan.toml")
        assert found["steps"] == 2


class TestPython:
    """Every verb is a function, and takes paths as text too."""

    def test_the_verbs_are_functions_that_take_text(self, run, volumes, tmp_path):
        import medgrad as package

        data, folder, out = str(volumes), str(run[0]), str(tmp_path)
        assert package.look(data)["layout"] == "siblings"
        assert Path(package.plan(data, out=f"{out}/plan.toml", steps=3)["recipe"]).exists()
        fitted = package.fit(data, out=f"{out}/run", steps=2, recipe=f"{data}/recipe.toml")
        assert Path(fitted["report"]).exists()
        judged = package.evaluate(folder, data, out=f"{out}/judged")
        assert judged["metrics"]["dice/mean"]["n"] == 8
        said = package.predict(folder, f"{data}/images/case_00.nii.gz", out=f"{out}/answers")
        assert Path(said["answers"][0]["written"][0]).exists()
        assert package.compare(folder, folder, out=f"{out}/compared")["patients"] == 3


class TestGrids:
    """An answer comes back in the format and on the grid of what was asked about."""

    @pytest.mark.parametrize(
        ("ending", "answered"),
        [(".nii.gz", ".nii.gz"), (".nii", ".nii"), (".npy", ".npz"), (".tif", ".tif"), (".mha", ".nii.gz")],
    )
    def test_the_format_is_kept_or_else_nifti(self, ending, answered, run, volumes, tmp_path):
        if ending == ".mha":
            pytest.importorskip("SimpleITK", reason="the itk extra is not installed")
        image, asked = read(volumes / "images" / "case_00.nii.gz"), tmp_path / f"asked{ending}"
        if ending == ".npy":
            np.save(asked, image.array)
        else:
            write(asked, image)
        found = done("predict", run[0], asked, "-o", tmp_path / "a")
        written = Path(found["answers"][0]["written"][0])
        assert written.name == f"asked{answered}"
        assert read_labels(written).array.shape == image.grid.shape

    def test_an_odd_orientation_comes_back_as_it_was(self, run, volumes, tmp_path):
        """The same patient, stored otherwise: the answer has the input's affine and says the same of every place."""
        image = read(volumes / "images" / "case_03.nii.gz")
        matrix = image.grid.matrix
        turned = np.ascontiguousarray(image.array.transpose(2, 0, 1)[::-1, :, ::-1])
        affine = np.eye(4)
        affine[:3, 0], affine[:3, 1], affine[:3, 2] = -matrix[:3, 2], matrix[:3, 0], -matrix[:3, 1]
        corner = [0, image.grid.shape[1] - 1, image.grid.shape[2] - 1]
        affine[:3, 3] = image.grid.world(corner)
        grid = Grid(turned.shape, tuple(map(tuple, affine)))
        assert grid.orientation == "IRP"
        asked = write(tmp_path / "asked" / "odd.nii.gz", Image(turned, grid, "mr"))
        done("predict", run[0], asked, "-o", tmp_path / "a")
        done("predict", run[0], volumes / "images" / "case_03.nii.gz", "-o", tmp_path / "a")
        odd = read_labels(tmp_path / "a" / "odd.nii.gz")
        plain = read_labels(tmp_path / "a" / "case_03.nii.gz")
        assert odd.grid.is_close(read(asked).grid, tolerance_mm=1e-4)
        assert plain.array.any()
        assert (odd.array.transpose(1, 2, 0)[:, ::-1, ::-1] == plain.array).all()

    def test_labels_lie_where_the_truth_lies(self, run, volumes, tmp_path):
        done("predict", run[0], volumes / "images" / "case_04.nii.gz", "-o", tmp_path)
        said = read_labels(tmp_path / "case_04.nii.gz").array > 0
        truth = read_labels(volumes / "labels" / "case_04.nii.gz").array > 0
        assert 2 * (said & truth).sum() / (said.sum() + truth.sum()) > 0.5

"""The command line: what it prints and where, and how it ends."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from command_line import done, make_pictures, medgrad, one_line, recipe
from tiny_set import RECIPE, make_folder

from medgrad import registry

VERBS = registry.names("apps.verbs")


def in_a_shell(*words, **variables):
    command = [sys.executable, "-m", "medgrad", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ | variables)


def takes_below(limit, *words):
    """Tell whether a command takes less than so many seconds of the processor, in the best of a few tries.

    Without the coverage that the suite measures in its children.
    """
    plain = {k: v for k, v in os.environ.items() if not k.startswith("COV")}
    for _ in range(5):
        child = subprocess.Popen([sys.executable, *words], stdout=subprocess.DEVNULL, env=plain)
        _, status, used = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        assert child.returncode == 0
        if used.ru_utime + used.ru_stime < limit:
            return True
    return False


class TestManners:
    def test_help_comes_at_once(self):
        assert takes_below(0.5, "-m", "medgrad", "--help")

    def test_importing_medgrad_is_quick(self):
        assert takes_below(0.2, "-c", "import medgrad")

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
            if name not in ("progress", "return"):
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

    def test_what_was_not_foreseen_is_one_line_too(self, monkeypatch, tmp_path):
        def broken(*_):
            raise RuntimeError("two\nlines")

        monkeypatch.setattr("medgrad.apps.verbs._cohort.recognise", broken)
        ended = medgrad("look", tmp_path)
        assert ended.code == 1
        assert ended.err.count("\n") == 1
        assert "not foreseen: RuntimeError: two lines" in ended.err

    def test_the_place_of_what_was_not_foreseen_can_be_asked_for(self, monkeypatch, tmp_path):
        monkeypatch.setattr("medgrad.apps.verbs._cohort.recognise", lambda *_: 1 / 0)
        monkeypatch.setenv("MEDGRAD_TRACEBACK", "1")
        with pytest.raises(ZeroDivisionError):
            medgrad("look", tmp_path)


@pytest.fixture(scope="module")
def few(tmp_path_factory):
    """A set of the fewest volumes, for what is refused once they were looked at."""
    return make_folder(tmp_path_factory.mktemp("few") / "data", cases=4)


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
            ("[schedule]\nwarmup = []", ("'warmup'", "a number")),
            ("[model]\nchannels = 'x'", ("'channels'", "a list")),
            ("[task]\nkind = 'segmentatio'", ("Did you mean 'segmentation'?",)),
            ("[task]\nloss_name = 'dicee'", ("Did you mean 'dice'?",)),
            ("[[prepare]]\nname = 'resampl'", ("Did you mean 'resample'?",)),
            ("[training]\nbatch = 0", ("'batch'", "at least 1")),
            ("[training]\nema = 2.0", ("'ema'", "from 0 to 1")),
            ("[training]\npatch = [16, 16]", ("'patch'", "3 numbers")),
            ("[training]\npatch = [15, 16, 16]", ("(15, 16, 16)", "Give a patch")),
            ("[training]\npatch = [16, 0, 16]", ("'patch'", "above 0")),
            ("[training]\nprecision = 'half'", ("float32", "'half'")),
        ],
    )
    def test_a_broken_recipe(self, text, said, few, tmp_path):
        bad = tmp_path / "bad.toml"
        bad.write_text(text)
        one_line(medgrad("fit", few, "-o", tmp_path / "r", "--steps", 2, "--recipe", bad), *said)

    def test_a_recipe_that_is_no_text(self, volumes, tmp_path):
        picture = volumes / "images" / "case_00.nii.gz"
        one_line(medgrad("fit", volumes, "-o", tmp_path / "r", "--recipe", picture), "case_00.nii.gz", "TOML")

    def test_a_recipe_that_is_absent(self, volumes, tmp_path):
        one_line(medgrad("fit", volumes, "-o", tmp_path / "r", "--recipe", "gone.toml"), "'gone.toml'")

    def test_a_device_that_is_absent(self, run, volumes, tmp_path):
        for device in ("tpu", "cuda:77"):
            one_line(medgrad("predict", run[0], volumes / "images", "-o", tmp_path, "--device", device), repr(device))

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
        one_line(medgrad("predict", run[0], volumes / "images", "-o", tmp_path, "--format", "pdf"), "'pdf'")

    def test_a_side_that_is_empty(self, run, volumes, tmp_path):
        one_line(medgrad("evaluate", run[0], volumes, "-o", tmp_path, "--split", "moon"), "'moon'")

    def test_labels_that_the_run_does_not_know(self, opinion, tmp_path):
        make_pictures(tmp_path / "data", cases=8)
        (tmp_path / "data" / "ill").rename(tmp_path / "data" / "sick")
        ended = medgrad("evaluate", opinion[0], tmp_path / "data", "-o", tmp_path / "out")
        one_line(ended, "ill, well", "sick, well")

    def test_runs_of_two_tasks_are_not_compared(self, run, opinion):
        one_line(medgrad("compare", run[0], opinion[0]), "segmentation", "classification", "one task")

    def test_runs_on_different_cases_are_not_compared(self, run, tmp_path):
        for name in ("recipe.toml", "cases.csv"):
            (tmp_path / name).write_text((run[0] / name).read_text().replace("case_", "other_"))
        one_line(medgrad("compare", run[0], tmp_path), "share 0 of")

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

    def test_a_recipe_that_failed_can_be_mended(self, few, tmp_path):
        """What never took a step does not tie the folder to its recipe."""
        words = ("fit", few, "-o", tmp_path / "run", "--steps", 2, "--recipe")
        one_line(medgrad(*words, recipe(tmp_path, RECIPE.replace("1e-2", "-1.0"))), "-1")
        assert medgrad(*words, recipe(tmp_path)).code == 0

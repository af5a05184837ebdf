"""What a command is asked is checked before any file of the set is listed or read."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from command_line import medgrad, one_line

import medgrad as package

WRONG = [
    (("--model", "resnett"), ("--model", "'resnett'", "Did you mean 'resnet'?")),
    (("--task", "segmentatoin"), ("--task", "'segmentatoin'", "Did you mean 'segmentation'?")),
    (("--track", "tensorbord"), ("--track", "Did you mean 'tensorboard'?")),
    (("--device", "gpu"), ("'gpu'", "cuda")),
    (("--minutes", "-3"), ("--minutes", "above 0", "-3")),
    (("--minutes", "0"), ("--minutes", "above 0")),
    (("--minutes", "nan"), ("--minutes", "nan")),
    (("--folds", "1"), ("--folds", "at least 2")),
    (("--seed", "-1"), ("--seed", "at least 0")),
    (("--split", "gone.csv"), ("'gone.csv' does not exist",)),
    (("--recipe", "gone.toml"), ("'gone.toml' does not exist",)),
    (("--init", "gone"), ("'gone' does not exist",)),
]


WATCHED = {}
"""Folders under watch, and what of them was asked for."""


def watch(event, words):
    """Note what is opened or listed under a watched folder; there is one, as no audit hook can be taken away again."""
    if WATCHED and words and event in ("open", "os.listdir", "os.scandir") and isinstance(words[0], (str, os.PathLike)):
        for folder, touched in WATCHED.items():
            if folder in str(words[0]):
                touched.append((event, str(words[0])))


sys.addaudithook(watch)


@pytest.fixture
def unread(tmp_path):
    """A set that nobody may list or open a file of; what was asked for anyway."""
    folder = tmp_path / "unread-set"
    (folder / "images").mkdir(parents=True)
    for number in range(20):
        (folder / "images" / f"case_{number}.png").write_bytes(b"")
    WATCHED[str(folder)] = touched = []
    yield folder
    del WATCHED[str(folder)]
    assert touched == []


class TestBeforeTheSetIsRead:
    @pytest.mark.parametrize(("words", "said"), WRONG, ids=lambda v: " ".join(v))
    def test_fit_tells_a_wrong_option(self, words, said, unread, tmp_path):
        one_line(medgrad("fit", unread, "-o", tmp_path / "run", *words), *said)
        assert not (tmp_path / "run").exists()

    @pytest.mark.parametrize(
        ("words", "said"),
        [
            (("plan", "--model", "unett"), ("Did you mean 'unet'?",)),
            (("plan", "--minutes", "0"), ("--minutes",)),
            (("plan", "--steps", "-1"), ("--steps", "at least 0")),
            (("look", "--split", "gone.json"), ("'gone.json' does not exist",)),
            (("race", "--optimisers", "sgd,adma"), ("'adma'", "Did you mean 'adam'?")),
            (("race", "--optimisers", "sgd+full_bach,adam"), ("'full_bach'", "Did you mean 'full_batch'?")),
            (("race", "--optimisers", "sgd"), ("at least two",)),
            (("race", "--minutes", "-1"), ("--minutes",)),
            (("race", "--task", "weather"), ("'weather'", "segmentation")),
        ],
        ids=lambda v: " ".join(v),
    )
    def test_so_do_the_others(self, words, said, unread, tmp_path):
        verb, *options = words
        out = ("-o", tmp_path / "out.toml") if verb == "plan" else ()
        one_line(medgrad(verb, unread, *out, *options), *said)

    def test_so_do_the_functions_of_the_same_names(self, unread, tmp_path):
        with pytest.raises(package.errors.SettingError, match="--model is one of"):
            package.fit(unread, out=tmp_path / "run", model="resnett")
        with pytest.raises(package.errors.SettingError, match="--minutes"):
            package.plan(unread, minutes=float("inf"))

    @pytest.mark.parametrize(
        ("text", "said"),
        [
            ('{"model": "unet"}', ("not a TOML file",)),
            ("[modle]\nname = 'unet'", ("Did you mean 'model'?",)),
            ("[model]\nname = 'unett'", ("Did you mean 'unet'?",)),
            ("[model]\nname = 'unet'\nchanels = [4]", ("Did you mean 'channels'?",)),
            ("[optimiser]\nrte = 0.1", ("'rte'", "Did you mean 'rate'?")),
            ("[[augment]]\nname = 'flipp'", ("Did you mean 'flip'?",)),
            ("[[augment]]\nshare = 1.0", ("[[augment]] has no name",)),
            ("[training]\nbatch = 0", ("'batch'", "at least 1")),
        ],
    )
    def test_a_recipe_is_checked_as_far_as_that_goes_without_the_set(self, text, said, unread, tmp_path):
        (tmp_path / "mine.toml").write_text(text)
        one_line(medgrad("fit", unread, "-o", tmp_path / "run", "--recipe", tmp_path / "mine.toml"), *said)

    def test_a_split_file_that_is_none_is_told(self, unread, tmp_path):
        (tmp_path / "mine.json").write_text("[]")
        one_line(medgrad("fit", unread, "-o", tmp_path / "r", "--split", tmp_path / "mine.json"), "holds no split")


class TestPaths:
    def test_the_nearest_name_is_told_where_nothing_is(self, volumes):
        one_line(medgrad("look", volumes.parent / "dta"), "does not exist", "Did you mean 'data'?")

    def test_a_run_is_no_set(self, run, tmp_path):
        for words in (("look", run[0]), ("fit", run[0], "-o", tmp_path / "r"), ("evaluate", run[0], run[0], "-o", "x")):
            one_line(medgrad(*words), "is a run, not a set of cases")

    def test_run_and_set_in_the_wrong_order_are_told_apart(self, run, volumes, tmp_path):
        for verb, other in (("evaluate", volumes), ("predict", volumes / "images")):
            one_line(medgrad(verb, other, run[0], "-o", tmp_path / "x"), "is not a run", "name the run first")

    def test_nothing_is_written_over_the_input(self, run, volumes):
        image = volumes / "images" / "case_00.nii.gz"
        for words in (
            ("fit", volumes, "-o", volumes),
            ("evaluate", run[0], volumes, "-o", run[0]),
            ("predict", run[0], volumes / "images", "-o", volumes / "images"),
            ("predict", run[0], image, "-o", image.parent),
            ("prune", run[0], "-o", run[0]),
            ("export", run[0], "-o", run[0]),
        ):
            one_line(medgrad(*words), "the input itself")

    def test_a_file_is_no_folder_to_write_into(self, run, volumes, tmp_path):
        (tmp_path / "file").write_text("words")
        for words in (("fit", volumes), ("predict", run[0], volumes / "images"), ("register", volumes, volumes)):
            one_line(medgrad(*words, "-o", tmp_path / "file"), "is a file")
            one_line(medgrad(*words, "-o", tmp_path / "file" / "below"), "cannot be made")
        one_line(medgrad("plan", volumes, "-o", tmp_path), "names a file", "is a folder")

    def test_a_place_that_is_not_ours_is_told(self, volumes, tmp_path, monkeypatch):
        monkeypatch.setattr("os.access", lambda _, how: how != os.W_OK)
        one_line(medgrad("fit", volumes, "-o", tmp_path / "run"), "cannot be written", "not yours")

    def test_a_set_that_may_not_be_read_is_told(self, volumes, tmp_path, monkeypatch):
        monkeypatch.setattr("os.access", lambda _, how: how == os.W_OK)
        with pytest.raises(package.errors.FormatError, match=r"may not be read.*permissions"):
            package.fit(volumes, out=tmp_path / "run")

    def test_a_run_is_not_gone_on_with_as_something_else(self, run, volumes):
        one_line(medgrad("fit", volumes, "-o", run[0], "--task", "detection"), "begun with --task segmentation")
        one_line(medgrad("fit", volumes, "-o", run[0], "--model", "cnn"), "begun with --model unet")

    def test_a_run_of_another_task_is_told_before_the_set_is_read(self, run, pictures, monkeypatch):
        monkeypatch.setattr("medgrad.apps.verbs._cohort.look", lambda *_, **__: pytest.fail("the set was read"))
        one_line(medgrad("fit", pictures, "-o", run[0]), "begun with --task segmentation, not classification")


class TestBeforeTheImagesAreRead:
    """What can only be checked when the set is recognised comes before every case is looked at."""

    @pytest.fixture(autouse=True)
    def _unread(self, monkeypatch):
        monkeypatch.setattr("medgrad.apps.verbs._cohort.look", lambda *_, **__: pytest.fail("the set was read"))

    def test_a_label_that_is_not_there(self, volumes, tmp_path):
        one_line(medgrad("fit", volumes, "-o", tmp_path / "r", "--labels", "tumour"), "'tumour'", "foreground")

    def test_a_network_of_another_kind(self, volumes, tmp_path):
        one_line(medgrad("plan", volumes, "-o", tmp_path / "r.toml", "--model", "vgg"), "dense", "unet")

    def test_more_folds_than_patients(self, volumes, tmp_path):
        one_line(medgrad("fit", volumes, "-o", tmp_path / "r", "--folds", 99), "99 folds", "(8)")


@pytest.mark.slow
def test_a_wrong_option_is_told_within_a_second_beside_ten_thousand_files(tmp_path):
    """Seconds of the processor: neighbours on the machine take none of them."""
    folder = tmp_path / "images"
    folder.mkdir()
    for number in range(10_000):
        (folder / f"case_{number}.png").write_bytes(b"")
    plain = {k: v for k, v in os.environ.items() if not k.startswith("COV")}
    for words in (("--model", "resnett"), ("--minutes", "-3"), ("--folds", "1"), ("--split", "gone.csv")):
        command = [sys.executable, "-m", "medgrad", "fit", tmp_path, "-o", tmp_path / "run", *words]
        child = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=plain)
        said = child.stderr.read()
        child.stderr.close()
        _, status, used = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        assert child.returncode == 1, said
        assert used.ru_utime + used.ru_stime < 1, words


def test_checking_options_loads_neither_torch_nor_numpy():
    code = (
        "import sys; from medgrad.apps.verbs import _checks as o; o.check_part('--model', 'unet', 'models');"
        "o.check_optimisers('sgd,adam+clipped'); sys.exit(bool({'torch', 'numpy', 'scipy'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False, cwd=Path(__file__).parent).returncode == 0

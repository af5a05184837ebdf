"""What a newcomer gets wrong in the first hour is a line that says what to do, and comes before the work."""

import pytest
from command_line import make_pictures, medgrad, one_line
from dicom_answers import make_series

from medgrad.apps.verbs import _checks
from medgrad.errors import suggest_name


@pytest.fixture(autouse=True)
def _unread(monkeypatch):
    monkeypatch.setattr("medgrad.apps.verbs._cohort.look", lambda *_, **__: pytest.fail("the set was read"))


def test_a_truth_that_is_misspelt_names_the_nearest(volumes):
    one_line(medgrad("look", volumes, "--truth", "lables"), "--truth 'lables' fits none", "Did you mean 'labels'?")


def test_images_named_as_the_truth_are_told_by_the_layout_that_has_them(volumes):
    one_line(medgrad("look", volumes, "--truth", "images"), "'parallel_folders'", "look like masks", "Put the images")


def test_a_label_or_a_case_that_is_misspelt_is_told_with_what_there_is(volumes, tmp_path):
    fit = ("fit", volumes, "-o", tmp_path / "r")
    one_line(medgrad(*fit, "--labels", "foregruond"), "no label 'foregruond'", "Did you mean 'foreground'?")
    one_line(medgrad(*fit, "--val", "0.2"), "'0.2'", "--val takes names or patterns", "case_00")


def test_a_task_that_the_set_does_not_serve_says_what_it_is_for(volumes, pictures, tmp_path):
    for folder, asked, known in ((volumes, "classification", "segmentation"), (pictures, "detection", "class")):
        ended = medgrad("fit", folder, "-o", tmp_path / "r", "--task", asked)
        one_line(ended, f"does not serve {asked}", known, "Leave --task out")


def test_one_image_is_no_set_to_learn_from(volumes, tmp_path):
    image = volumes / "images" / "case_00.nii.gz"
    one_line(medgrad("fit", image, "-o", tmp_path / "r"), "one .nii.gz file", "is one image, not a set", "look")


def test_a_folder_that_holds_its_images_deeper_says_which_to_name(run, volumes, tmp_path):
    one_line(medgrad("predict", run[0], volumes, "-o", tmp_path), "no image", "Name a folder in it, such as 'images'")
    (tmp_path / "empty").mkdir()
    one_line(medgrad("predict", run[0], tmp_path / "empty", "-o", tmp_path / "a"), "Name a file, a DICOM series")


def test_an_answer_in_dicom_about_no_dicom_is_refused_before_it_is_made(run, volumes, tmp_path, monkeypatch):
    monkeypatch.setattr("medgrad.data.cohorts.cohort.Cohort.load_case", lambda *_: pytest.fail("it was read"))
    ended = medgrad("predict", run[0], volumes / "images" / "case_00.nii.gz", "-o", tmp_path, "--format", "dicomseg")
    one_line(ended, "did not come as DICOM", "leave --format out")


def test_a_package_that_an_answer_needs_is_told_before_it_is_made(run, tmp_path, monkeypatch):
    make_series(tmp_path / "ct")
    monkeypatch.setattr("medgrad.answers._dicom.find_spec", lambda _: None)
    monkeypatch.setattr("medgrad.data.cohorts.cohort.Cohort.load_case", lambda *_: pytest.fail("it was read"))
    ended = medgrad("predict", run[0], tmp_path / "ct", "-o", tmp_path / "a")
    one_line(ended, "'highdicom' is not installed", "medgrad[dicom]", "--format nifti")


def test_a_side_without_truth_says_what_to_leave_out(run, volumes, tmp_path):
    one_line(medgrad("evaluate", run[0], volumes, "-o", tmp_path, "--split", "test"), "'test'", "Leave --split out")


def test_a_package_that_is_missing_is_told_first(volumes, tmp_path, monkeypatch):
    monkeypatch.setattr(_checks, "find_spec", lambda _: None)
    for words, extra in (
        (("fit", volumes, "-o", tmp_path / "r", "--track", "mlflow"), "medgrad[mlflow]"),
        (("race", volumes, "--optimisers", "sgd,adam", "--trials", 2), "medgrad[tune]"),
        (("race", volumes, "--optimisers", "sgd,adam", "--on-ray"), "medgrad[cluster]"),
    ):
        one_line(medgrad(*words), "is not installed", extra)


def test_the_demo_checks_what_it_is_asked_before_it_makes_patients(tmp_path, monkeypatch):
    monkeypatch.setattr("medgrad.apps.verbs.demo.run_demo", lambda *_: pytest.fail("it began"))
    (tmp_path / "file").write_text("words")
    for words, said in (
        (("--minutes", -1), "--minutes is a number above 0"),
        (("--seed", -1), "--seed"),
        (("--patients", 2), "at least 8 patients"),
        (("-o", tmp_path / "file"), "is a file"),
    ):
        one_line(medgrad("demo", *words), said)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--target", "flop=0.1"), ("A target is flops", "'flop=0.1'")),
        (("--criterion", "taylr"), ("Did you mean 'taylor'?",)),
        (("--margin", "-1"), ("--margin",)),
        (("--minutes", "0"), ("--minutes",)),
        (("--data", "gone"), ("'gone' does not exist",)),
    ],
)
def test_prune_checks_what_it_is_asked_before_the_run_is_opened(run, tmp_path, words, said, monkeypatch):
    monkeypatch.setattr("medgrad.compress.prune.prune", lambda *_, **__: pytest.fail("it began"))
    one_line(medgrad("prune", run[0], "-o", tmp_path / "small", *words), *said)


def test_a_folder_of_something_else_is_left_alone(run, volumes):
    one_line(medgrad("prune", run[0], "-o", volumes), "is not empty", "Name a new folder")
    one_line(medgrad("export", run[0], "-o", volumes), "holds no artefact", "Name a new folder")


def test_a_run_that_was_not_judged_is_not_compared(run, volumes, tmp_path):
    (tmp_path / "recipe.toml").write_text("")
    (tmp_path / "weights").mkdir()
    one_line(medgrad("compare", run[0], tmp_path), "no cases.csv", "Let fit finish, or judge it with evaluate")
    one_line(medgrad("compare", run[0], volumes), "no cases.csv", "Give what fit or evaluate wrote")


def test_a_run_that_registers_and_one_that_does_not_are_told_apart(run, volumes, tmp_path):
    image = volumes / "images" / "case_00.nii.gz"
    words = ("register", image, image, "-o", tmp_path / "r", "--run", run[0])
    one_line(medgrad(*words), "was made for segmentation", "--task registration")
    (tmp_path / "other" / "weights").mkdir(parents=True)
    (tmp_path / "other" / "recipe.toml").write_text("[task]\nkind = 'registration'\n")
    one_line(medgrad("predict", tmp_path / "other", image, "-o", tmp_path / "a"), "register FIXED MOVING --run")


def test_names_are_near_whatever_their_case():
    assert suggest_name("UNet", ["unet", "vgg"]) == " Did you mean 'unet'?"


def test_the_nearest_path_is_near_without_its_ending(tmp_path):
    make_pictures(tmp_path / "scans", cases=2)
    (tmp_path / "cut.nii.gz").write_bytes(b"")
    assert _checks.suggest_path(tmp_path / "scan") == " Did you mean 'scans'?"
    assert _checks.suggest_path(tmp_path / "nope.nii.gz") == ""

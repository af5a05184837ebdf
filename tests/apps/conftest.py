"""Runs that have learned a little, made once."""

import pytest
import torch
from command_line import CLASSES, done, make_pictures, medgrad, recipe
from tiny_set import make_folder


@pytest.fixture(scope="package", autouse=True)
def one_thread():
    """Networks as small as these are slower with more."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="package")
def volumes(tmp_path_factory):
    return make_folder(tmp_path_factory.mktemp("volumes") / "data")


@pytest.fixture(scope="package")
def run(volumes, tmp_path_factory):
    """A run that has learned a little, and what its command printed."""
    folder = tmp_path_factory.mktemp("fitted") / "run"
    ended = medgrad(
        "fit", volumes, "-o", folder, "--steps", 40, "--recipe", volumes / "recipe.toml",
        "--val", "case_00,case_01,case_02", "--json",
    )  # fmt: skip
    assert ended.code == 0, ended.err
    return folder, ended


@pytest.fixture(scope="package")
def pictures(tmp_path_factory):
    return make_pictures(tmp_path_factory.mktemp("pictures") / "data")


@pytest.fixture(scope="package")
def opinion(pictures, tmp_path_factory):
    folder = tmp_path_factory.mktemp("opinion")
    found = done("fit", pictures, "-o", folder / "run", "--steps", 40, "--recipe", recipe(folder, CLASSES))
    return folder / "run", found

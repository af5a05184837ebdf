"""``medgrad export``, and ``medgrad predict`` with what it wrote, where there is no torch."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from command_line import Ended, done, medgrad, one_line
from untrained import make_run, smooth

from medgrad.data import Grid, Image
from medgrad.data.formats import read_labels, write

pytest.importorskip("onnxruntime", reason="the onnx extra is not installed")

WITHOUT_TORCH = """
import json, sys

class Forbidden:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "torch":
            raise ImportError("there is no torch")

sys.meta_path.insert(0, Forbidden())
sys.path.insert(0, sys.argv[1])
from command_line import medgrad

ended = [medgrad(*words) for words in json.loads(sys.argv[2])]
print(json.dumps([vars(one) for one in ended]))
"""


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """A run, an artefact of it, and what the command printed."""
    folder = tmp_path_factory.mktemp("exported")
    run = make_run(folder / "run", dims=3, patch=8, prepare=[{"name": "reorient"}, {"name": "normalise"}])
    found = done("export", run)
    return run, Path(found["artefact"]), found


@pytest.fixture(scope="module")
def scans(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scans")
    for number in range(2):
        grid = Grid.from_shape((12, 9, 10), spacing=(1, 1, 2))
        write(folder / f"s{number}.nii.gz", Image(100 * smooth(number, grid.shape), grid, "mr"))
    return folder


@pytest.fixture(scope="module")
def without_torch(exported, scans, tmp_path_factory):
    """How ``predict`` ends without torch, of a run and of an artefact, and where the latter's answers lie."""
    run, artefact, _ = exported
    folder = tmp_path_factory.mktemp("without") / "a"
    words = [
        ["predict", str(run), str(scans), "-o", str(folder.with_name("none"))],
        ["predict", str(artefact), str(scans), "-o", str(folder), "--engine", "onnxruntime", "--json"],
    ]
    command = [sys.executable, "-c", WITHOUT_TORCH, str(Path(__file__).parents[1]), json.dumps(words)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    of_run, of_artefact = (Ended(**one) for one in json.loads(ended.stdout))
    return of_run, of_artefact, folder


def test_the_command_tells_how_far_both_agree(exported):
    _, folder, found = exported
    assert found["agreement"]["off"] == 0
    assert found["agreement"]["on"] == "made-up windows"
    assert found["bytes"] == (folder / "network.onnx").stat().st_size
    assert {p.name for p in folder.iterdir()} == {"artefact.json", "network.onnx", "example.npz"}


def test_without_torch_the_answers_are_those_of_the_run(exported, scans, without_torch, tmp_path):
    _, ended, answers = without_torch
    assert ended.code == 0, ended.err
    assert ended.found["engine"] == "onnxruntime, float32"
    assert "Answering with onnxruntime, float32." in ended.err
    done("predict", exported[0], scans, "-o", tmp_path, "--device", "cpu")
    for number in range(2):
        ours, theirs = (read_labels(side / f"s{number}.nii.gz") for side in (answers, tmp_path))
        assert ours.grid == theirs.grid
        assert np.mean(ours.array == theirs.array) >= 0.99  # the run may answer in bfloat16
        assert 0 < ours.array.mean() < 1


def test_a_run_needs_torch_and_says_so_in_one_line(without_torch):
    ended, _, _ = without_torch
    assert ended.code == 1
    assert ended.err.count("\n") == 1
    assert "torch" in ended.err


def test_what_does_not_belong_together_is_told(exported, scans, tmp_path):
    run, folder, _ = exported
    one_line(medgrad("predict", run, scans, "-o", tmp_path, "--engine", "openvino"), "--engine", "Export it first")
    one_line(medgrad("predict", folder, scans, "-o", tmp_path, "--device", "cpu"), "--device")
    one_line(medgrad("predict", folder, scans, "-o", tmp_path, "--engine", "torch_export"), "does not read")
    one_line(medgrad("export", run, "--to", "onyx"), "Did you mean 'onnx'?")
    one_line(medgrad("export", tmp_path), "is not a run")


def test_an_artefact_that_was_changed_does_not_answer(exported, scans, tmp_path):
    folder = tmp_path / "copy"
    folder.mkdir()
    for path in exported[1].iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    (folder / "network.onnx").write_bytes(b"another")
    one_line(medgrad("predict", folder, scans, "-o", tmp_path / "a"), "network.onnx", "not the file")

"""Whatever a model file holds, it is refused in one line, and nothing in it is run."""

import resource
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from command_line import medgrad, one_line
from hostile_models import about, every
from PIL import Image as Pillow
from untrained import make_run

from medgrad.data.checksum import hash_file
from medgrad.engine.runs.pretrained import load_pretrained
from medgrad.errors import FormatError

pytest.importorskip("onnxruntime")

NAMES = list(every(Path("mark")))
NETWORKS = {"onnx": "network.onnx", "openvino": "network.xml"}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A run and a picture to ask it about."""
    folder = tmp_path_factory.mktemp("hostile")
    run = make_run(folder / "run", task={"labels": ["a"], "channels": []})
    Pillow.fromarray(np.zeros((16, 16), np.uint8)).save(folder / "a.png")
    assert medgrad("predict", run, folder / "a.png", "-o", folder / "out").code == 0
    return folder


@pytest.fixture
def hostile(place):
    """The files; after a test, that nothing was run and that memory did not grow."""
    mark = place / "mark"
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    yield every(mark)
    assert not mark.exists(), "something in the file was run"
    assert not Path("mark").exists()
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 500_000, "kB more"


def test_there_are_fifty_and_more():
    assert len(NAMES) >= 50


@pytest.mark.parametrize("name", NAMES)
def test_as_the_weights_of_a_run(place, tmp_path, hostile, name):
    shutil.copytree(place / "run", tmp_path / "run")
    next((tmp_path / "run" / "weights").glob("best*")).write_bytes(hostile[name])
    one_line(medgrad("predict", tmp_path / "run", place / "a.png", "-o", tmp_path / "out"), "best")


@pytest.mark.parametrize("name", NAMES)
def test_as_weights_to_begin_with(tmp_path, hostile, name):
    path = tmp_path / "w.safetensors"
    path.write_bytes(hostile[name])
    with pytest.raises(FormatError, match=r"w\.safetensors") as told:
        load_pretrained(torch.nn.Linear(2, 2), {"weights": path})
    assert "\n" not in str(told.value)


@pytest.mark.parametrize("engine", NETWORKS)
@pytest.mark.parametrize("name", NAMES)
def test_as_the_network_of_an_artefact_that_vouches_for_it(place, tmp_path, hostile, name, engine):
    if engine == "openvino":
        pytest.importorskip("openvino")
    folder, network = tmp_path / "artefact", NETWORKS[engine]
    folder.mkdir()
    (folder / network).write_bytes(hostile[name])
    inputs = np.zeros((1, 1, 10, 10), np.float16)
    np.savez(folder / "example.npz", **{"count": 1, "inputs-0": inputs, "labels-0": np.zeros((10, 10), np.uint8)})
    files = {n: hash_file(folder / n) for n in (network, "example.npz")}
    (folder / "artefact.json").write_text(about(network, files))
    one_line(medgrad("predict", folder, place / "a.png", "-o", tmp_path / "out"), network)


@pytest.mark.parametrize("name", NAMES)
def test_as_the_example_of_an_artefact(place, tmp_path, hostile, name):
    folder = tmp_path / "artefact"
    folder.mkdir()
    (folder / "network.onnx").write_bytes(b"a network")
    (folder / "example.npz").write_bytes(hostile[name])
    files = {n: hash_file(folder / n) for n in ("network.onnx", "example.npz")}
    (folder / "artefact.json").write_text(about("network.onnx", files))
    one_line(medgrad("predict", folder, place / "a.png", "-o", tmp_path / "out"))

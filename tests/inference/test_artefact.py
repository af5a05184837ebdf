"""An artefact is opened as it was written, or refused in one sentence that names the file."""

import json

import numpy as np
import pytest

from medgrad.data.checksum import hash_file
from medgrad.errors import FormatError, MedgradError, PackageNotInstalled, SettingError
from medgrad.inference.artefact import select_backend as choosing
from medgrad.inference.artefact.artefact import is_artefact, open_artefact
from medgrad.inference.artefact.select_backend import list_usable_backends, select_backend
from medgrad.registry import find, names

ENGINES = names("inference.artefact.backends")
TASK = {"kind": "segmentation", "dims": 2, "channels": [], "labels": ["a"]}


def make(folder, **changes):
    """Write an artefact whose network says the logits of the example, whatever it is shown."""
    folder.mkdir(exist_ok=True)
    (folder / "network.onnx").write_bytes(b"a network")
    inputs = np.random.default_rng(0).normal(size=(1, 1, 10, 10)).astype(np.float16)
    np.savez(
        folder / "example.npz", **{"count": 1, "inputs-0": inputs, "labels-0": (inputs[0, 0] > 0).astype(np.uint8)}
    )
    about = {
        "artefact": 2,
        "medgrad": "0",
        "target": "onnx",
        "precision": "float32",
        "network": "network.onnx",
        "output": "dense",
        "answer": "label_map",
        "classes": 2,
        "task": TASK,
        "prepare": [],
        "patch": [10, 10],
        "overlap": 0.5,
        "tta_flips": [],
        "channels": 1,
        "files": {n: hash_file(folder / n) for n in ("network.onnx", "example.npz")},
        "agreement": {},
        "tolerance": 0.001,
    }
    (folder / "artefact.json").write_text(json.dumps({k: v for k, v in (about | changes).items() if v is not ...}))
    return folder


def test_what_was_written_is_opened(tmp_path):
    artefact = open_artefact(make(tmp_path / "a"))
    assert is_artefact(tmp_path / "a")
    assert not is_artefact(tmp_path)
    assert (artefact.task_name, artefact.patch, artefact.answer.name) == ("segmentation", (10, 10), "label_map")
    (inputs,), _ = artefact.example
    assert inputs.dtype == np.float32


@pytest.mark.parametrize("name", ["network.onnx", "example.npz"])
def test_a_file_that_is_not_the_one_exported_is_refused(tmp_path, name):
    folder = make(tmp_path / "a")
    (folder / name).write_bytes(b"another")
    with pytest.raises(FormatError, match=name):
        open_artefact(folder)
    (folder / name).unlink()
    with pytest.raises(FormatError, match=name):
        open_artefact(folder)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"artefact": 3}, "newer"),
        ({"artefact": "x"}, "does not describe"),
        ({"patch": ...}, "'patch'"),
        ({"files": {}}, "vouch"),
        ({"files": {"../network.onnx": "0"}}, "outside"),
        ({"network": "/etc/passwd"}, "outside"),
        ({"answer": "poetry"}, "not known"),
        ({"task": {**TASK, "labels": 5}}, "not known"),
    ],
)
def test_a_description_that_cannot_be_trusted_is_refused(tmp_path, changes, said):
    with pytest.raises(FormatError, match=said):
        open_artefact(make(tmp_path / "a", **changes))


def test_a_description_that_is_no_json_is_refused(tmp_path):
    make(tmp_path / "a")
    (tmp_path / "a" / "artefact.json").write_bytes(b"\xff{")
    with pytest.raises(FormatError, match=r"artefact\.json"):
        open_artefact(tmp_path / "a")


def test_registration_is_refused_with_what_to_do():
    with pytest.raises(SettingError, match="medgrad register"):
        find("tasks", "registration")().check_export()


class Pretended:
    """An engine that takes so long, and is wrong on a share of the elements in each precision."""

    suffixes, extra = (".onnx",), "none"

    def __init__(self, seconds, installed=True, **wrong):
        self.seconds, self.installed, self.wrong = seconds, installed, wrong

    def is_installed(self):
        return self.installed

    def precisions(self):
        return tuple(self.wrong)

    def open(self, *_, precision, **__):
        def ask(inputs):
            choosing.time.now += self.seconds / (2 if precision == "bfloat16" else 1)
            logits = np.concatenate([-inputs, inputs], axis=1)
            logits[0, :, 0, : round(100 * self.wrong[precision])] *= -1
            return [logits]

        return ask


class Clock:
    now = 0.0

    def perf_counter(self):
        return self.now


@pytest.fixture
def engines(monkeypatch):
    def these(**known):
        monkeypatch.setattr(choosing, "time", Clock())
        listed = {choosing.BACKENDS_PACKAGE: sorted(known)}
        monkeypatch.setattr(choosing.registry, "names", lambda room: listed.get(room) or names(room))
        monkeypatch.setattr(
            choosing.registry, "find", lambda room, name: known[name] if room in listed else find(room, name)
        )

    return these


def test_the_quickest_engine_that_agrees_answers(tmp_path, engines):
    engines(slow=Pretended(3, float32=0), quick=Pretended(1, float32=0), wrong=Pretended(0.1, float32=0.01))
    ask, chosen, tried = select_backend(open_artefact(make(tmp_path / "a")))
    assert chosen.name == "quick, float32"
    assert {t.backend: round(t.agreement.off, 6) for t in tried} == {"slow": 0, "quick": 0, "wrong": 0.01}
    assert ask(np.zeros((1, 1, 10, 10), np.float32))[0].shape == (1, 2, 10, 10)
    assert select_backend(open_artefact(tmp_path / "a"), backend_name="slow")[1].backend == "slow"


def test_what_agreed_on_patients_need_only_be_sound_on_made_up_windows(tmp_path, engines):
    engines(one=Pretended(1, bfloat16=0.02, float32=0))
    assert select_backend(open_artefact(make(tmp_path / "a")))[1].precision == "float32"
    agreed = {"one, bfloat16": {"off": 0.0005}}
    assert select_backend(open_artefact(make(tmp_path / "b", ways=agreed)))[1].precision == "bfloat16"
    differed = {"one, bfloat16": {"off": 0.002}}
    assert select_backend(open_artefact(make(tmp_path / "c", ways=differed)))[1].precision == "float32"
    engines(one=Pretended(1, bfloat16=0.08, float32=0))
    assert select_backend(open_artefact(make(tmp_path / "d", ways=agreed)))[1].precision == "float32"


def test_engines_that_say_something_else_do_not_answer(tmp_path, engines):
    engines(one=Pretended(1, float32=0.5))
    with pytest.raises(MedgradError, match=r"one, float32: equal 0\.9"):
        select_backend(open_artefact(make(tmp_path / "a")))


def test_an_engine_that_is_missing_is_told_with_what_installs_it(tmp_path, engines):
    engines(one=Pretended(1, installed=False, float32=0))
    with pytest.raises(PackageNotInstalled, match=r"medgrad\[none\]"):
        list_usable_backends(open_artefact(make(tmp_path / "a")))


def test_an_engine_that_cannot_read_a_network_is_told(tmp_path):
    artefact = open_artefact(make(tmp_path / "a"))
    with pytest.raises(SettingError, match="does not read"):
        list_usable_backends(artefact, "torch_export")
    with pytest.raises(SettingError, match="--engine"):
        list_usable_backends(artefact, "tensorflow")


@pytest.mark.parametrize("name", [pytest.param(n, marks=[pytest.mark.slow] * (n == "torch_export")) for n in ENGINES])
def test_an_engine_refuses_what_is_no_network_in_one_sentence(name, tmp_path):
    engine = find("inference.artefact.backends", name)
    if not engine.is_installed():
        pytest.skip(f"the {engine.extra} extra is not installed")
    assert engine.precisions()
    assert "float32" in engine.precisions()
    for ending in engine.suffixes:
        path = tmp_path / f"network{ending}"
        path.write_bytes(b"nonsense")
        with pytest.raises(FormatError, match=path.name):
            engine.open(path)

"""A checkpoint is whole or not there, brings back every bit, and runs nothing."""

import json
import os

import pytest
import torch
from safetensors.torch import save_file

from medgrad.data.atomic_files import write_bytes
from medgrad.engine.runs.checkpoint import as_format_error, load_weights, read_checkpoint, write_checkpoint
from medgrad.errors import FormatError, MedgradError


def test_comes_back_as_it_was(tmp_path):
    model = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.BatchNorm1d(2))
    optimiser = torch.optim.AdamW(model.parameters(), 1e-3)
    model(torch.randn(4, 3)).sum().backward()
    optimiser.step()
    state = {"model": model.state_dict(), "optimiser": optimiser.state_dict(), "best": 0.1 + 0.2, "none": None}
    write_checkpoint(tmp_path / "a.safetensors", state)
    again = read_checkpoint(tmp_path / "a.safetensors")
    assert again["best"] == 0.1 + 0.2
    assert again["none"] is None
    for k, v in model.state_dict().items():
        assert torch.equal(again["model"][k], v)
    other = torch.optim.AdamW(model.parameters(), 1e-2)
    other.load_state_dict(again["optimiser"])
    for a, b in zip(other.state.values(), optimiser.state.values(), strict=True):
        assert torch.equal(a["exp_avg"], b["exp_avg"])


def test_infinity_survives(tmp_path):
    write_checkpoint(tmp_path / "a.safetensors", {"best": float("-inf"), "x": torch.zeros(1)})
    assert read_checkpoint(tmp_path / "a.safetensors")["best"] == float("-inf")


@pytest.mark.parametrize("content", [b"", b"junk", b"\x80\x04\x95", b"PK\x03\x04" + b"\0" * 100, b"\xff" * 64])
def test_what_is_no_checkpoint_is_one_line(tmp_path, content):
    path = tmp_path / "x.safetensors"
    path.write_bytes(content)
    with pytest.raises(FormatError, match=r"x\.safetensors.*not a checkpoint"):
        read_checkpoint(path)


@pytest.mark.parametrize("plain", ["[]", "{}", '{"tensor": "absent"}', '{"items": 5}', "[" * 5000])
def test_a_malicious_head_is_one_line(tmp_path, plain):
    save_file({"x": torch.zeros(1)}, tmp_path / "x.safetensors", metadata={"medgrad": plain})
    with pytest.raises(FormatError):
        read_checkpoint(tmp_path / "x.safetensors")


def test_weights_of_another_network_are_told_as_such_and_not_as_damage(tmp_path):
    with pytest.raises(FormatError, match="do not fit this network"), as_format_error(tmp_path / "x"):
        load_weights(torch.nn.Linear(2, 2), torch.nn.Linear(3, 2).state_dict())


def test_a_failed_write_leaves_the_old_file_whole(tmp_path, monkeypatch):
    path = tmp_path / "last.safetensors"
    write_checkpoint(path, {"x": torch.ones(3)})

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(MedgradError, match="No space left"):
        write_checkpoint(path, {"x": torch.zeros(3)})
    monkeypatch.undo()
    assert torch.equal(read_checkpoint(path)["x"], torch.ones(3))
    assert [p.name for p in tmp_path.iterdir()] == ["last.safetensors"]


def test_nothing_is_left_of_a_temporary_name(tmp_path):
    write_bytes(tmp_path / "deep" / "a.json", json.dumps({}).encode())
    assert [p.name for p in (tmp_path / "deep").iterdir()] == ["a.json"]

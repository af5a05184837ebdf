"""Two processes with half the batch each learn what one with all of it does, up to rounding."""

import json
import subprocess
import sys

import pytest
import torch
from command_line import done
from tiny_set import make_folder

from medgrad.engine.checkpoint import read_checkpoint


def fit_together(data, run, processes=2):
    start = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}", "-m"]
    words = [*start, "medgrad", *map(str, asked(data, run)), "--json"]
    ended = subprocess.run(words, capture_output=True, text=True, check=False, timeout=240)
    assert ended.returncode == 0, ended.stderr[-3000:]
    json.loads(ended.stdout)
    return run


def asked(data, run):
    return ["fit", data, "-o", run, "--steps", 6, "--recipe", data / "recipe.toml"]


def losses(run):
    lines = [json.loads(line) for line in (run / "steps.jsonl").read_text().splitlines()]
    return [sum(line["loss"].values()) for line in lines if "loss" in line]


def test_a_team_of_two_learns_what_one_does(tmp_path):
    data = make_folder(tmp_path / "data")
    text = (data / "recipe.toml").read_text().replace("batch = 2", 'batch = 4\nprecision = "float32"')
    (data / "recipe.toml").write_text(text)
    alone, together = tmp_path / "alone", fit_together(data, tmp_path / "together")
    done(*asked(data, alone))
    assert losses(together) == pytest.approx(losses(alone), rel=1e-4)
    first, second = (read_checkpoint(r / "weights" / "last.safetensors")["model"] for r in (alone, together))
    for name, weight in first.items():
        torch.testing.assert_close(second[name], weight, rtol=2e-3, atol=2e-3)

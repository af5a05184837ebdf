"""Two processes with half the batch each learn what one with all of it does, up to rounding."""

import json
import os
import socket
import subprocess
import sys

import pytest
import torch
from command_line import done
from tiny_set import make_folder

from medgrad.engine.runs.checkpoint import read_checkpoint

PARTED = """
import os, sys
import medgrad.engine.training.fit
import torch._dynamo
from medgrad.apps.cli import main

child = os.fork()
os.environ |= dict.fromkeys(("RANK", "LOCAL_RANK"), "0" if child else "1")
try:
    code = main() or 0
except SystemExit as end:
    code = end.code or 0
sys.stdout.flush()
if not child:
    os._exit(code)
sys.exit(code or os.waitpid(child, 0)[1])
"""
"""One process that imports torch and parts into two, which find each other as those of torchrun do."""


def by_torchrun():
    return [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "-m", "medgrad"], {}


def by_parting():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    about = {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    return [sys.executable, "-c", PARTED], about


def fit_together(data, run, start):
    words, about = start()
    words = [*words, *map(str, asked(data, run)), "--json"]
    ended = subprocess.run(words, capture_output=True, text=True, check=False, env=os.environ | about)
    assert ended.returncode == 0, ended.stderr[-3000:]
    json.loads(ended.stdout)
    return run


def asked(data, run):
    return ["fit", data, "-o", run, "--steps", 6, "--recipe", data / "recipe.toml"]


def losses(run):
    lines = [json.loads(line) for line in (run / "steps.jsonl").read_text().splitlines()]
    return [sum(line["loss"].values()) for line in lines if "loss" in line]


@pytest.mark.parametrize("start", [by_parting, pytest.param(by_torchrun, marks=pytest.mark.slow)])
def test_a_team_of_two_learns_what_one_does(start, tmp_path):
    data = make_folder(tmp_path / "data")
    text = (data / "recipe.toml").read_text().replace("batch = 2", 'batch = 4\nprecision = "float32"')
    (data / "recipe.toml").write_text(text.replace("validations = 6", "validations = 2"))
    alone, together = tmp_path / "alone", fit_together(data, tmp_path / "together", start)
    done(*asked(data, alone))
    assert losses(together) == pytest.approx(losses(alone), rel=1e-4)
    first, second = (read_checkpoint(r / "weights" / "last.safetensors")["model"] for r in (alone, together))
    for name, weight in first.items():
        torch.testing.assert_close(second[name], weight, rtol=2e-3, atol=2e-3)

"""A run that was killed goes on to the same bits."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from command_line import done, medgrad
from tiny_set import make_folder

from medgrad.engine.runs.checkpoint import read_checkpoint

STEPS = 16


def command(data, run, steps=STEPS):
    recipe = str(data / "recipe.toml")
    return [
        sys.executable,
        "-m",
        "medgrad",
        "fit",
        str(data),
        "-o",
        str(run),
        "--steps",
        str(steps),
        "--recipe",
        recipe,
    ]


def fit(data, run, **settings):
    ended = subprocess.run(command(data, run, **settings), capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr[-2000:]
    return run


def learned(data, run):
    """Learn in this process, as ``fit`` does in one of its own."""
    done("fit", data, "-o", run, "--steps", STEPS, "--recipe", data / "recipe.toml")
    return run


def losses(run):
    lines = [json.loads(line) for line in (run / "steps.jsonl").read_text().splitlines()]
    return [(line["step"], line.get("loss"), line.get("valid"), line.get("gradient/norm")) for line in lines]


def same_weights(a, b, name):
    first, second = (read_checkpoint(r / "weights" / f"{name}.safetensors") for r in (a, b))
    for part in ("model", "ema"):
        assert all(torch.equal(v, second[part][k]) for k, v in first[part].items())
    return True


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("resume")
    data = make_folder(folder / "data")
    text = (data / "recipe.toml").read_text()
    (data / "recipe.toml").write_text(text.replace("validations = 6", "validations = 4"))
    return data, learned(data, folder / "whole")


def kill_once(data, run, after):
    process = subprocess.Popen(command(data, run), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    time.sleep(after)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()


def killed_at_step(data, run, step):
    """Kill as soon as the log shows a step: a moment within learning, whatever the machine's speed."""
    process = subprocess.Popen(command(data, run), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    log = run / "steps.jsonl"
    while process.poll() is None:
        if log.exists() and log.read_text().count("\n") > step:
            os.kill(process.pid, signal.SIGKILL)
            break
        time.sleep(0.005)
    process.wait()


@pytest.fixture(scope="module")
def killed(undisturbed, tmp_path_factory):
    run = tmp_path_factory.mktemp("killed") / "run"
    killed_at_step(undisturbed[0], run, 8)
    return run


def test_a_killed_run_goes_on_to_the_same_bits(undisturbed, killed, tmp_path):
    data, whole = undisturbed
    run = shutil.copytree(killed, tmp_path / "killed")
    assert not (run / "evaluation.json").exists()
    learned(data, run)
    assert losses(run) == losses(whole)
    assert same_weights(run, whole, "last")
    assert same_weights(run, whole, "best")
    assert (run / "cases.csv").read_text() == (whole / "cases.csv").read_text()


@pytest.mark.slow
def test_twenty_kills_at_random_moments(undisturbed, tmp_path):
    data, whole = undisturbed
    began = time.monotonic()
    fit(data, tmp_path / "timing")
    length = time.monotonic() - began
    rng = np.random.default_rng(0)
    for number in range(20):
        run = tmp_path / f"killed-{number}"
        kill_once(data, run, float(rng.uniform(0.2, 1.0)) * length)
        fit(data, run)
        assert losses(run) == losses(whole), number
        assert same_weights(run, whole, "last"), number


def test_the_same_recipe_gives_the_same_numbers(undisturbed, tmp_path):
    data, whole = undisturbed
    assert losses(learned(data, tmp_path / "again")) == losses(whole)


def test_a_run_on_one_thread_does_not_decide_how_the_next_is_computed(undisturbed, tmp_path):
    data, _ = undisturbed
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        one = tmp_path / "one.toml"
        one.write_text((data / "recipe.toml").read_text().replace("[training]", "[training]\nthreads = 1"))
        done("fit", data, "-o", tmp_path / "one", "--steps", 2, "--recipe", one)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_another_seed_gives_other_numbers(undisturbed, tmp_path):
    data, whole = undisturbed
    done("fit", data, "-o", tmp_path / "other", "--steps", STEPS, "--recipe", data / "recipe.toml", "--seed", 5)
    assert losses(tmp_path / "other") != losses(whole)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount a small disk")
def test_a_full_disk_leaves_the_old_checkpoint_and_says_one_line(undisturbed, killed, tmp_path):
    data, whole = undisturbed
    disk = tmp_path / "small"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)], check=False).returncode:
        pytest.skip("a small disk cannot be mounted here")
    try:
        run = shutil.copytree(killed, disk / "run")
        before = read_checkpoint(run / "weights" / "last.safetensors")
        free = os.statvfs(disk)
        filler = disk / "filler"
        filler.write_bytes(b"\0" * max(0, free.f_bavail * free.f_bsize - 4096))
        full = medgrad(*command(data, run)[3:])
        assert full.code == 1
        assert "No space left" in full.err.splitlines()[-1]
        assert "Traceback" not in full.err
        after = read_checkpoint(run / "weights" / "last.safetensors")
        assert all(torch.equal(v, after["model"][k]) for k, v in before["model"].items())
        filler.unlink()
        learned(data, run)
        assert losses(run) == losses(whole)
    finally:
        subprocess.run(["umount", "--lazy", str(disk)], check=False)

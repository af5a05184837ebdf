"""How often the commands open each file of a small set, in all of their processes."""

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from medgrad.data import Grid, Image, LabelMap, Source
from medgrad.data.dicom.write.ct import SeriesHeader, write_ct
from medgrad.machine.cores import count_cores

HEARD = """
import os, sys
def heard(event, given):
    if event == "open" and isinstance(given[0], (str, bytes)) and os.fsdecode(given[0]).endswith(".dcm"):
        log = os.open(os.environ["OPENED"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(log, f"{os.getpid()} {os.path.realpath(os.fsdecode(given[0]))}\\n".encode())
        os.close(log)
sys.addaudithook(heard)
"""
COMMAND = """
from medgrad.survey import dicom_headers, workers
workers.MIN_FILES = dicom_headers.MIN_FILES = 1
dicom_headers.FILES_PER_REQUEST = 8
from medgrad.apps.cli import main
main()
"""
CT = Grid((16, 16, 8), ((-1.0, 0, 0, 0), (0, -1.0, 0, 0), (0, 0, 2.0, 0), (0, 0, 0, 1)))


@pytest.fixture(scope="module")
def patients(tmp_path_factory):
    from medgrad.data.dicom.write.seg import make_seg, save_dataset

    folder = tmp_path_factory.mktemp("patients")
    for number in range(6):
        chance = np.random.default_rng(number)
        told = SeriesHeader(f"series {number}", f"study {number}", f"frame {number}", {"PatientID": f"P{number}"})
        series = folder / f"P{number}" / "CT"
        write_ct(series, Image(chance.normal(0, 99, CT.shape), CT, "ct"), told)
        mask = np.zeros(CT.shape, np.uint8)
        mask[3:9, 3:10, 2:6] = 1
        save_dataset(
            make_seg(LabelMap(mask, CT, {1: "lesion"}), Source(series)), folder / f"P{number}" / "SEG" / "truth.dcm"
        )
    for path in folder.rglob("*"):
        os.utime(path, (1e9, 1e9))
    return folder


def opened_by(folder: Path, tmp_path: Path, *command: str) -> tuple[Counter[str], set[str]]:
    """Run a command and count the openings of each file by all of its processes, and name these."""
    (tmp_path / "sitecustomize.py").write_text(HEARD)
    log = tmp_path / "opened.txt"
    path = os.pathsep.join([str(tmp_path), *sys.path])
    done = subprocess.run(
        [sys.executable, "-c", COMMAND, *command],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": path, "OPENED": str(log), "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    rows = [line.split(" ", 1) for line in log.read_text().splitlines()]
    assert {os.path.realpath(p) for p in folder.rglob("*.dcm")} == {name for _, name in rows}
    return Counter(name for _, name in rows), {process for process, _ in rows}


@pytest.mark.slow
def test_look_opens_each_file_once_however_many_processes_it_has(patients, tmp_path):
    pytest.importorskip("highdicom")
    times, processes = opened_by(patients, tmp_path, "look", str(patients))
    assert set(times.values()) == {1}
    assert len(processes) == min(2, count_cores())


@pytest.mark.slow
def test_fit_opens_each_file_once_to_look_and_once_to_learn(patients, tmp_path):
    pytest.importorskip("highdicom")
    run = tmp_path / "run"
    asked = "fit", str(patients), "--out", str(run), "--steps", "2", "--seed", "0"
    times, _ = opened_by(patients, tmp_path, *asked)
    assert set(times.values()) == {2}

"""The wheel works alone: installed outside the repository with the core, and with all extras."""

import os
import shutil
import subprocess
import sys
import tomllib
import zipfile
from dataclasses import dataclass
from pathlib import Path

import nibabel
import numpy as np
import pytest
from dicom_answers import make_series

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "medgrad"
EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
OFFERED = sorted(set(EXTRAS) - {"all", "test", "bench", "docs", "torch"})
SHORT = ("--steps", "2")
RACE = ("race", "set", "--optimisers", "sgd,adamw", "--minutes", "0.02", "--seeds", "1", "--recipe", "tiny.toml")
TINY = """
[model]
name = "unet"
channels = [4, 8]
strides = [[2, 2, 2]]

[training]
patch = [16, 16, 16]
batch = 2
"""

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]


@dataclass(frozen=True)
class Place:
    """An environment with the wheel, and a folder elsewhere in which its commands are run."""

    environment: Path
    folder: Path

    def run(self, program, *words):
        """Run a program of the environment as a user would: nothing of this repository is on its path."""
        words = [str(self.environment / "bin" / program), *map(str, words)]
        return subprocess.run(words, cwd=self.folder, env=clean(), capture_output=True, text=True, check=False)

    def done(self, *words):
        """Run a command of medgrad that must succeed, and give what it printed."""
        ended = self.run("medgrad", *words)
        assert ended.returncode == 0, ended.stdout + ended.stderr
        return ended.stdout


def clean():
    """Give the variables of this process without those that lead Python or pip back to the repository."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "COV", "VIRTUAL_ENV", "PYTEST"))}
    pins = str(ROOT / "constraints.txt")
    return kept | {"PIP_CONSTRAINT": pins, "PIP_BUILD_CONSTRAINT": pins, "OMP_NUM_THREADS": "1"}


def ran(*words):
    ended = subprocess.run([str(w) for w in words], env=clean(), capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr


def make_set(folder):
    """Write six small volumes with a bright block, and its mask, without medgrad."""
    for number in range(6):
        rng = np.random.default_rng(number)
        labels = np.zeros((16, 16, 16), np.uint8)
        labels[tuple(slice(c, c + 6) for c in rng.integers(1, 8, 3))] = 1
        image = (2 * labels + rng.normal(0, 0.5, labels.shape)).astype(np.float32)
        for kind, array in (("images", image), ("labels", labels)):
            (folder / kind).mkdir(parents=True, exist_ok=True)
            path = folder / kind / f"case_{number:02d}.nii.gz"
            nibabel.save(nibabel.Nifti1Image(array, np.diag([1, 1, 2, 1.0])), path)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel, built from a copy of what is kept, so that no old build lends it a file."""
    source, out = tmp_path_factory.mktemp("source") / "medgrad", tmp_path_factory.mktemp("dist")
    shutil.copytree(ROOT / "src", source / "src", ignore=shutil.ignore_patterns("*.egg-info", "__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    ran(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", out, source)
    (found,) = out.glob("*.whl")
    return found


def placed(wheel, folder, wanted):
    """Install the wheel into an empty environment, and lay a set, a series and a MetaImage into another folder."""
    environment, elsewhere = folder / "environment", folder / "elsewhere"
    ran(sys.executable, "-m", "venv", environment)
    ran(environment / "bin" / "pip", "install", "--quiet", f"medgrad{wanted} @ {wheel.as_uri()}")
    elsewhere.mkdir()
    make_set(elsewhere / "set")
    make_series(elsewhere / "series", shape=(16, 16, 16))
    header = "ObjectType = Image\nNDims = 3\nElementType = MET_UCHAR\nDimSize = 16 16 16\nElementDataFile = LOCAL\n"
    (elsewhere / "volume.mha").write_bytes(header.encode() + bytes(range(256)) * 16)
    (elsewhere / "tiny.toml").write_text(TINY)
    return Place(environment, elsewhere)


@pytest.fixture(scope="module")
def core(wheel, tmp_path_factory):
    """The core alone, with a run that has learned for 20 steps."""
    place = placed(wheel, tmp_path_factory.mktemp("core"), "")
    place.done("fit", "set", "-o", "run", "--steps", 20)
    return place


@pytest.fixture(scope="module")
def full(wheel, tmp_path_factory):
    """Everything, with a run that has learned for 20 steps."""
    place = placed(wheel, tmp_path_factory.mktemp("full"), "[all]")
    place.done("fit", "set", "-o", "run", "--steps", 20, "--track", "tensorboard")
    return place


def test_the_wheel_has_every_file_of_the_package_and_nothing_else(wheel):
    inside = set(zipfile.ZipFile(wheel).namelist())
    kept = {
        f.relative_to(ROOT / "src").as_posix()
        for f in PACKAGE.rglob("*")
        if f.is_file() and "__pycache__" not in f.parts
    }
    assert {name for name in inside if ".dist-info/" not in name} == kept
    assert {"medgrad/py.typed", "medgrad/report/style.css"} <= kept
    about = {name.split(".dist-info/")[1] for name in inside - kept}
    assert {"METADATA", "WHEEL", "RECORD", "entry_points.txt", "licenses/LICENSE"} <= about


def test_the_registries_list_the_same_from_the_wheel_unopened(core, wheel):
    code = """
import sys
sys.path.insert(0, {!r})
import medgrad
from medgrad.registry import names
print(medgrad.__file__.count(".whl"), names("tasks"), names("data.formats"))
"""
    zipped = core.run("python", "-c", code.format(str(wheel)))
    installed = core.run("python", "-c", code.format("."))
    assert zipped.stdout.startswith("1 ['classification'"), zipped.stderr
    assert installed.stdout == "0" + zipped.stdout[1:]


def test_the_core_installs_without_conflict(core):
    ended = core.run("python", "-m", "pip", "check")
    assert ended.returncode == 0, ended.stdout


def test_every_file_can_be_imported_with_the_core_alone(core):
    code = """
import importlib, pkgutil, medgrad
assert "site-packages" in medgrad.__file__, medgrad.__file__
for module in pkgutil.walk_packages(medgrad.__path__, "medgrad."):
    if not module.name.endswith("_main__"):
        importlib.import_module(module.name)
"""
    ended = core.run("python", "-W", "error::ImportWarning", "-c", code)
    assert ended.returncode == 0, ended.stderr


def test_the_core_looks_learns_and_answers(core):
    assert "6 cases" in core.done("look", "set")
    report = (core.folder / "run" / "report.html").read_text()
    assert (PACKAGE / "report" / "style.css").read_text().strip() in report
    core.done("predict", "run", "set/images/case_00.nii.gz", "-o", "answers")
    answer = nibabel.load(core.folder / "answers" / "case_00.nii.gz")
    assert answer.shape == (16, 16, 16)
    assert set(np.unique(np.asarray(answer.dataobj))) <= {0, 1}


DOORS = {
    "cluster": [(*RACE, "-o", "on-ray", "--on-ray")],
    "dicom": [
        ("predict", "run", "series", "-o", f"as-{kind}", "--format", kind)
        for kind in ("dicomseg", "dicomseg-fractional", "labelmap", "sr", "map")
    ],
    "itk": [("predict", "run", "volume.mha", "-o", "of-mha")],
    "mlflow": [("fit", "set", "-o", "to-mlflow", *SHORT, "--track", "mlflow")],
    "monai": [
        ("fit", "set", "-o", "by-monai", *SHORT, "--model", "monai"),
        ("export", "run", "-o", "bundle", "--to", "monai-bundle"),
    ],
    "onnx": [
        ("export", "run", "-o", "onnx", "--to", "onnx"),
        ("export", "run", "-o", "onnx-8", "--to", "onnx", "--int8"),
    ],
    "openvino": [("export", "run", "-o", "openvino", "--to", "openvino")],
    "track": [("fit", "set", "-o", "to-tensorboard", *SHORT, "--track", "tensorboard")],
    "tune": [(*RACE, "-o", "searched", "--trials", "2")],
}
"""For each extra, the commands that need it."""
EVERY = [(extra, words) for extra in OFFERED for words in DOORS[extra]]
NAMED = [f"{extra}:{words[-1]}" for extra, words in EVERY]


@pytest.mark.parametrize(("extra", "words"), EVERY, ids=NAMED)
def test_what_is_missing_is_named_with_the_command_that_brings_it(core, extra, words):
    ended = core.run("medgrad", *words)
    assert ended.returncode == 1, ended.stdout + ended.stderr
    assert f"pip install 'medgrad[{extra}]'" in ended.stderr.strip().splitlines()[-1]


@pytest.mark.parametrize(("extra", "words"), EVERY, ids=NAMED)
def test_with_all_extras_every_door_opens(full, extra, words):
    full.done(*words)


def test_all_extras_install_without_conflict(full):
    ended = full.run("python", "-m", "pip", "check")
    assert ended.returncode == 0, ended.stdout


@pytest.mark.parametrize("kind", ["onnx", "openvino"])
def test_an_artefact_answers_where_its_engine_is_and_says_what_is_missing_elsewhere(core, full, kind):
    made = f"artefact-{kind}"
    full.done("export", "run", "-o", made, "--to", kind)
    full.done("predict", made, "set/images/case_00.nii.gz", "-o", f"by-{kind}")
    ended = core.run("medgrad", "predict", full.folder / made, "set/images/case_00.nii.gz", "-o", f"by-{kind}")
    assert ended.returncode == 1
    assert f"pip install 'medgrad[{kind}]'" in ended.stderr.strip().splitlines()[-1]

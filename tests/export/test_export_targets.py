"""What is exported answers as its run does, or is not written."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from untrained import make_run, record_cohort, smooth

from medgrad.answers import agreement
from medgrad.data import Case, Grid, Image
from medgrad.data.formats import write
from medgrad.engine.evaluation.infer import predictor_of
from medgrad.engine.runs.run import open_run
from medgrad.errors import MedgradError, SettingError
from medgrad.export import export
from medgrad.export._module import FLOAT32, float32_networks
from medgrad.inference.artefact.artefact import open_artefact
from medgrad.inference.artefact.predictor import answer
from medgrad.inference.artefact.select_backend import select_backend
from medgrad.registry import find


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def skip_without(target):
    made = find("export", target)
    if not find("inference.artefact.backends", made.backend).is_installed():
        pytest.skip(f"the {find('inference.artefact.backends', made.backend).extra} extra is not installed")
    if target == "monai_bundle":
        pytest.importorskip("monai", reason="the monai extra is not installed")


def case(seed, shape, **grid):
    return Case(f"c{seed}", {"image": Image(smooth(seed, shape), Grid.from_shape(shape, **grid))})


def said_by_both(run, folder, cases):
    """Give pairs of answers: by the run in float32, and by what was exported."""
    trained, artefact = open_run(run, device="cpu"), open_artefact(folder)
    ask, *_ = select_backend(artefact)
    exact = predictor_of(replace(trained, networks=float32_networks(trained), compute=FLOAT32))
    return [(exact.answer(one), answer(artefact, ask, one)) for one in cases]


RUNS = {
    "windows": ({"kind": "segmentation", "dims": 3, "patch": 12}, (20, 9, 17)),
    "mirrored folds": ({"kind": "segmentation", "folds": 2, "inference": {"tta_flips": [0, 1]}}, (30, 21)),
    "one of several": ({"kind": "classification", "task": {"temperature": 1.7, "shift": [0.4, -0.3]}}, (22, 19)),
    "each for itself": (
        {"kind": "classification", "task": {"exclusive": False}, "inference": {"tta_flips": [1]}, "folds": 2},
        (18, 16),
    ),
    "yolo": (
        {"kind": "detection", "task": {"platt_a": [0.8], "platt_b": [0.2], "min_score": 0.3}, "patch": 24},
        (52, 30),
    ),
    "retinanet": (
        {
            "kind": "detection",
            "task": {"labels": ["a", "b"], "min_score": 0.3},
            "patch": 24,
            "model": {"name": "retinanet", "channels": [4, 8, 8], "first": 1, "width": 8},
        },
        (30, 28),
    ),
}


@pytest.mark.parametrize(
    ("kind", "target"),
    [
        *[(kind, "onnx") for kind in RUNS],
        ("windows", "openvino"),
        *[pytest.param(kind, "openvino", marks=pytest.mark.slow) for kind in RUNS if kind != "windows"],
    ],
)
def test_the_artefact_answers_as_the_run(kind, target, tmp_path):
    skip_without(target)
    settings, shape = RUNS[kind]
    run = make_run(tmp_path / "run", **settings)
    done = export(run, target_name=target)
    assert done.folder == run / "exported" / target
    assert done.evaluated_on == "made-up windows"
    pairs = said_by_both(run, done.folder, [case(seed, shape, spacing=[0.5] * len(shape)) for seed in range(2)])
    assert agreement(pairs).off <= (0.01 if settings["kind"] == "detection" else 0.001)
    for ours, theirs in pairs:
        if hasattr(ours, "grid"):
            assert ours.grid == theirs.grid
        if hasattr(ours, "corners"):
            assert len(ours.labels) > 3


def test_the_preparation_goes_with_the_artefact(tmp_path):
    skip_without("onnx")
    prepare = [{"name": "reorient"}, {"name": "resample", "spacing": [1.0, 1.0, 1.5]}, {"name": "normalise"}]
    run = make_run(tmp_path / "run", dims=3, patch=8, prepare=prepare)
    done = export(run)
    matrix = np.diag([-1.0, 1, 2, 1])[[1, 0, 2, 3]]
    turned = Grid((14, 12, 8), tuple(tuple(row) for row in matrix.tolist()))
    ((ours, theirs),) = said_by_both(
        run, done.folder, [Case("t", {"image": Image(90 * smooth(5, (14, 12, 8)), turned)})]
    )
    assert theirs.grid == turned
    assert (ours.array == theirs.array).mean() >= 0.999
    assert 0 < theirs.array.mean() < 1


@pytest.mark.slow
def test_a_program_of_torch_answers_as_the_run(tmp_path):
    run = make_run(tmp_path / "run", patch=8)
    done = export(run, target_name="torch-export")
    assert agreement(said_by_both(run, done.folder, [case(3, (11, 9))])).off == 0


def make_set(folder, cases=6, size=16):
    for number in range(cases):
        image = smooth(number, (size, size, size))
        grid = Grid.from_shape(image.shape)
        write(folder / "images" / f"c{number}.nii.gz", Image(image, grid, "mr"))
        write(folder / "labels" / f"c{number}.nii.gz", Image((image > 1).astype(np.uint8), grid))
    return folder


@pytest.fixture(scope="module")
def volumes(tmp_path_factory):
    return make_set(tmp_path_factory.mktemp("volumes") / "data")


@pytest.fixture
def known(volumes, tmp_path):
    """A run that knows where its cases are."""
    run = make_run(tmp_path / "run", dims=3, patch=16, prepare=[{"name": "normalise"}])
    record_cohort(run, volumes, {f"c{n}": "val" if n < 2 else "train" for n in range(6)})
    return run


@pytest.mark.parametrize("target", ["onnx", pytest.param("openvino", marks=pytest.mark.slow)])
def test_eight_bits_are_measured_on_training_patients_and_judged_on_others(target, known):
    skip_without(target)
    if target == "openvino":
        pytest.importorskip("nncf", reason="the openvino extra is not installed")
    told = []
    progress = find_progress(told)
    done = export(known, target_name=target, as_int8=True, tolerance=0.2, progress=progress)
    assert "Measuring ranges on 4 windows of 4 training patients." in told
    assert done.evaluated_on == "validation cases"
    assert done.agreement.cases == 2
    assert 0 < done.agreement.off < 0.2
    about = json.loads((done.folder / "artefact.json").read_text())
    assert (about["precision"], about["tolerance"]) == ("int8", 0.2)
    with pytest.raises(MedgradError, match=r"too little on 2 validation cases: equal 0\.\d+"):
        export(known, known / "strict", target_name=target, as_int8=True, tolerance=done.agreement.off / 2)
    assert sorted(p.name for p in known.iterdir() if p.suffix == ".part" or p.name == "strict") == []


def test_onnx_in_eight_bits_is_read_by_openvino_as_by_onnx_runtime(known):
    skip_without("onnx")
    skip_without("openvino")
    done = export(known, target_name="onnx", as_int8=True, tolerance=0.2)
    artefact = open_artefact(done.folder)
    said = {}
    for name in ("onnxruntime", "openvino"):
        ask = find("inference.artefact.backends", name).open(artefact.network_file, n_threads=1, precision="float32")
        said[name] = np.concatenate([ask(shown)[0] for shown in artefact.example[0]])
    far = np.abs(said["openvino"] - said["onnxruntime"]).mean()
    assert far < 0.02 * np.abs(said["onnxruntime"]).mean()


def find_progress(told):
    from medgrad.engine.progress import SilentProgress

    class Told(SilentProgress):
        def say(self, text):
            told.append(text)

    return Told()


def test_a_network_that_answers_otherwise_is_not_written(known, monkeypatch):
    skip_without("onnx")
    from medgrad.export import _export

    def wrong(trained, planes, about):
        made = finish(trained, planes, about)
        made.module.networks[0].heads[0].bias.data += torch.tensor([0.2, 0.0])
        return made

    finish = _export.build_export_module
    monkeypatch.setattr(_export, "build_export_module", wrong)
    monkeypatch.setattr(_export, "float32_networks", lambda _: float32_networks(open_run(known, device="cpu")))
    with pytest.raises(MedgradError, match="agree too little"):
        export(known)
    assert not (known / "exported" / "onnx").exists()


@pytest.mark.slow
def test_monai_answers_with_a_bundle_as_the_run_does(known):
    skip_without("monai_bundle")
    done = export(known, target_name="monai-bundle")
    about = json.loads((done.folder / "artefact.json").read_text())
    assert about["agreement"]["monai-bundle"]["cases"] == 2
    assert about["agreement"]["monai-bundle"]["equal"] >= 0.999
    assert {"configs/inference.json", "configs/metadata.json", "models/model.ts"} <= set(about["files"])
    with pytest.raises(SettingError, match="no counterpart in MONAI"):
        export(make_run(known / "other", dims=3, prepare=[{"name": "crop"}]), target_name="monai-bundle")


def test_an_older_artefact_gives_way_and_a_stranger_does_not(tmp_path):
    skip_without("onnx")
    run, out = make_run(tmp_path / "run", patch=8), tmp_path / "out"
    (out / "deep").mkdir(parents=True)
    with pytest.raises(SettingError, match="no artefact"):
        export(run, out)
    (out / "deep").rmdir()
    export(run, out)
    before = (out / "artefact.json").stat().st_mtime_ns
    export(run, out)
    assert (out / "artefact.json").stat().st_mtime_ns > before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out", "run"]


def test_what_cannot_be_exported_says_so(tmp_path):
    two = make_run(tmp_path / "two", "detection", folds=2)
    with pytest.raises(SettingError, match="fold-0"):
        export(two)
    with pytest.raises(SettingError, match="--int8"):
        export(two, target_name="torch-export", as_int8=True)
    moves = make_run(tmp_path / "moves", patch=8)
    text = (moves / "recipe.toml").read_text().replace('kind = "segmentation"', 'kind = "registration"')
    (moves / "recipe.toml").write_text(text)
    with pytest.raises(MedgradError, match="medgrad register"):
        export(moves)
    with pytest.raises(SettingError, match="--calibrate"):
        export(make_run(tmp_path / "alone", patch=8), as_int8=True)


def test_what_stands_in_an_artefact_is_no_patient(tmp_path):
    skip_without("onnx")
    run = make_run(tmp_path / "run", patch=8)
    artefact = open_artefact(export(run).folder)
    task = open_run(run, device="cpu").task
    inputs, stored = artefact.example
    assert len(inputs) == len(stored) == 3
    shown = task.example(0).images["image"].array[:8, :8]
    assert np.corrcoef(inputs[0].ravel(), shown.ravel())[0, 1] > 0.8

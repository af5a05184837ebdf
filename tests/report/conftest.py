"""A whole run, made by seed, as the engine writes one."""

import csv
import json
import shutil

import numpy as np
import pytest

RECIPE = """[task]
kind = "{task}"
labels = {labels}

[model]
name = "unet"
features = [32, 64, 128, 256]

[training]
steps = 800
batch = 4
patch = [40, 56, 40]
rate = 0.001
optimiser = "adamw"
"""


def write_json(path, value):
    path.write_text(json.dumps(value, indent=1))


def write_steps(folder, terms, valid, seed=0, n=800):
    rng = np.random.default_rng(seed)
    with (folder / "steps.jsonl").open("w") as file:
        for step in range(1, n + 1):
            fall = np.exp(-step / (0.18 * n))
            loss = {t: float(low + high * fall + 0.06 * rng.normal() * (0.3 + fall)) for t, low, high in terms}
            row = {"step": step, "seconds": 0.25 * step, "rate": 1e-3, "loss": loss, "gradient/norm": 1.0}
            file.write(json.dumps(row) + "\n")
            if step % 40 == 0:
                value = {k: float(v * (1 - 0.7 * fall) + 0.008 * rng.normal()) for k, v in valid.items()}
                file.write(json.dumps({"step": step, "seconds": 0.25 * step, "valid": value}) + "\n")


def write_shared(folder, task, labels, cases, look):
    listed = str(labels).replace("'", '"')
    (folder / "recipe.toml").write_text(RECIPE.format(task=task, labels=listed))
    write_json(
        folder / "run.json",
        {
            "medgrad": "0.1.0",
            "torch": "2.13.0+cpu",
            "python": "3.11.9",
            "machine": "Linux, Intel Xeon, 2 cores",
            "started": "2026-11-21T09:12:03",
            "finished": "2026-11-21T09:22:15",
            "seconds": 612.4,
            "ended_by": "the budget of 10 minutes",
            "steps": 800,
            "parameters": 5749411,
            "seed": 7,
            "command": "medgrad fit hippocampus -o runs/first --minutes 10",
        },
    )
    write_json(
        folder / "cohort.json",
        {
            "layout": "msd",
            "root": "data/hippocampus",
            "task": task,
            "labels": labels,
            "patients_from": "one patient a case",
            "told": ["The 200 cases of labelsTr have a truth; those of imagesTs have none and are left out."],
            "allow_leak": False,
            "look": look,
            "cases": cases,
        },
    )


def write_cases(folder, rows):
    names = list(dict.fromkeys(k for r in rows for k in r))
    with (folder / "cases.csv").open("w", newline="") as file:
        table = csv.DictWriter(file, names)
        table.writeheader()
        table.writerows(rows)


def blob(shape, centre, radius, rough, rng):
    from scipy.ndimage import gaussian_filter

    y, x = np.mgrid[: shape[0], : shape[1]]
    noise = gaussian_filter(rng.normal(size=shape), 3) * 6
    return ((y - centre[0]) / radius[0]) ** 2 + ((x - centre[1]) / radius[1]) ** 2 + rough * noise < 1


def brain(rng, shape=(104, 88)):
    from scipy.ndimage import gaussian_filter

    image = 90 + 260 * gaussian_filter(rng.normal(size=shape), 2.5) + 12 * rng.normal(size=shape)
    front, back = blob(shape, (44, 44), (17, 13), 0.05, rng), blob(shape, (66, 48), (16, 11), 0.05, rng)
    image[front | back] += 70
    truth = np.zeros(shape, np.uint8)
    truth[back], truth[front] = 2, 1
    return np.clip(image, 0, 255).astype(np.uint8), truth


def write_segmentation(folder, seed=0, patients=40):
    rng = np.random.default_rng(seed)
    labels = ["anterior", "posterior"]
    cases = [
        {"id": f"hippocampus_{i:03d}", "patient": f"hippocampus_{i:03d}", "split": s, "hash": f"{i * 7919:016x}"}
        for i, s in enumerate(["train"] * 130 + ["val"] * 30 + ["test"] * patients, 1)
    ]
    look = {
        "fingerprint": {"cases": 200, "shape": [35, 51, 35], "spacing": [1.0, 1.0, 1.0], "modality": "mr"},
        "faults": ["hippocampus_118: two thirds of the slices are empty."],
        "leaks": [],
    }
    write_shared(folder, "segmentation", labels, cases, look)
    write_steps(
        folder, [("dice", 0.11, 0.7), ("entropy", 0.05, 0.5)], {"dice/mean": 0.882, "dice/anterior": 0.89}, seed
    )
    rows = []
    for i in range(patients):
        a, p = 1 - rng.beta(3, 24, 2)
        row = {"case": f"hippocampus_{161 + i:03d}", "patient": f"hippocampus_{161 + i:03d}", "failed": ""}
        row |= {"dice/anterior": a, "dice/posterior": p, "dice/mean": (a + p) / 2, "hd95/mean": 9 * (1 - a) + 0.8}
        rows.append(row | {"nsd/mean": 1 - (1 - p) / 2, "hd95/anterior": 8 * (1 - a) + 0.8})
    rows[3] |= {k: 0.0 for k in rows[3] if k.startswith(("dice", "nsd"))} | {
        "failed": "hippocampus_164.nii.gz ends early: 12 of 240 kB. Copy it again.",
        "hd95/mean": 70.1,
    }
    write_cases(folder, rows)
    figures = {}
    for name in [k for k in rows[0] if "/" in k]:
        values = np.array([r[name] for r in rows])
        half = 1.96 * values.std() / len(values) ** 0.5
        figures[name] = {
            "value": values.mean(),
            "low": values.mean() - half,
            "high": values.mean() + half,
            "n": patients,
        }
    figures["volume_bias_ml/anterior"] = {"value": -0.04, "low": -0.09, "high": 0.012, "n": patients}
    figures["volume_error/mean"] = {"value": 0.08, "low": 0.06, "high": 0.11, "n": patients}
    figures["empty_agreed/anterior"] = {"value": None, "low": None, "high": None, "n": 0}
    evaluation = {"task": "segmentation", "split": "test", "cases": patients, "patients": patients, "failed": 1}
    evaluation["headline"] = ["dice/mean", "hd95/mean", "nsd/mean"]
    write_json(
        folder / "evaluation.json",
        {**evaluation, "metrics": figures, "calibration": None, "confusion": None, "told": []},
    )
    (folder / "pictures").mkdir()
    for rank, shift in (("best", 0), ("median", 2), ("worst", 5)):
        for k in range(2):
            image, truth = brain(rng)
            answer = np.roll(truth, (shift, -shift), (0, 1))
            title = f"{rank.capitalize()}: hippocampus_{170 + k}, Dice {0.95 - 0.06 * shift:.3f}"
            np.savez_compressed(
                folder / "pictures" / f"{rank}-{k}.npz",
                image=image,
                truth_labels=truth,
                answer_labels=answer,
                spacing=np.array([1.0, 1.0]),
                title=np.array(title),
                labels=np.array(labels),
            )
    return folder


def write_classification(folder, seed=0, patients=118):
    rng = np.random.default_rng(seed)
    labels = ["normal", "benign", "malignant"]
    cases = [
        {"id": f"busi-{i}", "patient": f"P{i}", "split": s, "hash": f"{i * 104729:016x}"}
        for i, s in enumerate(["train"] * 520 + ["val"] * 110 + ["test"] * patients, 1)
    ]
    look = {"faults": [], "leaks": ["busi-17 (train) and busi-640 (test) show the same picture (0.97)"]}
    write_shared(folder, "classification", labels, cases, look)
    write_steps(folder, [("cross_entropy", 0.3, 0.8)], {"auroc": 0.94, "balanced_accuracy": 0.85}, seed)
    figures = {}
    for name, value in {
        "auroc": 0.941,
        "auroc/normal": 0.967,
        "auroc/benign": 0.924,
        "auroc/malignant": 0.933,
        "balanced_accuracy": 0.856,
        "accuracy": 0.873,
        "f1": 0.851,
        "f1/malignant": 0.81,
        "ece": 0.031,
        "brier": 0.19,
    }.items():
        figures[name] = {"value": value, "low": value - 0.03, "high": min(1, value + 0.03), "n": patients}
    bins = [
        {"confidence": c, "frequency": float(np.clip(c + 0.05 * rng.normal(), 0, 1)), "n": int(6 + 60 * c**3)}
        for c in np.arange(0.35, 1, 0.1)
    ]
    evaluation = {"task": "classification", "split": "test", "cases": patients, "patients": patients, "failed": 0}
    evaluation |= {"headline": ["auroc", "balanced_accuracy", "ece"], "label_noun": "class"}
    calibration = {"temperature": 1.62, "ece_before": 0.084, "ece_after": 0.031, "bins": bins}
    confusion = {"names": labels, "counts": [[17, 2, 1], [3, 60, 4], [0, 5, 26]]}
    parts = {"metrics": figures, "calibration": calibration, "confusion": confusion, "told": []}
    write_json(folder / "evaluation.json", evaluation | parts)
    (folder / "pictures").mkdir()
    for k, title in enumerate(
        ["Best: busi-700, said malignant 0.99, truth malignant", "Worst: busi-731, said benign 0.93"]
    ):
        image, _ = brain(rng)
        colour = np.stack([image, image, image], -1)
        np.savez_compressed(
            folder / "pictures" / f"p{k}.npz",
            image=colour,
            spacing=np.ones(2),
            title=np.array(title),
            labels=np.array(labels),
        )
    return folder


@pytest.fixture(scope="session")
def written(tmp_path_factory):
    """Both runs, written once; each test gets a copy."""
    folder = tmp_path_factory.mktemp("written")
    for name, write in (("first", write_segmentation), ("busi", write_classification)):
        (folder / name).mkdir()
        write(folder / name)
    return folder


@pytest.fixture
def segmentation_run(written, tmp_path):
    return shutil.copytree(written / "first", tmp_path / "first")


@pytest.fixture
def classification_run(written, tmp_path):
    return shutil.copytree(written / "busi", tmp_path / "busi")

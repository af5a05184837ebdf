"""Copies of training patients found among made images, and runs that memorised beside one that did not.

Copies are planted from training images by noise, exponent, flip and shift, alone and together, and by more than the
check's own control plants (exponents to 1.7, shifts by parts of an element). Thresholds come from training patients
alone. The filter was chosen on copies by other seeds from the hippocampus (160 volumes; 40 x 48 x 40, cropped or
padded) and BreastMNIST (546 images, 28 x 28), the form of the threshold too; AdrenalMNIST3D (200 shapes, 28 x 28 x 28)
took no part in any choice.

A third of BreastMNIST's training images have duplicates there. Its held-out images that come again in the training set,
as the details of their originals tell (BUSI, 256 x 256; flipped, shifted and stretched), are counted apart.

Then flows learn by ``diffused`` from one plane a volume of the hippocampus (32 x 32), without augmentation: one is
overfit on 16 patients, the others learn from 160, for 200, 300 and 1500 steps. 64 images are made with each. The run of
1500 steps shows that losses give patients away long before an image is a copy; no bound is set on it.

Bounds: of every kind of copy within noise of half a standard deviation at least 95 % are caught, at most 1 in 40
held-out patients is accused, the overfit run is flagged by copies and by losses, those of 200 and 300 steps by neither,
with an upper limit of their area of at most 0.65.
"""

from __future__ import annotations

import csv
import json
import sys
import tempfile
import time
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from _race import settings, told

DATA = Path(__file__).parents[2] / "shared" / "data"
BRAIN, BREAST = DATA / "seg3d_hippocampus", DATA / "cls_medmnist" / "breastmnist.npz"
ORIGINALS, SIDE, PADDED, SAME = DATA / "cls2d_busi", 64, (72, 72), 0.5
ADRENAL = DATA / "cls_medmnist" / "adrenalmnist3d_trainval.npz"
SHAPE, COPIES, RECALL, ACCUSED, AREA = (40, 48, 40), 60, 0.95, 1 / 40, 0.65
PLAIN: dict[str, Any] = {"noise": 0.0, "gamma": 1.0, "shift": 0, "flips": False}
KINDS: dict[str, dict[str, Any]] = {
    "noise 0.25": {"noise": 0.25},
    "exponent 0.7 to 1.4": {"gamma": 1.4},
    "flips": {"flips": True},
    "shift to 3": {"shift": 3},
    "all, noise 0.1": {"noise": 0.1, "gamma": 1.4, "shift": 3, "flips": True},
    "all, noise 0.25": {"noise": 0.25, "gamma": 1.4, "shift": 3, "flips": True},
    "all, noise 0.5": {"noise": 0.5, "gamma": 1.4, "shift": 3, "flips": True},
    "all, exponent to 1.7, part shifts": {"noise": 0.25, "gamma": 1.7, "shift": 2.7, "flips": True},
}
BEYOND = {
    f"all, noise {n:g}": {"noise": n, "gamma": 1.4, "shift": 3, "flips": True} for n in (0.75, 1.0, 1.5, 2.0, 3.0)
}


def hippocampus(split: str) -> dict[str, Any]:
    """Read the images of a split, cropped or padded to one shape, by case."""
    import nibabel

    from medgrad.engine.evaluation.memorisation import crop_or_pad

    names = json.loads((BRAIN / "split.json").read_text(encoding="utf-8"))[split]
    read = {
        n: np.asarray(nibabel.load(BRAIN / "images" / f"hippocampus_{n}.nii.gz").dataobj, np.float32) for n in names
    }
    return {n: crop_or_pad(a / max(float(np.percentile(a, 99.5)), 1e-6), SHAPE, 3) for n, a in read.items()}


def breast(split: str) -> dict[str, Any]:
    """Read the training images, or all others, by number."""
    with np.load(BREAST) as stored:
        sides = ["train"] if split == "train" else ["val", "test"]
        images = [a for side in sides for a in stored[f"{side}_images"].reshape(-1, 28, 28)]
    return {f"{split}{i}": a.astype(np.float32) for i, a in enumerate(images)}


def adrenal(split: str) -> dict[str, Any]:
    """Read 200 of the training shapes, or all held-out ones, by number."""
    with np.load(ADRENAL) as stored:
        return {f"{split}{i}": a.astype(np.float32) for i, a in enumerate(stored[f"{split}_images"][:200])}


def detection(what: str, training: dict[str, Any], others: dict[str, Any]) -> list[dict[str, Any]]:
    """Give a row for each kind of planted copy, and for held-out patients."""
    from medgrad.trust.copies import find_copies
    from medgrad.trust.planted_copies import plant_copy

    images, patients = list(training.values()), list(training)
    planted: dict[str, list[tuple[str, Any]]] = {}
    for number, (kind, changes) in enumerate((KINDS | BEYOND).items()):
        rng = np.random.default_rng((1000, number))
        chosen = rng.choice(len(images), COPIES, replace=False)
        planted[kind] = [(patients[i], plant_copy(images[i], rng, **(PLAIN | changes))) for i in chosen]
    flat = [(kind, owner, image) for kind, made in planted.items() for owner, image in made]
    began = time.process_time()
    found = find_copies([*(image for *_, image in flat), *others.values()], images, patients)
    seconds = time.process_time() - began
    rows = []
    for kind in planted:
        caught = [n.is_copy for (k, *_), n in zip(flat, found.nearest, strict=False) if k == kind]
        rows.append({"what": f"{what}: {kind}", "images": len(caught), "share": float(np.mean(caught))})  # fmt: skip
    apart = zip(others, found.nearest[len(flat) :], strict=True)
    accused = {name: n for name, n in apart if n.is_copy}
    same = known_duplicates(others, training) if what == "breast" else set()
    clean = len(others) - len(same)
    if same:
        rows.append({"what": f"{what}: held out, duplicates", "images": len(same),
                     "share": len(same & accused.keys()) / len(same)})  # fmt: skip
    wrong = len(accused.keys() - same)
    return [*rows, {"what": f"{what}: held out", "images": clean, "share": wrong / clean, "accused": wrong,
                    "threshold": found.threshold, "control": found.control_recall,
                    "CPU s for 64": seconds / (len(flat) + len(others) + len(images) + 60) * (64 + len(images) + 60),
                    "duplicates in training": len(found.duplicates)}]  # fmt: skip


def known_duplicates(others: dict[str, Any], training: dict[str, Any]) -> set[str]:
    """Give the held-out images whose original picture comes again in the training set, by the details of originals."""
    from PIL import Image

    with (ORIGINALS / "labels.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    first = {"train": 0, "val": 0, "test": 78}
    names = {}
    for row in rows:
        side, index = row["breastmnist_split"], int(row["breastmnist_index"])
        names[f"{'train' if side == 'train' else 'val'}{index + first[side]}"] = row["file"]

    def original(name: str) -> Any:
        image = Image.open(ORIGINALS / "images" / names[name]).convert("L").resize((SIDE, SIDE), Image.Resampling.BOX)
        return details(np.asarray(image, np.float32))

    bank = np.conj(np.stack([np.fft.rfft2(original(name), PADDED) for name in training]))
    return {name for name in others if comes_again(original(name), bank)}


def comes_again(image: Any, bank: Any) -> bool:
    """Whether an image correlates with one of a bank (as transforms), over flips, shifts and stretches to 30 %."""
    from scipy import ndimage

    flipped = [correlations(np.flip(image, axes), bank) for axes in ((), (0,), (1,), (0, 1))]
    if float(np.max(flipped)) >= SAME:
        return True
    likely = bank[np.argsort(-np.asarray(flipped).max(0))[:20]]
    for scale in product(np.linspace(0.7, 1.3, 13), repeat=2):
        offset = [(SIDE - SIDE * factor) / 2 for factor in scale]
        if float(correlations(ndimage.affine_transform(image, scale, offset, order=1), likely).max()) >= SAME:
            return True
    return False


def details(image: Any) -> Any:
    """Give what is finer than 3 elements, of even contrast, with mean 0 and length 1."""
    from scipy import ndimage

    band = ndimage.gaussian_filter(image, 0.7) - ndimage.gaussian_filter(image, 3)
    band = band / (np.sqrt(ndimage.gaussian_filter(band * band, 5)) + 2)
    band = band - band.mean()
    return band / max(float(np.linalg.norm(band)), 1e-6)


def correlations(image: Any, bank: Any) -> Any:
    """Give the highest correlation with each of a bank over shifts to 8 elements."""
    found = np.fft.irfft2(np.fft.rfft2(image, PADDED) * bank, PADDED)
    near = np.r_[0:9, -8:0]
    return found[:, near[:, None], near].max((1, 2))


def planes(folder: Path, images: dict[str, Any]) -> Path:
    """Write the middle plane of each volume as an image of its own."""
    from medgrad.data import Grid, Image
    from medgrad.data.formats import write

    for name, array in images.items():
        plane = np.ascontiguousarray(array[:, :, SHAPE[2] // 2][4:36, 8:40])
        write(folder / f"{name}.nii.gz", Image(plane, Grid.from_shape(plane.shape, spacing=(1, 1))))
    return folder


def learned(what: str, count: int, steps: int) -> dict[str, Any]:
    """Train a flow on so many patients, make images with it, and check it against its training patients."""
    from medgrad.data.cohorts.cohort import with_split
    from medgrad.data.cohorts.layouts import Hints, recognise
    from medgrad.engine.evaluation.memorisation import check_memorisation
    from medgrad.engine.evaluation.opened_run import open_run
    from medgrad.engine.training.fit import fit

    folder = Path(tempfile.mkdtemp())
    inside = dict(list(hippocampus("train").items())[:count])
    outside = hippocampus("val")
    cohort = recognise(planes(folder / "set", inside | outside), Hints(task="generation", kind="synthetic_self"))
    cohort = with_split(cohort, {e.id: "train" if e.id in inside else "val" for e in cohort.entries})
    model = {"name": "rectified_flow", "channels": [32, 64, 128], "strides": [[2, 2], [2, 2]], "steps": 20}
    began = time.process_time()
    fit(cohort, folder / "run", steps=steps, changes={"model": model, "training": TRAINING})
    seconds = time.process_time() - began
    opened = open_run(folder / "run")
    made = [opened.predict_case(opened.task.noise_case(str(i), (0, i))).array for i in range(64)]
    found = check_memorisation(folder / "run", made)
    copies, losses = found.copies, found.membership
    assert copies is not None
    assert losses is not None
    return {"what": what, "images": len(made), "share": len(copies.copies) / len(made), "accused": len(copies.copies),
            "threshold": copies.threshold, "control": copies.control_recall, "flagged": found.is_flagged,
            "copies flagged": copies.is_flagged, "area": losses.auc, "area low": losses.low, "area high": losses.high,
            "training CPU s": seconds}  # fmt: skip


TRAINING = {"threads": 1, "validations": 1, "batch": 16, "patch": [32, 32]}
RUNS: dict[str, tuple[int, int]] = {
    "flow overfit on 16 patients, 3000 steps": (16, 3000),
    "flow on 160 patients, 200 steps": (160, 200),
    "flow on 160 patients, 300 steps": (160, 300),
    "flow on 160 patients, 1500 steps": (160, 1500),
}


def run() -> dict[str, Any]:
    """Measure all; ``held`` tells whether the bounds do."""
    for path in (BRAIN, BREAST, ADRENAL, ORIGINALS):
        if not path.exists():
            return {"skipped": f"{path.name!r} is not beside this folder, so nothing can be copied from it."}
    sets: dict[str, Callable[[str], dict[str, Any]]] = {
        "hippocampus": hippocampus,
        "breast": breast,
        "adrenal": adrenal,
    }
    rows = [row for what, read in sets.items() for row in detection(what, read("train"), read("val"))]
    return judged([*rows, *(learned(what, *how) for what, how in RUNS.items())])


def judged(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Say whether the bounds hold for the rows."""
    by_name = {row["what"]: row for row in rows}
    overfit, *normal = (by_name[name] for name in list(RUNS)[:3])
    held = {
        "copies caught": min(r["share"] for r in rows if r["what"].partition(": ")[2] in KINDS) >= RECALL,
        "others accused": max(r["share"] for r in rows if r["what"].endswith("held out")) <= ACCUSED,
        "overfit": overfit["copies flagged"] is True and overfit["area low"] > 0.5,
        **{r["what"]: r["flagged"] is False and r["area high"] <= AREA for r in normal},
    }
    claim = "; ".join(f"{name}: {'yes' if ok else 'no'}" for name, ok in held.items())
    return {"rows": rows, "claim": claim, "held": all(held.values())}


if __name__ == "__main__":
    settings(__doc__ or "")
    sys.exit(told(run()))

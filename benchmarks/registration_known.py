"""What a registration must do on pairs of which something is known, by parts.

- ``smoothness``: pairs of five kinds whose warp is known and a slice of a lung in two stains, bent at a smoothness of
  1, 3, 10, 30, 100, 300 and 1000. At 1000 the error is at most 5 % above that of our own affine registration, and at
  none of them more than 10 % above it.
- ``histology``: 78 landmarks of that slice end nearer in the mean than by ANTs' affine (35.7 pixels) and SyN (32.7),
  and than the mean of three seeds of each in the same run, since its affine part looks at pixels drawn by chance.
- ``breath``: a synthetic chest breathes by up to 8 mm between two dates; over the organs the mean error is at most 1.5
  mm with voxels of 3 mm, and 1 mm with voxels of 1.5 mm.
- ``patients``: the FLAIRs of two patients at two dates, rigidly, forth and back, and FLAIR to T1 of one, against the
  affine matrices that came with the data. Over the brain the mean error is at most 1.1 times that of SimpleITK (0.35
  mm and 1.64 mm; for T1 that of the same run, Mattes' mutual information on three levels).
- ``slices``: slices of a simulated brain that were turned, shifted and scaled, or are of another weighting, each found
  to 0.1 pixel in the mean over the head.
- ``unlike``: pairs that cannot be registered, of different organs or of noise: there is an answer, and the spread of
  its log Jacobian is under 0.3.
- ``inverse``: forth and back again, each registered for itself, ends within 0.5 mm or one element, whichever is more,
  in the mean and at the 95th percentile.

``--parts`` selects some of them. ``--peers`` names a Python that has antspyx and SimpleITK; without it the figures that
were measured before stand for them, and for T1 there is no bound.

Bound: all of these.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from _race import settings, told
from _registration_pairs import DATA, KINDS, Array, pair
from _registration_peers import Peer
from _registration_sets import Known, breath, hippocampi, histology, made, patients, slices, weightings

SMOOTHNESS = (1, 3, 10, 30, 100, 300, 1000)
STIFF, ANYWHERE = 1.05, 1.10
ANTS_MEAN, SEEDS = {"Affine": 35.7, "SyN": 32.7}, (1, 2, 3)
SITK_MM, SITK_TIMES = {"01": 0.35, "03": 1.64}, 1.1
BREATH_MM = {3.0: (1.5, 4), 1.5: (1.0, 2)}  # the bound, and how many patients
SLICE_PIXELS, SPREAD, BACK_MM = 0.1, 0.3, 0.5

Row = dict[str, Any]


def row(part: str, case: str, figure: str, found: float, bound: float | None = None, told: str = "") -> Row:
    """Give one figure with its bound, and whether it holds; None where it is only told."""
    held = None if bound is None else bool(found <= bound)
    word = "" if held is None else "yes" if held else "NO"
    return {"part": part, "case": case, "figure": figure, "found": found, "bound": bound, "held": word, "also": told}


def found_by(fixed: Any, moving: Any, **words: Any) -> Any:
    """Register, and give the transform."""
    from medgrad.registration.register import register

    return register(fixed, moving, **words).transform


def smoothness(_: str, rounds: int) -> Iterator[Row]:
    """Bend pairs less and less, and compare with what is not bent at all."""
    from medgrad.registration.register import RegistrationOptions

    chosen = [partial(made, kind, seed) for kind in KINDS for seed in range(rounds or 2)]
    for load in [*chosen, histology]:
        known = load()
        affine = known.errors(found_by(known.fixed, known.moving, kind="affine")).mean()
        times = []
        for value in SMOOTHNESS:
            transform = found_by(known.fixed, known.moving, options=RegistrationOptions(smoothness=float(value)))
            times.append(float(known.errors(transform).mean() / affine))
        each = ", ".join(f"{s}: {t:.2f}" for s, t in zip(SMOOTHNESS, times, strict=True))
        yield row("smoothness", known.name, "times the affine error at 1000", times[-1], STIFF, each)
        yield row("smoothness", known.name, "times the affine error at most", max(times), ANYWHERE)


def landmarks(peers: str, _: int) -> Iterator[Row]:
    """Lay one stain on the other."""
    known = histology()
    for kind, way in (("affine", "Affine"), ("deformable", "SyN")):
        bound = ANTS_MEAN[way]
        if peers:
            each = [float(known.errors(by_ants(known, peers, way, seed)).mean()) for seed in SEEDS]
            bound = min(bound, float(np.mean(each)))
            also = "by seed: " + ", ".join(f"{e:.1f}" for e in each)
            yield row("histology", f"ANTs {way}", "mean pixels", float(np.mean(each)), None, also)
        left = known.errors(found_by(known.fixed, known.moving, kind=kind))
        yield row("histology", f"medgrad {kind}", "mean pixels", left.mean(), bound, f"median {np.median(left):.1f}")


def by_ants(known: Known, python: str, way: str, seed: int) -> Any:
    """Register by ANTs, in grey, and give the transform."""
    from medgrad.data import Deformation
    from medgrad.data.transform import Transform

    grid = known.fixed.grid
    fixed, moving = (image.channels_first.mean(axis=0) for image in (known.fixed, known.moving))
    field, _ = asked(python, way, fixed=fixed, moving=moving, spacing=grid.spacing, seed=seed)
    return Transform.from_deformation(Deformation(field @ grid.directions.T, grid))


def asked(python: str, way: str, **given: Any) -> tuple[Array, float]:
    """Ask a peer once."""
    with tempfile.TemporaryDirectory() as folder:
        peer = Peer(python, Path(folder), way)
        try:
            return peer.ask(**given)
        finally:
            peer.close()


def breaths(_: str, rounds: int) -> Iterator[Row]:
    """Lay the dates of synthetic chests on each other, and judge by the breath that is known."""
    from medgrad.registration.register import RegistrationOptions

    for spacing_mm, (bound, count) in BREATH_MM.items():
        for number in range(min(count, rounds or count)):
            known = breath(spacing_mm, number)
            transform = found_by(known.fixed, known.moving, options=RegistrationOptions(max_rotation=0))
            before = np.linalg.norm(known.points - known.ends, axis=-1).mean()
            yield row("breath", known.name, "mean mm", known.errors(transform).mean(), bound, f"before {before:.1f}")


def dates(peers: str, _: int) -> Iterator[Row]:
    """Lay the dates of patients on each other, and their T1 on their FLAIR."""
    for known in patients():
        left = known.errors(found_by(known.fixed, known.moving, kind=known.kind)).mean()
        yield row("patients", known.name, "mean mm", left, SITK_TIMES * SITK_MM[known.name[:2]])
    for known in weightings():
        bound, also = None, f"before {np.linalg.norm(known.points - known.ends, axis=-1).mean():.2f}"
        if peers:
            images = {"fixed": known.fixed, "moving": known.moving}
            arrays = {name: image.array for name, image in images.items()}
            affines = {f"{name}_affine": image.grid.matrix for name, image in images.items()}
            matrix, _ = asked(peers, "SimpleITK", **arrays, **affines)
            theirs = float(known.errors(as_transform(matrix, known)).mean())
            bound, also = SITK_TIMES * theirs, f"{also}, SimpleITK {theirs:.2f}"
        left = known.errors(found_by(known.fixed, known.moving, kind=known.kind)).mean()
        yield row("patients", known.name, "mean mm", left, bound, also)


def as_transform(matrix: Array, known: Known) -> Any:
    """Give a matrix as a transform."""
    from medgrad.data.grid import matrix_to_tuples
    from medgrad.data.transform import Transform

    return Transform(matrix_to_tuples(matrix), known.fixed.grid)


def brain_slices(_: str, __: int) -> Iterator[Row]:
    """Find the transforms of brain slices again."""
    for known in slices():
        left = known.errors(found_by(known.fixed, known.moving, kind=known.kind))
        yield row("slices", known.name, "mean pixels", left.mean(), SLICE_PIXELS, f"most {left.max():.2f}")


def unlike(_: str, __: int) -> Iterator[Row]:
    """Register what cannot be registered."""
    from medgrad.metrics import folded_fraction, log_jacobian

    for name, fixed, moving in unlike_pairs():
        deformation = found_by(fixed, moving).deformation()
        spread = float(log_jacobian.compute(None, deformation)["log_jacobian"] or 0.0)
        folds = float(folded_fraction.compute(None, deformation)["folded_fraction"] or 0.0)
        spread = spread if np.isfinite(deformation.field).all() else float("inf")
        yield row("unlike", name, "spread of the log Jacobian", spread, SPREAD, f"folding {folds:.2%}")


def unlike_pairs() -> Iterator[tuple[str, Any, Any]]:
    """Give pairs that cannot be registered."""
    from dataclasses import replace

    image = {kind: pair(kind, 0)[0] for kind in KINDS}

    def noise(kind: str, seed: int) -> Any:
        drawn = np.random.default_rng(seed).normal(size=image[kind].array.shape)
        return replace(image[kind], array=drawn.astype(np.float32))

    for one, other in (("hippocampus", "phantom"), ("phantom", "flair"), ("retina", "histology")):
        yield f"{one} and {other}", image[one], image[other]
    for kind in ("flair", "retina"):
        yield f"{kind} and noise", image[kind], noise(kind, 1)
        yield f"noise and {kind}", noise(kind, 2), image[kind]
        yield f"noise and noise, as {kind}", noise(kind, 3), noise(kind, 4)


def inverse(_: str, rounds: int) -> Iterator[Row]:
    """Register pairs forth and back, and go both ways one after the other."""
    for name, fixed, moving, points in both_ways(rounds or 2):
        forth, back = found_by(fixed, moving), found_by(moving, fixed)
        ends = forth.to_moving(points)
        at = moving.grid.to_index(ends)
        seen = ((at >= 0) & (at <= np.array(moving.grid.shape) - 1)).all(axis=-1)
        left = np.linalg.norm(back.to_moving(ends[seen]) - points[seen], axis=-1)
        bound = max(BACK_MM, float(np.mean(fixed.grid.spacing)))
        yield row("inverse", name, "mean mm", left.mean(), bound)
        yield row("inverse", name, "95th percentile mm", np.quantile(left, 0.95), bound)


def both_ways(count: int) -> Iterator[tuple[str, Any, Any, Array]]:
    """Give pairs of every set, with points of the fixed image."""
    for number in range(count):
        yield f"hippocampi {number}", *hippocampi(number)
    for known in [histology(), *patients()[::2]]:
        yield known.name, known.fixed, known.moving, known.points
    for kind in KINDS:
        for seed in range(count):
            known = made(kind, seed)
            yield known.name, known.fixed, known.moving, known.points[::11]


PARTS: Mapping[str, Callable[[str, int], Iterable[Row]]] = {
    "smoothness": smoothness,
    "histology": landmarks,
    "breath": breaths,
    "patients": dates,
    "slices": brain_slices,
    "unlike": unlike,
    "inverse": inverse,
}


def run(threads: int = 1, rounds: int = 0, peers: str = "", parts: Sequence[str] = tuple(PARTS)) -> dict[str, Any]:
    """Go through the parts; ``held`` tells whether every bound does."""
    if not all((DATA / name).is_dir() for name in ("registration", "longitudinal_ms", "seg3d_hippocampus")):
        return {"skipped": f"Needs the data, which are not under {str(DATA)!r} (MEDGRAD_DATA)."}
    import torch

    torch.set_num_threads(threads)
    rows = [{**r, "found": float(r["found"])} for part in parts for r in PARTS[part](peers, rounds)]
    failed = sum(r["held"] == "NO" for r in rows)
    judged = sum(r["held"] != "" for r in rows)
    return {"rows": rows, "claim": f"every bound ({judged - failed} of {judged})", "held": failed == 0}


if __name__ == "__main__":
    early = argparse.ArgumentParser(add_help=False)
    early.add_argument("--parts", nargs="+", default=list(PARTS), choices=list(PARTS))
    chosen, sys.argv[1:] = early.parse_known_args()
    given = settings(__doc__ or "")
    sys.exit(told(run(given.threads, given.rounds, given.peers, chosen.parts)))

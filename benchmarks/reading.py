"""DICOM read to an array, and a set of it looked at: ours beside SimpleITK, highdicom and pydicom, on one processor.

Series of 48 and 100 slices, plain and packed, are read by `medgrad.data.formats.read` and by SimpleITK's
`ImageSeriesReader` with the file names that GDCM sorts (one thread). The seconds are the processor's, our decoding
helper's with them; what is imported is not counted. A segmentation (4 organs on 48 slices of 256 x 256) is put into one
array by our `read_labels` and by highdicom's `segread` and `get_volume`; of the contours of the same organs all points
are read, by our reader without drawing them and by pydicom. `medgrad look` on 38 small series is timed whole, with all
its imports and processes, on one processor and on two.

Bound: at most 1.3 times SimpleITK's seconds for each series, at most highdicom's and pydicom's for segments and
contours; `look` within 8 seconds of the processor, and 1.7 times as fast by the clock on two processors as on one.
"""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from _race import Side, race, serve, settings, told

SIZES = ((48, 72), (100, 72), (48, 512), (100, 512))
PACKED = {"plain": "", "RLE": "1.2.840.10008.1.2.5", "JPEG 2000": "1.2.840.10008.1.2.4.90",
          "JPEG-LS": "1.2.840.10008.1.2.4.80"}  # fmt: skip
BOUND, MOST_S, FASTER, ROUNDS, LOOKS = 1.3, 8.0, 1.7, 5, 3
CLAIM = "series within 1.3 times SimpleITK, segments and contours within highdicom and pydicom, look within 8 s and 1.7"


def make(root: Path) -> None:
    """Write every series, a segmentation, its contours, and the patients of the demo."""
    import numpy as np
    import pydicom
    from scipy import ndimage

    from medgrad.apps.verbs.demo import DRAWN_LABELS, PHANTOM_SETTINGS
    from medgrad.data import Grid, Image, LabelMap, Source
    from medgrad.data.cohorts.phantom import Phantom, write_cohort
    from medgrad.data.dicom.write.ct import SeriesHeader, write_ct
    from medgrad.data.dicom.write.rtstruct import write_rtstruct
    from medgrad.data.dicom.write.seg import write_seg

    for slices, side in (*SIZES, (48, 256)):
        chance = np.random.default_rng(0)
        smooth = ndimage.gaussian_filter(chance.normal(size=(side, side, slices)).astype(np.float32), 2)
        values = smooth / smooth.std() * 300 + chance.normal(0, 12, smooth.shape)
        grid = Grid((side, side, slices), ((-1.0, 0, 0, 100), (0, -1.0, 0, 100), (0, 0, 2.0, 0), (0, 0, 0, 1)))
        for name, syntax in PACKED.items() if side != 256 else ():
            about = SeriesHeader(f"{slices} {side} {name}", "study", "frame", {"PatientID": "P"})
            for path in write_ct(root / f"{slices} x {side} {name}", Image(values, grid, "ct"), about):
                if syntax:
                    one = pydicom.dcmread(path)
                    one.compress(syntax, generate_instance_uid=False)
                    one.save_as(path)
    write_ct(
        root / "drawn on", Image(values, grid, "ct"), SeriesHeader("drawn on", "study", "frame", {"PatientID": "P"})
    )
    where = np.moveaxis(np.indices(grid.shape), 0, -1)
    organs = np.zeros(grid.shape, np.uint8)
    for label, (x, y) in enumerate(((80, 80), (80, 170), (170, 80), (170, 170)), 1):
        organs[(((where - (x, y, 24)) / (36, 36, 20)) ** 2).sum(axis=-1) < 1] = label
    labels = LabelMap(organs, grid, {1: "liver", 2: "spleen", 3: "left kidney", 4: "right kidney"})
    write_seg(root / "seg.dcm", labels, Source(root / "drawn on"))
    write_rtstruct(root / "rt.dcm", labels, Source(root / "drawn on"))
    phantom = Phantom(patients=30, seed=0, **PHANTOM_SETTINGS)
    list(write_cohort(root / "patients", phantom, patient_numbers=range(19), labels=DRAWN_LABELS))
    long_ago = time.time() - 3600
    for path in root.rglob("*.dcm"):
        os.utime(path, (long_ago, long_ago))


def of_helpers() -> float:
    """Give the processor's seconds that our decoding helpers have used."""
    from medgrad.data.dicom.codec_process import DECODERS

    pids = [h.process.pid for h in DECODERS.values() if h.process is not None]
    return sum(int(Path(f"/proc/{p}/schedstat").read_text().split()[0]) / 1e9 for p in pids)


def ours_reads(what: str, path: Path) -> float:
    """Read once, and give what helpers took for it."""
    from medgrad.data.dicom.read_dataset import get_items, open_dicom
    from medgrad.data.dicom.rtstruct import contour_points
    from medgrad.data.formats import read, read_labels

    before = of_helpers()
    if what == "series":
        read(path)
    elif what == "segments":
        read_labels(path)
    else:
        for region in get_items(open_dicom(path), "ROIContourSequence"):
            for contour in get_items(region, "ContourSequence"):
                contour_points(contour)
    return of_helpers() - before


def theirs_reads(what: str, path: Path) -> float:
    """Read once with the peer."""
    if what == "series":
        import SimpleITK

        SimpleITK.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
        reader = SimpleITK.ImageSeriesReader()
        reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(path)))
        SimpleITK.GetArrayFromImage(reader.Execute())
    elif what == "segments":
        import highdicom

        highdicom.seg.segread(path).get_volume(combine_segments=True)
    else:
        import numpy as np
        import pydicom

        for region in pydicom.dcmread(path).ROIContourSequence:
            for contour in region.ContourSequence:
                np.array(contour.ContourData, float).reshape(-1, 3)
    return 0.0


def side_of(side: str, what: str, path: str) -> Callable[[], float]:
    """Give one side's reading; it is done once before it counts."""
    return partial(ours_reads if side == "ours" else theirs_reads, what, Path(path))


def compared(what: str, path: Path, rounds: int) -> dict[str, float]:
    """Read with both in turns, and give the median seconds of each."""
    found = race({s: Side(__file__, s, what, str(path)) for s in ("ours", "theirs")}, rounds)
    return {s: statistics.median(r["cpu"] + r["value"] for r in found[s]) for s in found}


def looked(folder: Path, processors: str) -> tuple[float, float]:
    """Let `medgrad look` run, and give the seconds of the processor and of the clock."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    command = ["taskset", "-c", processors, sys.executable, "-m", "medgrad", "look", str(folder)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wall, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, wall


def row(what: str, ours: float, peer: str, theirs: float, bound: float, times: float) -> dict[str, Any]:
    """Give one row; ``times`` is how many times the peer's seconds ours are, which the bound is for."""
    return {"what": what, "ours s": ours, "peer": peer, "peer s": theirs, "times": times, "bound": bound}


def run(rounds: int = 0) -> dict[str, Any]:
    """Race all; ``held`` tells whether every bound does."""
    if hasattr(os, "sched_setaffinity"):
        every = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, every[:1])
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        make(root)
        for slices, side in SIZES:
            for name in PACKED:
                found = compared("series", root / f"{slices} x {side} {name}", rounds or ROUNDS)
                times = found["ours"] / found["theirs"]
                what = f"{slices} x {side} x {side}, {name}"
                rows.append(row(what, found["ours"], "SimpleITK", found["theirs"], BOUND, times))
        for what, file, peer in (("segments", "seg.dcm", "highdicom"), ("contours", "rt.dcm", "pydicom")):
            found = compared(what, root / file, rounds or ROUNDS)
            rows.append(row(what, found["ours"], peer, found["theirs"], 1.0, found["ours"] / found["theirs"]))
        looks = [(looked(root / "patients", "0"), looked(root / "patients", "0,1")) for _ in range(LOOKS)]
    one, two = (min(w for _, w in side) for side in zip(*looks, strict=True))
    cpu = statistics.median(c for _, (c, _) in looks)
    rows.append(row("look at 38 series, processor", cpu, "bound", MOST_S, 1.0, cpu / MOST_S))
    rows.append(row("look on two processors, clock", two, "on one", one, 1 / FASTER, two / one))
    held = all(r["times"] <= r["bound"] for r in rows)
    return {"rows": rows, "bound": BOUND, "claim": CLAIM, "held": held}


if __name__ == "__main__":
    given = settings(__doc__ or "")
    if given.side:
        serve(side_of(*given.side))
    else:
        sys.exit(told(run(given.rounds)))

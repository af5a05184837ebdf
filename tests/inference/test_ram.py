"""What memory is taken is measured and told beforehand, and a bound on it is kept or refused."""

import platform
import subprocess
import sys
import time

import nibabel
import numpy as np
import pydicom
import pytest
from dicom_answers import make_series

from medgrad.data import Case, Grid, Image, LabelMap, Source
from medgrad.data.formats import ImageSpec, extent_of, read
from medgrad.errors import FormatError, MedgradError, SettingError
from medgrad.inference.pipeline import memory_limit as ram
from medgrad.inference.pipeline.memory_estimate import MemoryCost, bytes_for_sums, estimate_stage_bytes
from medgrad.inference.sliding_window import choose_block_count, count_sum_bytes, max_useful_blocks, sliding_window
from medgrad.prepare import Memo
from medgrad.prepare.crop import Crop
from medgrad.prepare.normalise import Normalise
from medgrad.prepare.reorient import Reorient
from medgrad.prepare.resample import Resample

OBLIQUE = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))[0]


@pytest.mark.parametrize(
    ("text", "amount"), [("4G", 4 << 30), ("1.5g", 3 << 29), ("700 MiB", 700 << 20), ("2KB", 2048), ("123456", 123456)]
)
def test_an_amount_of_memory_is_read(text, amount):
    assert ram.parse_bytes(text) == amount


@pytest.mark.parametrize("text", ["", "G", "-4G", "4X", "0", "four", "4G4", "1e9", "nan"])
def test_what_is_no_amount_is_one_line(text):
    with pytest.raises(SettingError, match="--ram is an amount of memory") as caught:
        ram.parse_bytes(text)
    assert "\n" not in str(caught.value)


def taking(n):
    block = np.ones(n, np.uint8)
    time.sleep(0.25)  # a thread on a busy machine must get its turn
    return int(block[-1])


def test_what_a_task_takes_is_measured():
    size = 96 << 20
    assert size * 0.9 < ram.peak_memory(lambda: taking(size)) < size * 1.2
    assert ram.peak_memory(lambda: taking(1 << 20)) < size * 0.3


def test_it_is_measured_where_the_mark_of_the_peak_cannot_be_set_back(monkeypatch, tmp_path):
    monkeypatch.setattr(ram, "PROC_CLEAR_REFS", tmp_path / "no" / "such")
    size = 96 << 20
    assert size * 0.9 < ram.peak_memory(lambda: taking(size)) < size * 1.2


def saved(path, array, slope=None):
    nibabel.save(nibabel.Nifti1Image(array, np.diag([1.0, 2, 3, 1])), path)
    if slope:
        raw = bytearray(path.read_bytes())
        raw[112:120] = np.array([slope, -3], "<f4").tobytes()
        path.write_bytes(raw)
    return path


@pytest.mark.parametrize(("kind", "slope"), [(np.int16, None), (np.uint8, 0.5), (np.float32, None)])
@pytest.mark.parametrize("shape", [(4, 5, 6), (4, 5, 6, 3)])
def test_a_header_tells_what_the_image_will_be(tmp_path, kind, slope, shape):
    path = saved(tmp_path / "a.nii", np.ones(shape, kind), slope)
    told, image = extent_of(Source(path)), read(path)
    assert (told.grid, told.channels, told.bytes_per_element) == (image.grid, image.channels, image.array.itemsize)
    assert told.n_bytes == image.array.nbytes


def test_of_a_picture_the_header_is_not_asked(tmp_path):
    from PIL import Image as Picture

    Picture.new("L", (4, 4)).save(tmp_path / "a.png")
    assert extent_of(Source(tmp_path / "a.png")) is None


@pytest.mark.parametrize(("slope", "intercept"), [(1, 0), (1, -1024), (0.5, 0), (3, 40_000)])
def test_headers_tell_what_a_series_will_be_without_a_pixel(tmp_path, monkeypatch, slope, intercept):
    source, _ = make_series(tmp_path, OBLIQUE)
    for path in tmp_path.iterdir():
        head = pydicom.dcmread(path)
        head.RescaleSlope, head.RescaleIntercept = slope, intercept
        head.save_as(path)
    image = read(source)
    monkeypatch.setattr("medgrad.data.dicom.image.decode_all_pixels", None)
    told = extent_of(source)
    assert told.grid.is_close(image.grid)
    assert (told.channels, told.bytes_per_element, told.temporary_bytes) == (image.channels, image.array.itemsize, 2)
    assert told.n_bytes == image.array.nbytes


def test_where_only_pixels_tell_nothing_is_told(tmp_path):
    source, _ = make_series(tmp_path)
    first = min(tmp_path.iterdir())
    head = pydicom.dcmread(first)
    head.SOPInstanceUID = head.file_meta.MediaStorageSOPInstanceUID = pydicom.uid.generate_uid()
    head.save_as(tmp_path / "copy.dcm")
    assert extent_of(source) is None
    assert read(source).grid.shape == (9, 8, 5)
    head.Modality = "PT"
    head.save_as(tmp_path / "copy.dcm")
    assert extent_of(Source(tmp_path / "copy.dcm")) is None


@pytest.mark.real
def test_of_every_file_that_is_read_the_header_had_told_the_size(real_data):
    known = 0
    for path in sorted(real_data("dicom_zoo").rglob("*")):
        try:
            image, told = read(Source(path)), extent_of(Source(path))
        except (FormatError, MedgradError):
            continue
        if told is not None:
            known += 1
            assert told.n_bytes == image.array.nbytes, path
    assert known > 5


STEPS = (Reorient("RAS"), Crop(-5000.0), Resample((2.0, 2.0, 2.0)), Normalise("window"))


def test_a_step_makes_what_was_told():
    from medgrad.inference.pipeline.memory_estimate import spec_after_step

    grid = Grid((20, 30, 40), ((0, -1.0, 0, 0), (1.5, 0, 0, 3), (0, 0, 2.5, 1), (0, 0, 0, 1)))
    case = Case("one", {"image": Image(np.zeros(grid.shape, np.int16), grid)})
    told = ImageSpec(grid, 1, 2)
    for step in STEPS:
        case, told = step.apply(case)[0], spec_after_step(told, step)
        made = case.images["image"]
        assert told.grid.is_close(made.grid)
        assert told.n_bytes == made.array.nbytes


def test_what_does_not_fit_is_refused_with_what_it_would_take():
    pictures, taken = (
        [ImageSpec(Grid.from_shape((512, 512, 1000)), 1, 2)],
        MemoryCost(500 << 20, (96, 96, 96), 25, 1, STEPS),
    )
    assert (
        bytes_for_sums(pictures, taken, 8 << 30, resident_now=400 << 20)
        > bytes_for_sums(pictures, taken, 6 << 30, resident_now=0)
        > 0
    )
    with pytest.raises(MedgradError, match=r"would take \d+M of memory, but --ram is 1G") as caught:
        bytes_for_sums(pictures, taken, 1 << 30, resident_now=400 << 20)
    assert "\n" not in str(caught.value)
    enough = str(caught.value).split("Give --ram ")[1].split(",")[0]
    assert bytes_for_sums(pictures, taken, ram.parse_bytes(enough), resident_now=400 << 20) > 0
    with pytest.raises(MedgradError):
        bytes_for_sums(pictures, taken, ram.parse_bytes(enough) - (2 << 20), resident_now=400 << 20)


def test_more_that_is_held_leaves_less_for_the_sums():
    pictures, taken = [ImageSpec(Grid.from_shape((100, 100, 100)), 1, 2)], MemoryCost(1 << 20, (32, 32, 32), 3)
    rooms = [bytes_for_sums(pictures, taken, 1 << 30, resident_now=now << 20) for now in (0, 100)]
    assert rooms[0] - rooms[1] == pytest.approx((100 << 20) / 1.05, rel=1e-4)
    assert max(estimate_stage_bytes(pictures, taken).values()) >= 2e6 + 2e6 + (1 << 20)


@pytest.mark.parametrize("most", [0, 40_000, 150_000, 400_000, 1 << 30])
def test_sums_are_made_within_their_bound_and_say_the_same(most):
    shape, patch, made = (40, 33, 70), (16, 16, 16), []
    array = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    case = Case("one", {"image": Image(array, Grid.from_shape(shape))})

    def look(box):
        array = box.images["image"].array
        return np.stack([array + array.mean(), array * array.std() - 0.2])

    def decode(output, grid):
        made.append(output.base.nbytes)
        return LabelMap(output.argmax(0).astype(np.uint8), grid)

    blocks = choose_block_count(shape, patch, 2, most)
    whole = sliding_window(look, decode, case, patch=patch, overlap=0.5)
    made.clear()
    parts = sliding_window(look, decode, case, patch=patch, overlap=0.5, n_blocks=blocks)
    assert (parts.array == whole.array).all()
    assert max(made) <= count_sum_bytes(shape, patch, 2, blocks) <= max(most or 1 << 30, 40_000 * 2)
    assert blocks == 1 or count_sum_bytes(shape, patch, 2, blocks - 1) > most
    assert blocks <= max_useful_blocks(shape, patch)


GAPS = """
import numpy as np
from medgrad.machine.allocator import keep_freed_memory, return_large_arrays
from medgrad.inference.pipeline.memory_limit import read_process_status

def after_arrays():
    before, small = read_process_status("VmRSS"), []
    for size in range(96, 128, 4):  # each a little larger than the gap that the last one left
        large = np.ones(size << 20, np.uint8)
        small.append(np.ones(1 << 16, np.uint8))  # what settles behind it
        del large
    return read_process_status("VmRSS") - before

keep_freed_memory()
with return_large_arrays():
    lean = after_arrays()
print(lean >> 20, after_arrays() >> 20)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc is told what to keep")
def test_where_memory_is_short_large_arrays_leave_no_gaps():
    done = subprocess.run([sys.executable, "-c", GAPS], capture_output=True, text=True, check=True)
    lean, kept = map(int, done.stdout.split())
    assert lean < 16
    assert kept > 200  # as it is otherwise, and again afterwards


def test_a_case_is_given_back_step_by_step():
    import weakref

    gone = []

    class Noting:
        def apply(self, case):
            made = Case(case.id, {"image": Image(case.images["image"].array + 1, case.grid)})
            weakref.finalize(case.images["image"].array, gone.append, len(gone))
            return made, Memo(case.grid)

    class Last:
        def apply(self, case):
            assert len(gone) == 2
            return case, Memo(case.grid)

    box = [Case("one", {"image": Image(np.zeros((3, 3, 3)), Grid.from_shape((3, 3, 3)))})]
    case, memos = ram.prepare_freeing_memory(box, [Noting(), Noting(), Last()])
    assert (case.images["image"].array == 2).all()
    assert len(memos) == 3
    assert not box


CODE = """
import sys
from medgrad.apps.verbs.predict import predict
from medgrad.inference.pipeline.memory_limit import read_process_status
from pathlib import Path
run, image, out, most = sys.argv[1:]
found = predict(run, image, out=Path(out), ram=most)
print(len(found["answers"]), read_process_status("VmHWM"))
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="the peak is told by Linux alone")
def test_a_whole_process_keeps_the_bound_that_its_refusal_named(tmp_path):
    from untrained import make_run

    names = [f"organ {n}" for n in range(24)]
    run = make_run(
        tmp_path / "run", dims=3, patch=32, task={"labels": names}, model={"name": "unet", "channels": [8, 16]}
    )
    array = np.random.default_rng(0).integers(-1000, 1000, (96, 160, 160)).astype(np.int16)
    image = saved(tmp_path / "a.nii.gz", array)

    def asked(most):
        words = [sys.executable, "-c", CODE, str(run), str(image), str(tmp_path / most), most]
        return subprocess.run(words, capture_output=True, text=True, check=False)

    why = asked("200M").stderr
    assert "--ram is 200M" in why
    enough = why.split("Give --ram ")[1].split(",")[0]
    done = asked(f"{int(enough[:-1]) + 60}M")
    assert done.returncode == 0, done.stderr
    answers, peak = map(int, done.stdout.split())
    assert answers == 1
    assert 0.5 * ram.parse_bytes(enough) < peak < ram.parse_bytes(enough) + (60 << 20)

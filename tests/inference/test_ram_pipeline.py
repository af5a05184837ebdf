"""Reading, asking and writing go on side by side; with a bound on memory, one follows the other and no more is held."""

import gzip
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from test_ram import saved

from medgrad.answers import kind_named
from medgrad.data.formats import read
from medgrad.errors import SettingError
from medgrad.inference.pipeline import pipeline as flow
from medgrad.inference.pipeline.pipeline import predict_all
from medgrad.inference.predictor import Predictor
from medgrad.machine import allocator as memory
from medgrad.prepare import Memo, Step


class Slow:
    """Takes its time to read, to say and to write, and notes when."""

    def __init__(self, seconds=0.05):
        self.seconds, self.log, self.lock = seconds, [], threading.Lock()

    def did(self, what, which):
        with self.lock:
            self.log.append((f"{what} begins", which))
        time.sleep(self.seconds)
        with self.lock:
            self.log.append((f"{what} ends", which))

    def predictor(self):
        slow = self

        class Noting(Step):
            def apply(self, case):
                slow.did("reading", case.id)
                return case, Memo(case.grid, {"id": case.id})

            def undo_labels(self, labels, memo):
                slow.did("writing", memo.values["id"])
                return labels

        def encode(case):
            if case.id != "made up":
                slow.did("saying", case.id)
            if case.id == "c":
                raise ValueError("the network does not like c")
            return {"image": case.images["image"].array[None].astype(np.float32)}

        return Predictor(
            networks=[lambda x: np.concatenate([2.5 - x["image"], x["image"] - 2.5], axis=1)],
            encode=encode,
            decode=lambda output, grid: kind_named("label_map").decode([output], grid, {"labels": ["thing"]}),
            output="dense",
            kind="label_map",
            patch=(4, 5, 6),
            steps=[Noting()],
            classes=2,
        )

    def at(self, what, which):
        return self.log.index((what, which))


def folder_of(tmp_path):
    for seed, name in enumerate("abcde"):
        values = np.random.default_rng(seed).integers(0, 5, (4, 5, 6)).astype(np.int16)
        saved(tmp_path / f"{name}.nii.gz", values)
    raw = gzip.decompress((tmp_path / "b.nii.gz").read_bytes())
    (tmp_path / "b.nii.gz").write_bytes(gzip.compress(raw[:-20]))
    return tmp_path


def ask_all(slow, folder, out, **settings):
    asked = predict_all(slow.predictor(), folder, out, task="segmentation", dims=3, **settings)
    return [
        (Path(a.source).name, a.failure_reason, None if a.failure_reason else read(a.written_files[0]).array)
        for a in asked
    ]


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    folder, slow, lean = folder_of(tmp_path_factory.mktemp("in")), Slow(), Slow(0)
    x, y = tmp_path_factory.mktemp("x"), tmp_path_factory.mktemp("y")
    return slow, ask_all(slow, folder, x), lean, ask_all(lean, folder, y, memory=8 << 30)


def test_every_input_is_told_in_order_and_a_bad_one_stops_no_other(both):
    _, rows, _, _ = both
    assert [name for name, _, _ in rows] == [f"{n}.nii.gz" for n in "abcde"]
    assert [bool(why) for _, why, _ in rows] == [False, True, True, False, False]
    assert "b.nii.gz" in rows[1][1]
    assert "does not like c" in rows[2][1]


def test_the_next_is_read_and_the_last_is_written_meanwhile(both):
    slow, _, _, _ = both
    assert slow.at("reading begins", "e") < slow.at("saying ends", "d")
    assert slow.at("writing begins", "d") < slow.at("saying ends", "e")
    assert slow.at("reading begins", "e") > slow.at("saying ends", "c")  # one ahead, not more


def test_with_a_bound_one_follows_the_other_and_the_same_is_said(both):
    _, rows, lean, plain = both
    whats = [what.split()[1] for what, _ in lean.log]
    assert whats == ["begins", "ends"] * (len(whats) // 2)
    assert [r[:2] for r in rows] == [r[:2] for r in plain]
    assert all((a[2] == b[2]).all() for a, b in zip(rows, plain, strict=True) if not a[1])


def test_with_a_bound_nothing_large_is_kept(tmp_path, monkeypatch):
    lean = []
    memory.keep_freed_memory()
    monkeypatch.setattr(memory, "set_heap_thresholds", lambda piece: bool(lean.append(piece)))
    slow = Slow(0)
    slow.did = lambda *_: lean.append("did")
    saved(tmp_path / "a.nii.gz", np.zeros((4, 5, 6), np.int16))
    ask_all(slow, tmp_path / "a.nii.gz", tmp_path / "out")
    assert set(lean) == {"did"}
    lean.clear()
    ask_all(slow, tmp_path / "a.nii.gz", tmp_path / "out", memory=64 << 30)
    assert lean == [memory.LARGE_ARRAY_BYTES, "did", "did", "did", memory.KEPT_BYTES]


def test_an_input_beyond_the_bound_is_refused_before_it_is_read(tmp_path, monkeypatch):
    saved(tmp_path / "a.nii.gz", np.zeros((4, 5, 6), np.int16))
    monkeypatch.setattr(flow.Cohort, "load_case", lambda *_: pytest.fail("it was read"))
    ((_, why, _),) = ask_all(Slow(0), tmp_path / "a.nii.gz", tmp_path / "out", memory=1 << 20)
    assert "--ram is 1M" in why


def test_where_the_header_does_not_tell_it_is_refused_after_reading(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros((4, 5, 6), np.int16))
    ((_, why, _),) = ask_all(Slow(0), tmp_path / "a.npy", tmp_path / "out", memory=1 << 20)
    assert "--ram is 1M" in why


def test_a_kind_of_answer_that_cannot_keep_a_bound_says_so(tmp_path):
    maps = replace(Slow(0).predictor(), kind="probability_maps")
    with pytest.raises(SettingError, match="--ram cannot be kept"):
        next(predict_all(maps, tmp_path, tmp_path, task="segmentation", dims=3, memory=1))

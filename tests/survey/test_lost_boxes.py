"""Detection: cases that failed, and rows that go through the files of a run."""

import numpy as np
import pytest
from PIL import Image as Pillow

from medgrad import metrics
from medgrad.data.cohorts.layouts import Hints, recognise
from medgrad.engine.evaluation.compare import read_cases_csv
from medgrad.engine.evaluation.evaluate import JudgedCase, summarise_evaluation, write_evaluation
from medgrad.engine.loading.cache import load_prepared_cases
from medgrad.tasks._task import metrics_for
from medgrad.tasks.detection import Detection


def picture(path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    Pillow.fromarray(array).save(path)


def test_an_image_that_cannot_be_read_counts_with_the_boxes_that_it_has(tmp_path):
    for i in range(3):
        picture(tmp_path / f"{i}.png", np.random.default_rng(i).integers(0, 255, (20, 20), dtype=np.uint8))
    (tmp_path / "b.csv").write_text("image,xmin,ymin,xmax,ymax\n0,1,1,5,5\n1,1,1,5,5\n1,7,7,9,9\n2,3,3,3,9\n")
    cohort = recognise(tmp_path)
    (tmp_path / "1.png").write_bytes(b"nothing")
    ready, failures = load_prepared_cases(cohort, [])
    row = Detection(labels=("object",)).failed_row(failures[0].truth)
    assert (len(ready), row["objects/object"], row["map@0.5"]) == (2, 2.0, 0.0)
    perfect = metrics.judge(metrics_for("boxes"), ready[0].original.truth, ready[0].original.truth)
    assert metrics.pool(["ap"], [perfect, row])["map@0.5"] == pytest.approx(34 / 101)


def test_a_mask_without_its_image_counts_with_its_objects(tmp_path):
    mask = np.zeros((20, 20), np.uint8)
    mask[2:6, 2:6], mask[9:12, 9:12] = 255, 255
    for i in range(3):
        picture(tmp_path / "images" / f"{i}.png", np.random.default_rng(i).integers(0, 255, (20, 20), dtype=np.uint8))
        picture(tmp_path / "masks" / f"{i}.png", mask)
    cohort = recognise(tmp_path, Hints(task="detection"))
    (tmp_path / "images" / "1.png").write_bytes(b"nothing")
    _, failures = load_prepared_cases(cohort, [])
    assert len(failures[0].truth.corners) == 2


def test_what_a_run_keeps_of_each_case_gives_its_figures_again(tmp_path):
    task = Detection(labels=("a", "b"))
    cases = [task.example(seed) for seed in range(4)]
    rows = [task.judge(c.truth, d.truth) for c, d in zip(cases, cases[::-1], strict=True)]
    judged = [JudgedCase(c.id, c.patient, row) for c, row in zip(cases, rows, strict=True)]
    evaluation = summarise_evaluation(task, judged, split="test", n_resamples=50)
    write_evaluation(tmp_path, evaluation)
    ids, _, again = read_cases_csv(tmp_path)
    assert ids == [c.id for c in cases]
    assert task.summarise(again) == task.summarise(rows)
    assert evaluation.metrics["map@0.5"]["n"] == 4

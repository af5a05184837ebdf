"""The page of a run: whole, self-contained, safe, and calm about what is absent or damaged."""

import json
import re
from html.parser import HTMLParser
from importlib.resources import files

import numpy as np
import pytest

from medgrad.errors import FormatError
from medgrad.report import write
from medgrad.report.read_run import RUN_FILE_NAMES, read_run

VOID = {"meta", "link", "br", "hr", "img", "input"}
SHAPES = {"path", "circle", "rect", "polyline", "polygon", "image"}


class Reader(HTMLParser):
    """Follows the tags of a page and notes what it holds."""

    def __init__(self):
        super().__init__()
        self.open, self.ids, self.addresses, self.tags = [], [], [], []
        self.drawings, self.named = 0, 0

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        self.tags.append(tag)
        self.ids += [given["id"]] if "id" in given else []
        self.addresses += [given[k] for k in ("href", "src", "xlink:href") if k in given]
        if tag == "svg" and given.get("aria-hidden") != "true":
            self.drawings += 1
            self.named += bool(given.get("aria-label")) and given.get("role") == "img"
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag


def read_page(folder):
    page = write(folder).read_text()
    reader = Reader()
    reader.feed(page)
    assert reader.open == []
    return page, reader


@pytest.mark.parametrize("kind", ["segmentation_run", "classification_run"])
def test_the_page_is_sound_and_needs_nothing_but_itself(kind, request):
    page, reader = read_page(request.getfixturevalue(kind))
    assert len(reader.ids) == len(set(reader.ids))
    assert all(a.startswith(("#", "data:image/png;base64,")) for a in reader.addresses)
    assert {a[1:] for a in reader.addresses if a.startswith("#")} <= set(reader.ids)
    assert not {"script", "iframe", "link", "img"} & set(reader.tags)
    assert "url(" not in page
    assert "default-src 'none'" in page


@pytest.mark.parametrize("kind", ["segmentation_run", "classification_run"])
def test_every_drawing_has_words_for_those_who_cannot_see_it(kind, request):
    _, reader = read_page(request.getfixturevalue(kind))
    assert reader.drawings == reader.named > 5


def test_the_figures_stand_there_with_interval_and_patients(segmentation_run):
    page, _ = read_page(segmentation_run)
    figure = json.loads((segmentation_run / "evaluation.json").read_text())["metrics"]["dice/mean"]
    assert f"{figure['value']:.3f}" in page
    assert f"{figure['low']:.3f} to {figure['high']:.3f}" in page
    assert "on 40 test patients. 1 case failed and counts as the worst." in page


def cards(page):
    """Give the names of the figures that head a page."""
    return re.findall(r'<div class="card \w*"><dt>(.*?)</dt>', page)[:-2]


def change_json(path, change):
    found = json.loads(path.read_text())
    change(found)
    path.write_text(json.dumps(found))


def test_the_figures_that_the_task_puts_first_head_the_page(segmentation_run):
    path = segmentation_run / "evaluation.json"
    change_json(path, lambda e: e.update(task="outlining", headline=["nsd/mean", "cpm", "dice/posterior"]))
    page, _ = read_page(segmentation_run)
    assert cards(page) == ["Surface Dice, mean", "Dice, posterior"]
    assert "Surface Dice averaged over labels is <strong>" in page
    assert "Surface Dice, mean of each of 40 cases" in page


def test_the_first_figures_head_the_page_of_a_task_that_puts_none_first(segmentation_run):
    path = segmentation_run / "evaluation.json"
    change_json(path, lambda e: e.pop("headline"))
    assert cards(read_page(segmentation_run)[0]) == ["Dice, anterior", "Dice, posterior", "Dice, mean"]
    path.unlink()
    page, _ = read_page(segmentation_run)
    assert cards(page) == []
    assert "Dice, anterior of each of 40 cases" in page


def test_the_title_counts_labels_without_names_by_the_word_of_the_task(classification_run):
    change_json(classification_run / "cohort.json", lambda c: c.update(labels=["0", "1", "2"]))
    assert "<h1>Classification of 3 classes</h1>" in read_page(classification_run)[0]
    change_json(classification_run / "evaluation.json", lambda e: e.pop("label_noun"))
    assert "<h1>Classification of 3 labels</h1>" in read_page(classification_run)[0]


def test_the_page_tells_failures_split_recipe_machine_and_definitions(segmentation_run):
    page, _ = read_page(segmentation_run)
    for words in (
        "hippocampus_164.nii.gz ends early",
        "No patient stands on two sides",
        "[model]",
        "2.13.0+cpu",
        "0000000000001eef",
        "Twice the overlap",
        "the diagonal of the image",
    ):
        assert words in page


def test_an_allowed_leak_is_the_first_thing_that_is_said(segmentation_run):
    assert "leak between the sides" not in read_page(segmentation_run)[0]
    path = segmentation_run / "cohort.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "allow_leak": True}))
    page, _ = read_page(segmentation_run)
    assert page.index("A leak between the sides of the split was allowed") < page.index("<h1>")
    assert 'class="banner bad" role="alert"' in page


def test_a_patient_on_two_sides_is_told_even_if_nobody_looked(segmentation_run):
    path = segmentation_run / "cohort.json"
    cohort = json.loads(path.read_text())
    cohort["cases"][0]["patient"] = cohort["cases"][-1]["patient"]
    path.write_text(json.dumps(cohort))
    assert "1 patient on training and test" in read_page(segmentation_run)[0]


def test_figures_on_validation_cases_carry_a_warning(segmentation_run):
    path = segmentation_run / "evaluation.json"
    changed = {**json.loads(path.read_text()), "split": "val", "patients": 6}
    path.write_text(json.dumps(changed))
    assert "also chose the model" in read_page(segmentation_run)[0]
    path.write_text(json.dumps({**changed, "told": ["Two raters disagreed."]}))
    page, _ = read_page(segmentation_run)
    assert "Only 6 patients stand behind the figures" in page
    assert "Two raters disagreed." in page


def test_classification_shows_confusion_and_calibration(classification_run):
    page, _ = read_page(classification_run)
    assert "Calibration curve: " in page
    assert ">60<" in page
    assert "1.62" in page


def test_leaks_are_counted_and_told_in_their_own_words(classification_run):
    path = classification_run / "cohort.json"
    cohort = json.loads(path.read_text())
    leaks = [{"kind": "pixels", "sentence": "'a' (train) and 'b' (test) have the same pixels"}]
    changed = {**cohort, "allow_leak": True, "look": {"leaks": leaks, "n_leaks": 119, "faults": []}}
    path.write_text(json.dumps(changed))
    page, _ = read_page(classification_run)
    assert "119 leaks were found" in page
    assert "<li>&#x27;a&#x27; (train) and &#x27;b&#x27; (test) have the same pixels</li>" in page


def test_the_worst_classified_cases_are_those_whose_truth_was_least_expected(classification_run):
    rows = ["case,patient,failed,truth/a,truth/b,prob/a,prob/b"]
    rows += ["fine,p1,,1.0,0.0,0.9,0.1", "lost,p2,,0.0,1.0,0.98,0.02", "so so,p3,,0.0,1.0,0.5,0.5"]
    (classification_run / "cases.csv").write_text("\n".join(rows))
    page, _ = read_page(classification_run)
    assert page.index(">lost<") < page.index(">so so<") < page.index(">fine<")
    assert '<td>b</td><td class="number">0.020</td>' in page


HOSTILE = "</style><script>alert(1)</script>\"'<b>"


def test_nothing_from_a_file_becomes_markup(classification_run):
    for path in classification_run.glob("*.json"):
        value = json.loads(path.read_text())
        path.write_text(json.dumps(poisoned(value)))
    (classification_run / "recipe.toml").write_text(f"name = '''{HOSTILE}'''")
    (classification_run / "cases.csv").write_text(
        'case,patient,failed,"{}"\n"{}",p,why <b>,0.5\n'.format(HOSTILE.replace('"', '""'), HOSTILE[:20])
    )
    np.savez(
        classification_run / "pictures" / "p0.npz",
        image=np.zeros((4, 4), np.uint8),
        truth=np.eye(4, dtype=np.uint8),
        title=np.array(HOSTILE),
        labels=np.array([HOSTILE]),
    )
    page, reader = read_page(classification_run)
    assert "script" not in reader.tags
    assert "b" not in reader.tags
    assert "alert(1)" in page
    assert ">why &lt;b&gt;<" in page
    assert "worst case" in page


def poisoned(value):
    if isinstance(value, dict):
        return {(k if k in KEPT else k + HOSTILE): poisoned(v) for k, v in value.items()}
    if isinstance(value, list):
        return [poisoned(v) for v in value]
    return HOSTILE if isinstance(value, str) else value


KEPT = {
    *(
        "task",
        "split",
        "headline",
        "metrics",
        "value",
        "low",
        "high",
        "n",
        "calibration",
        "temperature",
        "bins",
        "confidence",
    ),
    *("frequency", "confusion", "names", "counts", "cases", "patients", "failed", "look", "leaks", "labels", "root"),
    *("layout", "told", "id", "patient", "hash", "machine", "command", "started", "finished", "seconds", "steps"),
}


@pytest.mark.parametrize("name", RUN_FILE_NAMES)
def test_a_run_without_one_of_its_files_still_has_a_page(name, segmentation_run):
    path = segmentation_run / name
    if path.is_dir():
        for file in path.iterdir():
            file.unlink()
        path.rmdir()
    else:
        path.unlink()
    page, _ = read_page(segmentation_run)
    assert not re.search("could not be (drawn|read \\()", page)


@pytest.mark.parametrize("name", [n for n in RUN_FILE_NAMES if n not in ("pictures", "steps.jsonl", "cases.csv")])
def test_a_damaged_file_costs_its_own_part_and_is_told(name, segmentation_run):
    (segmentation_run / name).write_bytes(b"\x00\xff{{{")
    page, _ = read_page(segmentation_run)
    assert f"{name} could not be read" in page


@pytest.mark.parametrize("name", ["run.json", "cohort.json", "evaluation.json"])
@pytest.mark.parametrize("value", [[], 3, None, {"metrics": 5, "cases": "x", "look": [1], "confusion": {"names": 3}}])
def test_a_file_of_the_wrong_shape_is_no_traceback(name, value, segmentation_run):
    (segmentation_run / name).write_text(json.dumps(value))
    read_page(segmentation_run)


def test_damaged_pictures_and_rows_are_left_out(segmentation_run):
    (segmentation_run / "pictures" / "best-0.npz").write_bytes(b"PK no")
    np.savez(segmentation_run / "pictures" / "best-1.npz", image=np.zeros((3, 3, 9), np.uint8))
    np.savez(segmentation_run / "pictures" / "worst-0.npz", image=np.array([object()], object), title=np.array("x"))
    (segmentation_run / "cases.csv").write_text("case,patient,dice/mean\na,b\nc,d,nan\ne,f,0.5,7\n")
    with (segmentation_run / "steps.jsonl").open("a") as file:
        file.write('{"step": 2401, "loss": {"dice": NaN}}\n{"step": 24')
    page, _ = read_page(segmentation_run)
    assert "best-0.npz could not be read" in page
    assert "best-1.npz could not be read" in page
    assert "worst-0.npz could not be read" in page


def test_a_picture_that_would_fill_the_memory_is_not_opened(segmentation_run):
    path = segmentation_run / "pictures" / "bomb.npz"
    np.savez_compressed(path, image=np.zeros((12000, 12000), np.uint8))
    assert any("bomb.npz" in m for m in read_run(segmentation_run).unreadable)


def test_a_folder_that_is_no_run_is_refused_with_its_name(tmp_path):
    with pytest.raises(FormatError, match=re.escape(repr(str(tmp_path)))):
        write(tmp_path)


def test_the_page_of_a_large_cohort_stays_small(segmentation_run):
    path = segmentation_run / "cohort.json"
    cohort = json.loads(path.read_text())
    cohort["cases"] = [{"id": f"c{i}", "patient": f"p{i}", "split": "train", "hash": "0"} for i in range(5000)]
    path.write_text(json.dumps(cohort))
    page, _ = read_page(segmentation_run)
    assert "The other 4000 are in cohort.json" in page
    assert len(page) < 600_000


def luminance(colour):
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("scheme", [0, 1, 2])
@pytest.mark.parametrize("ink", ["ink", "soft", "accent", "bad", "care", "good"])
@pytest.mark.parametrize("paper", ["paper", "card"])
def test_words_stand_out_from_the_page_in_light_dark_and_print(scheme, ink, paper):
    style = files("medgrad.report").joinpath("style.css").read_text()
    block = [b for b in re.findall(r":root \{(.*?)\}", style, re.S) if "--paper" in b][scheme]
    colours = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", block))
    light, dark = sorted((luminance(colours[ink]), luminance(colours[paper])), reverse=True)
    assert (light + 0.05) / (dark + 0.05) >= 4.5

"""The whole journey by the command line: from a folder to a run, figures, answers and a comparison."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from command_line import FLAT, done, make_flat, medgrad, recipe
from PIL import Image as Pillow
from tiny_set import RECIPE

from medgrad.data import Grid, Image, LabelMap
from medgrad.data.formats import read, read_labels, write


class TestJourney:
    """From a folder to a run, figures, answers and a comparison."""

    def test_stdout_is_one_json_object_and_words_go_to_stderr(self, run):
        ended = run[1]
        assert ended.out.count("\n") == 1
        assert {"run", "steps", "split", "metrics", "report"} <= set(ended.found)
        assert "8 cases, 8 patients" in ended.err

    def test_a_run_holds_what_it_takes_to_stand_by_itself(self, run):
        folder = run[0]
        for name in ("recipe.toml", "cohort.json", "steps.jsonl", "evaluation.json", "cases.csv", "report.html"):
            assert (folder / name).stat().st_size > 0
        assert {p.suffix for p in (folder / "weights").iterdir()} == {".safetensors"}
        assert not (folder / "cache").exists()

    def test_it_learned(self, run):
        figures = run[1].found["metrics"]
        assert figures["dice/mean"]["value"] > 0.5
        assert figures["dice/mean"]["low"] <= figures["dice/mean"]["value"] <= figures["dice/mean"]["high"]
        assert figures["dice/mean"]["n"] == 3

    def test_the_validation_cases_are_those_asked_for(self, run):
        cases = json.loads((run[0] / "cohort.json").read_text())["cases"]
        assert {c["id"] for c in cases if c["split"] == "val"} == {"case_00", "case_01", "case_02"}

    def test_the_same_command_again_changes_nothing(self, run, volumes):
        before = (run[0] / "weights" / "best.safetensors").read_bytes()
        again = medgrad("fit", volumes, "-o", run[0], "--steps", 40, "--val", "case_00,case_01,case_02", "--json")
        assert again.code == 0
        assert "goes on with its own recipe" in again.err
        assert again.found["metrics"] == run[1].found["metrics"]
        assert (run[0] / "weights" / "best.safetensors").read_bytes() == before

    def test_too_little_time_still_takes_the_fewest_steps_and_says_so(self, volumes, tmp_path):
        text = RECIPE.replace("[training]", "[training]\nmin_steps = 3")
        words = ("fit", volumes, "-o", tmp_path / "r", "--minutes", 0.0001, "--recipe", recipe(tmp_path, text))
        ended = medgrad(*words, "--json")
        assert ended.code == 0, ended.err
        assert ended.found["steps"] == 3
        assert "3 steps are taken all the same" in ended.err

    def test_figures_for_a_person_have_intervals(self, run, volumes, tmp_path):
        ended = medgrad("evaluate", run[0], volumes, "-o", tmp_path / "judged")
        assert re.search(r"dice/mean +0\.\d{3} \(95 % 0\.\d{3} to [01]\.\d{3}, n = 8\)", ended.out)
        assert (tmp_path / "judged" / "report.html").exists()

    def test_judging_again_on_the_same_cases_gives_the_same_rows(self, run, volumes, tmp_path):
        done("evaluate", run[0], volumes, "-o", tmp_path)
        rows = {line.split(",")[0]: line for line in (tmp_path / "cases.csv").read_text().splitlines()[1:]}
        for line in (run[0] / "cases.csv").read_text().splitlines()[1:]:
            assert rows[line.split(",")[0]] == line

    def test_a_run_is_no_better_than_itself(self, run, tmp_path):
        found = done("compare", run[0], run[0], "-o", tmp_path)
        assert all(row["difference"] in (0, None) for row in found["table"])
        assert found["noninferior"]["holds"]
        assert Path(found["report"]).exists()

    def test_an_untrained_run_loses(self, run, volumes, tmp_path):
        val = "case_00,case_01,case_02"
        done("fit", volumes, "-o", tmp_path / "b", "--steps", 1, "--val", val, "--recipe", volumes / "recipe.toml")
        found = done("compare", run[0], tmp_path / "b")
        row = next(r for r in found["table"] if r["name"] == "dice/mean")
        assert row["difference"] < 0
        assert not found["noninferior"]["holds"]

    def test_classes_are_learned_judged_and_answered(self, opinion, pictures, tmp_path):
        folder, found = opinion
        assert found["metrics"]["auroc"]["value"] > 0.9
        judged = done("evaluate", folder, pictures, "-o", tmp_path / "judged")
        assert judged["metrics"]["auroc"]["n"] == 16
        said = done("predict", folder, pictures / "ill", "-o", tmp_path / "answers")
        assert len(said["answers"]) == 8
        one = json.loads(Path(said["answers"][0]["written"][0]).read_text())
        assert set(one["probabilities"]) == {"ill", "well"}
        assert sum(one["probabilities"].values()) == pytest.approx(1, abs=1e-5)
        assert one["answer"] in one["probabilities"]

    def test_flat_pictures_are_answered_as_pictures(self, tmp_path):
        data = make_flat(tmp_path / "data")
        tiny = recipe(tmp_path, FLAT.replace("validations = 6", "validations = 2"))
        found = done("fit", data, "-o", tmp_path / "run", "--steps", 30, "--recipe", tiny)
        assert found["metrics"]["dice/mean"]["value"] > 0.4
        done("predict", tmp_path / "run", data / "images" / "p0.png", "-o", tmp_path / "answers")
        said = np.asarray(Pillow.open(tmp_path / "answers" / "p0.png"))
        assert said.shape == (24, 28)
        assert set(np.unique(said)) <= {0, 1}

    def test_several_channels_are_taken_in_order(self, tmp_path):
        for number in range(4):
            rng = np.random.default_rng(number)
            grid = Grid.from_shape((16, 16, 16))
            truth = np.zeros(grid.shape, np.uint8)
            truth[4:10, 3:9, 5:11] = 1
            for channel in (0, 1):
                image = (truth * (1 + channel) + rng.normal(0, 0.3, grid.shape)).astype(np.float32)
                write(tmp_path / "data" / "imagesTr" / f"c{number}_000{channel}.nii.gz", Image(image, grid, "mr"))
            write(tmp_path / "data" / "labelsTr" / f"c{number}.nii.gz", LabelMap(truth, grid))
        found = done("fit", tmp_path / "data", "-o", tmp_path / "run", "--steps", 4, "--recipe", recipe(tmp_path))
        assert found["split"] == "val"
        said = done("predict", tmp_path / "run", tmp_path / "data" / "imagesTr", "-o", tmp_path / "answers")
        assert sorted(Path(a["written"][0]).name for a in said["answers"]) == [f"c{n}.nii.gz" for n in range(4)]

    def test_folds_judge_every_patient_once_and_answer_together(self, volumes, tmp_path):
        words = ("--folds", 2, "--steps", 3, "--recipe", volumes / "recipe.toml")
        found = done("fit", volumes, "-o", tmp_path / "run", *words)
        assert found["metrics"]["dice/mean"]["n"] == 8
        assert (tmp_path / "run" / "fold-1" / "weights" / "best.safetensors").exists()
        cases = json.loads((tmp_path / "run" / "cohort.json").read_text())["cases"]
        assert sorted(c["fold"] for c in cases) == [0] * 4 + [1] * 4
        said = done("predict", tmp_path / "run", volumes / "images" / "case_00.nii.gz", "-o", tmp_path / "a")
        assert Path(said["answers"][0]["written"][0]).exists()

    def test_the_plan_is_a_recipe_that_fit_takes(self, pictures, tmp_path):
        done("plan", pictures, "-o", tmp_path / "plan.toml", "--steps", 2)
        found = done("fit", pictures, "-o", tmp_path / "run", "--steps", 2, "--recipe", tmp_path / "plan.toml")
        assert found["steps"] == 2


class TestPython:
    """Every verb is a function, and takes paths as text too."""

    def test_the_verbs_are_functions_that_take_text(self, run, volumes, tmp_path):
        import medgrad as package

        data, folder, out = str(volumes), str(run[0]), str(tmp_path)
        assert package.look(data)["layout"] == "parallel_folders"
        assert Path(package.plan(data, out=f"{out}/plan.toml", steps=3)["recipe"]).exists()
        fitted = package.fit(data, out=f"{out}/run", steps=2, recipe=f"{data}/recipe.toml")
        assert Path(fitted["report"]).exists()
        judged = package.evaluate(folder, data, out=f"{out}/judged")
        assert judged["metrics"]["dice/mean"]["n"] == 8
        said = package.predict(folder, f"{data}/images/case_00.nii.gz", out=f"{out}/answers")
        assert Path(said["answers"][0]["written"][0]).exists()
        assert package.compare(folder, folder, out=f"{out}/compared")["patients"] == 3


class TestGrids:
    """An answer comes back in the format and on the grid of what was asked about."""

    @pytest.mark.parametrize(
        ("ending", "answered"),
        [(".nii.gz", ".nii.gz"), (".nii", ".nii"), (".npy", ".npz"), (".tif", ".tif"), (".mha", ".nii.gz")],
    )
    def test_the_format_is_kept_or_else_nifti(self, ending, answered, run, volumes, tmp_path):
        if ending == ".mha":
            pytest.importorskip("SimpleITK", reason="the itk extra is not installed")
        image, asked = read(volumes / "images" / "case_00.nii.gz"), tmp_path / f"asked{ending}"
        if ending == ".npy":
            np.save(asked, image.array)
        else:
            write(asked, image)
        found = done("predict", run[0], asked, "-o", tmp_path / "a")
        written = Path(found["answers"][0]["written"][0])
        assert written.name == f"asked{answered}"
        assert read_labels(written).array.shape == image.grid.shape

    def test_an_odd_orientation_comes_back_as_it_was(self, run, volumes, tmp_path):
        """The same patient, stored otherwise: the answer has the input's affine and says the same of every place."""
        image = read(volumes / "images" / "case_03.nii.gz")
        matrix = image.grid.matrix
        turned = np.ascontiguousarray(image.array.transpose(2, 0, 1)[::-1, :, ::-1])
        affine = np.eye(4)
        affine[:3, 0], affine[:3, 1], affine[:3, 2] = -matrix[:3, 2], matrix[:3, 0], -matrix[:3, 1]
        corner = [0, image.grid.shape[1] - 1, image.grid.shape[2] - 1]
        affine[:3, 3] = image.grid.to_world(corner)
        grid = Grid(turned.shape, tuple(map(tuple, affine)))
        assert grid.orientation == "IRP"
        asked = write(tmp_path / "asked" / "odd.nii.gz", Image(turned, grid, "mr"))
        done("predict", run[0], asked, "-o", tmp_path / "a")
        done("predict", run[0], volumes / "images" / "case_03.nii.gz", "-o", tmp_path / "a")
        odd = read_labels(tmp_path / "a" / "odd.nii.gz")
        plain = read_labels(tmp_path / "a" / "case_03.nii.gz")
        assert odd.grid.is_close(read(asked).grid, tolerance_mm=1e-4)
        assert plain.array.any()
        assert (odd.array.transpose(1, 2, 0)[:, ::-1, ::-1] == plain.array).all()

    def test_labels_lie_where_the_truth_lies(self, run, volumes, tmp_path):
        done("predict", run[0], volumes / "images" / "case_04.nii.gz", "-o", tmp_path)
        said = read_labels(tmp_path / "case_04.nii.gz").array > 0
        truth = read_labels(volumes / "labels" / "case_04.nii.gz").array > 0
        assert 2 * (said & truth).sum() / (said.sum() + truth.sum()) > 0.5

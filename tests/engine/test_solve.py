"""A convex model is solved, not trained: the optimum, its certificate, and a run like any other."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from command_line import done, make_pictures, medgrad, one_line

from medgrad import registry
from medgrad.data import Case, Grid, Image, Scores
from medgrad.engine.compute.device import Compute
from medgrad.engine.loading.cache import PreparedCase
from medgrad.engine.runs.checkpoint import read_checkpoint
from medgrad.engine.runs.recipe import Recipe, Training, merge_changes, recipe_from_tables, recipe_to_toml
from medgrad.engine.runs.run import Run, open_run
from medgrad.engine.training.solve import solve, uses_solver
from medgrad.errors import MedgradError, SettingError
from medgrad.tasks.classification import Classification

CPU = Compute("cpu", torch.float32)
SHAPE = (3, 4)


def cases(n=60, classes=("a", "b"), seed=0, exclusive=True):
    """Small images whose class shifts some elements; one element is constant, one large."""
    rng = np.random.default_rng(seed)
    places = rng.normal(size=(len(classes), *SHAPE))
    made = []
    for number in range(n):
        kind = number % len(classes)
        array = rng.normal(size=SHAPE) + places[kind]
        array[0, 0], array[1, 1] = 7.0, 1e4 + 50 * array[1, 1]
        truth = np.eye(len(classes))[kind]
        if not exclusive:
            truth = (truth + np.eye(len(classes))[number // 2 % len(classes)] > 0).astype(float)
        grid = Grid.from_shape(SHAPE, has_spacing=False)
        case = Case(f"c{number}", {"image": Image(array, grid)}, Scores(truth, tuple(classes), exclusive), f"c{number}")
        made.append(PreparedCase(case, (), case))
    return made


def recipe_of(task, *, model="logistic", solver="logistic_interior_point", **settings):
    own = {k: settings.pop(k) for k in ("kernel", "gamma") if k in settings}
    return Recipe(
        task=task.settings(),
        model={"name": model, **own},
        solver={"name": solver, "C": 1.0, **settings},
        training=Training(patch=SHAPE, precision="float32"),
    )


def solved(folder, ready, valid=(), *, classes=("a", "b"), exclusive=True, **settings):
    """Solve, and open what was written as a run."""
    task = Classification(dims=2, labels=tuple(classes), exclusive=exclusive)
    recipe = recipe_of(task, **settings)
    run = Run(folder)
    _, said = solve(run, recipe, task, ready, list(valid), CPU)
    return open_run(folder, device="cpu"), json.loads((folder / "run.json").read_text())["solver"], said


def outputs(trained, ready):
    """What the network says of cases, (n, outputs)."""
    inputs = torch.stack([trained.task.encode(p.case).inputs["image"] for p in ready])
    with torch.no_grad():
        return trained.networks[0](inputs).double().numpy()


def table_of(ready):
    rows = np.stack([p.case.images["image"].array.astype(np.float32).ravel() for p in ready]).astype(float)
    deviation = rows.std(0)
    return (rows - rows.mean(0)) / np.where(deviation > 0, deviation, 1)


@pytest.mark.parametrize("name", ["logistic_interior_point", "logistic_descent"])
@pytest.mark.parametrize("penalty", ["l2", "l1"])
def test_two_classes_are_one_problem_whose_scores_are_the_difference_of_the_outputs(tmp_path, name, penalty):
    ready = cases()
    trained, told, said = solved(tmp_path, ready, solver=name, penalty=penalty, C=0.5)
    signs = np.array([1.0 if p.case.truth.top_class == "b" else -1.0 for p in ready])
    wanted = registry.find("descent.solvers", name)(table_of(ready), signs, C=0.5, penalty=penalty)
    found = outputs(trained, ready)
    np.testing.assert_allclose(found[:, 1] - found[:, 0], table_of(ready) @ wanted.weights + wanted.offset, atol=2e-3)
    assert [p["class"] for p in told["problems"]] == ["b"]
    assert told["problems"][0]["gap"] < 1e-8
    assert told["problems"][0]["primal"] == pytest.approx(wanted.primal, rel=1e-9)
    assert "duality gap" in said


@pytest.mark.parametrize("kernel", ["linear", "rbf", "polynomial"])
@pytest.mark.parametrize("name", ["svm_interior_point", "svm_dual_gradient"])
def test_a_machine_says_what_its_solution_says(tmp_path, kernel, name):
    ready = cases()
    trained, told, _ = solved(tmp_path, ready, model="svm", solver=name, kernel=kernel)
    signs = np.array([1.0 if p.case.truth.top_class == "b" else -1.0 for p in ready])
    rows = table_of(ready)
    wanted = registry.find("descent.solvers", name)(rows, signs, kernel=kernel)
    from medgrad.descent.solvers._hinge import kernel_matrix

    likeness = kernel_matrix(rows, rows[wanted.support], kernel=kernel, gamma=0.0)
    found = outputs(trained, ready)
    np.testing.assert_allclose(found[:, 1] - found[:, 0], likeness @ wanted.coefficients + wanted.offset, atol=2e-3)
    if kernel != "linear":
        assert trained.recipe.model["supports"] == len(wanted.support) < len(ready)
    assert told["problems"][0]["gap"] < 1e-8


@pytest.mark.parametrize(("model", "name"), [("logistic", "logistic_interior_point"), ("svm", "svm_interior_point")])
@pytest.mark.parametrize("exclusive", [True, False])
def test_each_of_several_classes_is_parted_from_the_others(tmp_path, model, name, exclusive):
    ready = cases(90, ("a", "b", "c"), exclusive=exclusive)
    trained, told, _ = solved(tmp_path, ready, classes=("a", "b", "c"), exclusive=exclusive, model=model, solver=name)
    assert [p["class"] for p in told["problems"]] == ["a", "b", "c"]
    for number in range(3):
        signs = np.where([p.case.truth.values[number] > 0.5 for p in ready], 1.0, -1.0)
        wanted = registry.find("descent.solvers", name)(table_of(ready), signs)
        found = outputs(trained, ready)[:, number]
        np.testing.assert_allclose(found, table_of(ready) @ wanted.weights + wanted.offset, atol=2e-3)


def test_a_column_that_is_constant_has_no_weight(tmp_path):
    trained, _, _ = solved(tmp_path, cases())
    assert float(trained.networks[0].network.linear.weight.detach()[:, 0].abs().max()) == 0


def test_a_strength_of_nothing_is_chosen_on_validation_cases_and_told(tmp_path):
    trained, told, _ = solved(tmp_path, cases(40), cases(40, seed=0)[1::3], C=0.0)
    assert len(told["tried"]) > 3
    best = max(t["validation"] for t in told["tried"])
    assert told["C"] == min(t["C"] for t in told["tried"] if t["validation"] == best)
    assert trained.recipe.solver["C"] == told["C"]


def test_a_strength_that_none_can_choose_is_asked_for(tmp_path):
    with pytest.raises(SettingError, match="there are none"):
        solved(tmp_path, cases(), C=0.0)


def test_a_class_that_no_training_case_has_is_told(tmp_path):
    ready = [p for p in cases(30, ("a", "b", "c")) if p.case.truth.top_class != "c"]
    with pytest.raises(MedgradError, match="none is of the class 'c'"):
        solved(tmp_path, ready, classes=("a", "b", "c"))


def test_images_of_two_shapes_are_told(tmp_path):
    ready = cases(6)
    grid = Grid.from_shape((2, 2), has_spacing=False)
    odd = replace(ready[3].case, images={"image": Image(np.zeros((2, 2)), grid)})
    ready[3] = PreparedCase(odd, (), odd)
    with pytest.raises(SettingError, match="'c3' has the shape"):
        solved(tmp_path, ready)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"model": "svm"}, "does not solve the model 'svm'; these do: svm_dual_gradient"),
        ({"model": "mlp"}, "logistic and svm have solvers"),
        ({"model": "svm", "solver": "svm_dual_gradient", "degree": 2}, "setting of \\[model\\]"),
    ],
)
def test_a_solver_that_does_not_fit_is_told(tmp_path, changes, said):
    with pytest.raises(SettingError, match=said):
        solved(tmp_path, cases(), **changes)


def test_the_weights_are_written_as_training_writes_them(tmp_path):
    solved(tmp_path, cases())
    best, last = (read_checkpoint(p) for p in (Run(tmp_path).best_checkpoint, Run(tmp_path).last_checkpoint))
    assert {"model", "ema", "channels", "done", "best", "best_step"} <= set(best)
    assert all(torch.equal(best["ema"][k], v) for k, v in best["model"].items())
    assert all(torch.equal(last["model"][k], v) for k, v in best["model"].items())


def test_the_same_cases_give_the_same_bits(tmp_path):
    for name in ("one", "two"):
        solved(tmp_path / name, cases(), model="svm", solver="svm_interior_point", kernel="rbf")
    one, two = (read_checkpoint(Run(tmp_path / n).best_checkpoint)["model"] for n in ("one", "two"))
    assert all(torch.equal(v, two[k]) for k, v in one.items())


# The recipe


def test_a_recipe_holds_its_solver_and_is_read_as_it_was_written():
    import tomllib

    task = Classification(dims=2)
    recipe = recipe_of(task, penalty="l1")
    assert recipe_from_tables(tomllib.loads(recipe_to_toml(recipe))).solver == recipe.solver
    assert "[solver]" not in recipe_to_toml(Recipe())
    assert uses_solver(recipe)
    assert not uses_solver(Recipe())
    assert not uses_solver(merge_changes(recipe, {"solver": {"name": "none"}}))
    assert merge_changes(Recipe(), {"solver": {"name": "svm_dual_gradient"}}).solver == {"name": "svm_dual_gradient"}


def test_a_wrong_setting_of_a_solver_is_told_with_the_right_one():
    with pytest.raises(SettingError, match="Did you mean 'C'"):
        Recipe(solver={"name": "svm_dual_gradient", "c": 1.0})
    with pytest.raises(MedgradError, match="Did you mean"):
        Recipe(solver={"name": "svm_decent"})


# As a person uses it


def features(folder, n=60, seed=0):
    rng = np.random.default_rng(seed)
    lines = ["id,volume,texture,noise,class"]
    for number in range(n):
        ill = number % 2
        values = rng.normal(size=3) * (100, 1, 1e-3) + (1000 + 150 * ill, 0.8 * ill, 0)
        lines.append(f"p{number},{','.join(f'{v:.6g}' for v in values)},{'ill' if ill else 'well'}")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "radiomics.csv").write_text("\n".join(lines) + "\n")
    return folder


def test_a_table_of_features_goes_the_whole_way(tmp_path):
    data = features(tmp_path / "data")
    assert done("look", data)["layout"] == "feature_table"
    planned = done("plan", data, "-o", tmp_path / "planned.toml")
    assert 'name = "logistic_interior_point"' in planned["text"]
    found = done("fit", data, "-o", tmp_path / "run")
    assert found["metrics"]["auroc"]["value"] > 0.7
    assert "duality gap" in found["ended_by"]
    told = json.loads((tmp_path / "run" / "run.json").read_text())["solver"]
    assert told["problems"][0]["gap"] < 1e-8
    assert (tmp_path / "run" / "report.html").exists()
    fresh = features(tmp_path / "fresh", 30, seed=5)
    judged = done("evaluate", tmp_path / "run", fresh, "-o", tmp_path / "judged")
    assert judged["metrics"]["auroc"]["n"] == 30
    assert judged["metrics"]["auroc"]["value"] > 0.7


def test_answers_about_a_table_are_by_the_names_of_its_columns(tmp_path):
    data = features(tmp_path / "data")
    done("fit", data, "-o", tmp_path / "run")
    lines = [line.split(",") for line in (data / "radiomics.csv").read_text().splitlines()]
    turned = "\n".join(",".join([r[0], r[3], r[1], r[2]]) for r in lines[:9])
    (tmp_path / "new.csv").write_text(turned + "\n")
    answers = done("predict", tmp_path / "run", tmp_path / "new.csv", "-o", tmp_path / "answers")["answers"]
    straight = done("predict", tmp_path / "run", data / "radiomics.csv", "-o", tmp_path / "straight")["answers"]
    assert len(answers) == 8
    assert [a["said"] for a in answers] == [a["said"] for a in straight[:8]]
    assert (tmp_path / "answers" / "p3.json").exists()
    gone = turned.replace("texture", "texture_2")
    (tmp_path / "gone.csv").write_text(gone + "\n")
    ended = medgrad("predict", tmp_path / "run", tmp_path / "gone.csv", "-o", tmp_path / "none")
    one_line(ended, "'texture'")


def test_a_row_with_a_gap_has_no_answer_and_the_others_have(tmp_path):
    data = features(tmp_path / "data")
    done("fit", data, "-o", tmp_path / "run")
    lines = (data / "radiomics.csv").read_text().splitlines()[:5]
    lines[2] = "p1,,0.5,0.0,ill"
    (tmp_path / "new.csv").write_text("\n".join(lines) + "\n")
    found = done("predict", tmp_path / "run", tmp_path / "new.csv", "-o", tmp_path / "answers")
    assert len(found["answers"]) == 3
    assert "'volume'" in found["failed"][0]["why"]


@pytest.mark.parametrize("model", ["logistic", "svm"])
def test_pictures_are_solved_too(tmp_path, model):
    pictures = make_pictures(tmp_path / "pictures", 24)
    found = done("fit", pictures, "-o", tmp_path / "run", "--model", model, "--allow-leak")
    assert "duality gap" in found["ended_by"]
    assert f'name = "{model}_interior_point"' in (tmp_path / "run" / "recipe.toml").read_text()
    again = done("fit", pictures, "-o", tmp_path / "run", "--model", model, "--allow-leak")
    assert again["metrics"] == found["metrics"]


def test_folds_are_each_solved(tmp_path):
    found = done("fit", features(tmp_path / "data"), "-o", tmp_path / "run", "--folds", "3")
    assert found["metrics"]["auroc"]["n"] == 60
    assert all((tmp_path / "run" / f"fold-{i}" / "weights" / "best.safetensors").exists() for i in range(3))


def test_without_its_solver_the_same_recipe_goes_by_descent(tmp_path):
    (tmp_path / "none.toml").write_text('[solver]\nname = "none"\n')
    data = features(tmp_path / "data")
    found = done("fit", data, "-o", tmp_path / "run", "--recipe", tmp_path / "none.toml", "--steps", "60")
    assert "steps were done" in found["ended_by"]
    assert found["metrics"]["auroc"]["value"] > 0.6


def test_descent_on_the_hinge_comes_to_the_machines_solution(tmp_path):
    """The loss file and the solver are one problem: at the solver's weights, its gradient is that of the penalty."""
    ready = cases()
    trained, _, _ = solved(tmp_path, ready, model="svm", solver="svm_interior_point")
    network = trained.networks[0].network
    inputs = torch.stack([trained.task.encode(p.case).inputs["image"] for p in ready])
    target = torch.tensor([1 if p.case.truth.top_class == "b" else 0 for p in ready])
    loss = registry.find("losses", "hinge")()(network(inputs), target)
    signs = np.where(target.numpy() > 0, 1.0, -1.0)
    wanted = registry.find("descent.solvers", "svm_interior_point")(table_of(ready), signs)
    size = float(wanted.weights @ wanted.weights) / 2
    assert float(loss.detach()) * len(ready) + size == pytest.approx(wanted.primal, rel=1e-3)


@pytest.mark.parametrize("model", ["resnet", "cnn"])
def test_a_network_for_images_is_not_given_a_table(tmp_path, model):
    ended = medgrad("fit", features(tmp_path / "data"), "-o", tmp_path / "run", "--model", model, "--steps", "5")
    one_line(ended, "logistic, mlp, svm")


def test_a_task_without_classes_has_nothing_to_part():
    task = registry.find("tasks", "segmentation")(dims=2)
    with pytest.raises(SettingError, match=r"parts classes, but the task is 'segmentation'.*\[solver\]"):
        task.binary_problems([task.example(0).truth])

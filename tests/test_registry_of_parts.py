"""The folder is the registry: what is there is found, what is not is told with the nearest name."""

import ast
from pathlib import Path

import pytest

import medgrad
import medgrad.losses
import medgrad.models
import medgrad.tasks
from medgrad import registry
from medgrad.errors import NameNotFound, PackageNotInstalled, SettingError, require_package, suggest_name

ROOMS = ("tasks", "models", "losses", "losses.similarity", "losses.regularisers", "models.transforms", "augment",
         "prepare", "metrics", "data.formats", "data.cohorts.layouts", "apps.verbs", "descent.optimisers",
         "descent.gradients", "descent.schedules", "descent.solvers", "descent.stopping", "descent.samplers",
         "engine.training.trackers", "compress.criteria", "report.sections", "answers")  # fmt: skip
EVERY = [(room, name) for room in ROOMS for name in registry.names(room)]


@pytest.mark.parametrize(("room", "name"), EVERY)
def test_what_a_folder_lists_can_be_found(room, name):
    assert registry.find(room, name) is not None


@pytest.mark.parametrize("room", ROOMS)
def test_helpers_are_not_listed(room):
    assert registry.names(room)
    assert not [n for n in registry.names(room) if n.startswith("_")]


@pytest.mark.parametrize("room", ROOMS)
def test_an_unknown_name_is_told_with_those_that_are_known(room):
    with pytest.raises(NameNotFound, match=f"Known: {registry.names(room)[0]}"):
        registry.find(room, "nothing-of-the-kind")


@pytest.mark.parametrize("name", ["os", "..errors", "_blocks", "", "unet.py"])
def test_nothing_but_a_listed_file_is_imported(name):
    with pytest.raises(NameNotFound):
        registry.find("models", name)


@pytest.mark.parametrize(
    ("value", "default", "wanted"),
    [
        (1, 0.5, ""), (0.5, 0.5, ""), ("x", 0.5, "a number"), (True, 0.5, "a number"), (float("inf"), 0.5, "a number"),
        (1, 2, ""), (1.5, 2, "a whole number"), (True, 2, "a whole number"),
        (False, True, ""), (1, True, "true or false"),
        ([1], (1, 2), ""), ((1,), (1, 2), ""), (1, (1, 2), "a list"), ("ab", (1, 2), "a list"),
        ("a", "b", ""), (1, "b", "a word"), (5, None, ""), ({}, None, ""),
    ],
)  # fmt: skip
def test_a_setting_is_of_the_kind_of_its_default(value, default, wanted):
    assert registry.expected_type(value, default) == wanted


def test_a_wrong_setting_is_told_with_the_right_one():
    with pytest.raises(SettingError, match=r"'rat'. Did you mean 'rate'"):
        registry.check_settings("descent.optimisers", "adamw", {"rat": 1.0})
    with pytest.raises(SettingError, match="'rate' of 'adamw'"):
        registry.check_settings("descent.optimisers", "adamw", {"rate": "1"})


def test_what_takes_any_setting_is_not_checked():
    registry.check_settings("models", "monai", {"whatever": 1})


def test_a_missing_package_is_told_with_the_command_that_installs_it():
    with pytest.raises(PackageNotInstalled, match=r"pip install 'medgrad\[dicom\]'"):
        require_package("no_such_package_here", extra="dicom")


def test_no_hint_where_nothing_is_near():
    assert suggest_name("zzz", ["dice", "focal"]) == ""


@pytest.mark.parametrize("name", [n for n in registry.names("apps.verbs") if n != "export"])
def test_each_verb_is_a_function_of_the_same_name(name):
    """But for ``export``, whose name is that of a room."""
    assert getattr(medgrad, name) is registry.find("apps.verbs", name)


CLASSES = [(room, name) for room in ("models", "tasks", "losses") for name in registry.class_files(room)]


@pytest.mark.parametrize(("room", "name"), CLASSES)
def test_each_class_is_in_its_room_by_its_own_name(room, name):
    found = getattr(getattr(medgrad, room), name)
    assert found is registry.find(room, registry.class_files(room)[name])
    assert found.__name__ == name
    assert name in dir(getattr(medgrad, room))


@pytest.mark.parametrize("room", ["models", "tasks", "losses"])
def test_a_name_that_no_class_has_is_no_attribute(room):
    with pytest.raises(AttributeError, match=f"module 'medgrad.{room}' has no attribute 'Unet'"):
        getattr(medgrad, room).Unet  # noqa: B018


PACKAGE = Path(medgrad.__file__).parent
NAME_A_TASK = {
    "tasks": "the tasks themselves",
    "registration": "its subject is one of them",
    "apps/verbs/register.py": "its subject is one of them",
    "apps/verbs/demo.py": "a demonstration of three of them",
    "data/cohorts/layouts": "a layout says which task its truth serves where the user does not",
    "engine/runs/recipe.py": "the default of a recipe",
    "export/monai_bundle.py": "a word of MONAI's format",
}
"""Where a task is named, and why; elsewhere, what differs between tasks is asked of the task."""


def test_nothing_asks_what_a_task_is_called():
    tasks, found = set(registry.names("tasks")), set()
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            imported = node.module or "" if isinstance(node, ast.ImportFrom) else ""
            is_word = isinstance(node, ast.Constant) and node.value in tasks
            if is_word or (imported.startswith("tasks.") and imported.split(".")[1] in tasks):
                found.add(path.relative_to(PACKAGE).as_posix())
    strange = {f for f in found if not any(f == place or f.startswith(f"{place}/") for place in NAME_A_TASK)}
    assert strange == set()

"""Things are called by the field's own words: those that were ours alone do not come back."""

import ast
import inspect
from pathlib import Path

from medgrad import registry

ROOT = Path(__file__).parents[1] / "src" / "medgrad"
NAMES = [
    "_alike",
    "abreast",
    "agree",
    "ahead",
    "Ailing",
    "aimed",
    "anneal",
    "Answered",
    "answered_by",
    "Around",
    "as_wide",
    "Asking",
    "assess",
    "Average",
    "averaged",
    "begin_with",
    "bell",
    "blind",
    "Both",
    "calmer",
    "Chances",
    "claim",
    "cooled",
    "cover",
    "drawn_more",
    "draws",
    "ENOUGH_MM",
    "Extent",
    "Fault",
    "final",
    "find_places",
    "finest",
    "Finished",
    "fuse",
    "giving_back",
    "Goal",
    "Grey",
    "Ground",
    "growth",
    "guarded",
    "held",
    "home_of",
    "in_short",
    "in_windows",
    "Journey",
    "judge_quickly",
    "kept_alive",
    "kept_inside",
    "laid_on",
    "learn_well",
    "Learner",
    "leaving",
    "lessened",
    "looked_up",
    "Maker",
    "Mean",
    "mend",
    "Miss",
    "Mixed",
    "prepare_field",
    "Price",
    "proven",
    "Pupil",
    "qualify",
    "Reading",
    "refuse_strangers",
    "refuse_what_cannot_be",
    "region_align",
    "register_by",
    "restore_order",
    "rough",
    "settle",
    "shallower",
    "Sheet",
    "shown_best",
    "slimmest",
    "Sound",
    "steady",
    "stitched",
    "surer",
    "Taken",
    "Tally",
    "taught",
    "Teller",
    "Term",
    "told_as_damaged",
    "travel",
    "twins",
    "uncut",
    "without_nan",
]
"""Functions, classes and constants that somebody who knows the field could not guess."""
FILES = [
    "binary",
    "boxes_of",
    "dice_entropy",
    "entrant",
    "forest",
    "health",
    "pruned",
    "watch",
    "_controls",
    "_damage",
    "_dicom_each",
    "_dicom_maker",
    "_ground",
    "_html",
    "_marks",
    "_walk",
    "agree",
    "ahead",
    "anneal",
    "apply",
    "assess",
    "averaged",
    "beside",
    "chances",
    "choose",
    "fingerprint",
    "flow",
    "goal",
    "growth",
    "heal",
    "home",
    "ladder",
    "largest",
    "learn",
    "put",
    "put_dicom",
    "quantify",
    "ram",
    "register_by",
    "runtime",
    "siblings",
    "sound",
    "sparing",
    "spread",
    "takes",
    "taught",
    "team",
    "teller",
    "whole",
]
OPTIONS = [
    "as",
    "controls",
    "all-controls",
    "floor",
    "from",
    "heal",
    "least",
    "multiple",
    "on",
    "only",
    "reach",
    "search",
    "taught",
    "turns",
    "within",
]


def defined(path: Path) -> set[str]:
    """Give what a file defines: functions, classes, methods and constants."""
    tree = ast.parse(path.read_text())
    names = {n.name for n in ast.walk(tree) if isinstance(n, (ast.FunctionDef, ast.ClassDef))}
    constants = (t for n in tree.body if isinstance(n, ast.Assign) for t in n.targets)
    return names | {t.id for t in constants if isinstance(t, ast.Name)}


def test_no_function_or_class_has_a_name_that_only_we_know():
    found = {path.relative_to(ROOT): defined(path) & set(NAMES) for path in sorted(ROOT.rglob("*.py"))}
    assert {path: names for path, names in found.items() if names} == {}


def test_no_file_or_folder_has_one():
    assert [p for p in sorted(ROOT.rglob("*")) if p.stem in FILES and "__pycache__" not in p.parts] == []


def test_no_option_has_one():
    for verb in registry.names("apps.verbs"):
        for name, parameter in inspect.signature(registry.find("apps.verbs", verb), eval_str=True).parameters.items():
            declared = [w for o in getattr(parameter.annotation, "__metadata__", ()) for w in o.param_decls or ()]
            words = {w.lstrip("-") for w in declared} or {name.replace("_", "-")}
            assert not words & set(OPTIONS), f"{verb} --{name}"
